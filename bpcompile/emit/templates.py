"""The Jinja environment over the `templates/` folder, which holds layout only."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bpcompile.errors import BuildError


def templates_folder() -> Path:
    """Give the folder of templates: inside the package where installed as a wheel, beside it in a checkout.

    Returns
    -------
    pathlib.Path
        The first of the two that exists.

    Raises
    ------
    BuildError
        Where the installation is incomplete: neither folder exists.
    """
    package = Path(__file__).resolve().parents[1]
    candidates = (package / "templates", package.parent / "templates")
    for folder in candidates:
        if folder.is_dir():
            return folder
    places = " nor ".join(str(folder) for folder in candidates)
    raise BuildError(f"The templates of generated text are missing: neither {places} exists.", hint="Reinstall bpcompile.")


@cache
def environment() -> Environment:
    """Give the one environment of all templates; an undefined name in a template is an error."""
    return Environment(
        loader=FileSystemLoader(templates_folder()),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
