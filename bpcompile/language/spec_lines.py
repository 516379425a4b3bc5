"""Where in a TOML file a key stands: the parser does not tell, and error messages should."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from bpcompile.errors import BPCompileError, SpecError, nearest

__all__ = ["Place", "Source"]

#: A table and what of it: ``("layers", 2, "units")``, ``("training", "epochs")``.
Place = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\"'-]+)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')\s*(?:\.[A-Za-z0-9_.\"-]+)?\s*=")


class Source:
    """The text of a spec file, for messages that show the place.

    Parameters
    ----------
    text : str
        What the file holds.
    file : str
        Its name, for messages.
    """

    def __init__(self, text: str, file: str = "") -> None:
        self.file = file
        self._lines: dict[Place, int] = {}
        table: Place = ()
        counts: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            header = _HEADER.match(line)
            if header:
                name = header[2].strip("\"'")
                table = (name,)
                if header[1] == "[[":
                    table = (name, counts.get(name, 0))
                    counts[name] = counts.get(name, 0) + 1
                self._lines.setdefault(table, number)
                continue
            key = _KEY.match(line)
            if key:
                self._lines.setdefault((*table, key[1].strip("\"'")), number)

    def line(self, *place: str | int) -> int:
        """Return the line of a place, or of the nearest thing around it; 0 where nothing is known."""
        for end in range(len(place), 0, -1):
            if place[:end] in self._lines:
                return self._lines[place[:end]]
        return 0

    def fail(self, place: Place, message: str, hint: str = "") -> NoReturn:
        """Raise a `SpecError` that names file, line and table."""
        shown = [f"[[{place[0]}]] number {place[1] + 1}" if len(place) > 1 and isinstance(place[1], int)
                 else f"[{place[0]}]"] if place else []  # fmt: skip
        raise SpecError(message, hint=hint, file=self.file, line=self.line(*place), where=", ".join(shown))

    def wrap(self, place: Place, error: BPCompileError) -> NoReturn:
        """Raise another error's message at a place of the file."""
        message = f"{error.where}: {error.message}" if error.where else error.message
        self.fail(place, message, error.hint)

    def check_keys(self, table: Mapping[str, Any], known: Collection[str], *place: str | int) -> None:
        """Refuse keys that are not known."""
        for key in table:
            if key not in known:
                guess = nearest(key, known)
                hint = guess or f"Known are {', '.join(known)}."
                self.fail((*place, key), f"There is no key '{key}' here.", hint)

    def table(self, value: object, *place: str | int) -> dict[str, Any]:
        """Return `value` if it is a table."""
        if not isinstance(value, dict):
            self.fail(place, f"'{place[-1]}' is a table, not {value!r}.", f"Write [{place[-1]}] and keys below it.")
        return value
