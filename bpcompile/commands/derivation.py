"""Derivations and tables: what is only shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bpcompile.commands.run import writing
from bpcompile.commands.session import compiled, open_spec
from bpcompile.commands.tables import network_rows, network_table
from bpcompile.derivation.derive import derive
from bpcompile.errors import BPCompileError

PATIENCE: Final = 1.0
"""After so many seconds it is said what takes so long."""

_FRAGMENTS = (".tex", ".html", ".htm")


def derive_spec(spec: Path, console: Console, *, out: Path | None, fragment: bool, **options: Any) -> dict[str, Any]:
    """Write the derivation to a file, in the form that its ending asks for; or as text to stdout."""
    if fragment and (out is None or out.suffix not in _FRAGMENTS):
        raise BPCompileError(
            f"Only {', '.join(_FRAGMENTS)} can be written as a fragment, not {'text' if out is None else repr(out.name)}.",
            hint="Name such a file with -o, or leave out --fragment.",
        )
    session = open_spec(spec)
    with session.step("derive"), told(console) as progress:
        derivation = derive(session.spec.network, progress=progress, **options)
        result: dict[str, Any] = {"network": session.spec.network.name}
        if out is None:
            result["text"] = derivation.text()
        else:
            with writing(out):
                derivation.save(out, fragment=fragment)
            result["artifacts"] = {"derivation": str(out)}
    if out is None:
        console.print(result["text"], markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(f"derivation written to {out}", highlight=False)
    return result


@contextmanager
def told(console: Console) -> Iterator[Callable[[str], None]]:
    """Show what is being done, on the terminal and for work that takes long; the words vanish with the work."""
    shown = Console(stderr=True, quiet=console.quiet)
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=shown, transient=True,
                  disable=not shown.is_terminal) as bar:  # fmt: skip
        task = bar.add_task("", visible=False)
        start = time.monotonic()

        def say(words: str) -> None:
            bar.update(task, description=escape(words), visible=time.monotonic() - start > PATIENCE)

        yield say


def show_spec(spec: Path, console: Console, *, equations: bool, source: str | None) -> dict[str, Any]:
    """Show the network as a table, or the text generated for it."""
    session = open_spec(spec)
    network = session.spec.network
    result: dict[str, Any] = {
        "network": network.name,
        "parameters": network.parameter_count,
        "rows": network_rows(network),
        "warnings": session.warnings,
    }
    if source is not None:
        result["source"] = compiled(session, backend=source).source
        console.print(result["source"], markup=False, highlight=False, soft_wrap=True)
        return result
    console.print(network_table(network, equations=equations))
    for text in session.warnings:
        console.print(f"[yellow]warning:[/] {escape(text)}", highlight=False)
    return result
