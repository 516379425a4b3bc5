"""The small family of errors that users of bpcompile may meet.

Every message is a sentence in the user's own names: what was expected, what came, and (in ``hint``) what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArrayError",
    "BPCompileError",
    "BPCompileWarning",
    "BuildError",
    "CheckError",
    "CompilerMissing",
    "DataError",
    "LanguageError",
    "NetworkError",
    "ParseError",
    "ShapeError",
    "SpecError",
    "TrainingError",
    "nearest",
]


class BPCompileError(Exception):
    """The base of every error that bpcompile raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, as a sentence.
    hint : str, optional
        What to do about it, as a sentence.
    where : str, optional
        The place in the user's text: an equation, a layer, a file and line.
    """

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  {self.hint}" if self.hint else ""
        return f"{place}{self.message}{advice}"


class LanguageError(BPCompileError):
    """Something typed as mathematics does not mean anything: an index, a tensor or an equation is misused."""


class ParseError(LanguageError):
    """Text is not in the grammar of equations."""


class ShapeError(LanguageError):
    """Extents disagree, or nothing tells the extent of an index."""


class NetworkError(LanguageError):
    """Layers do not make a network: an unknown layer, a cycle, a name used twice, no loss."""


class SpecError(BPCompileError):
    """A spec file is wrong.

    Parameters
    ----------
    message, hint : str
        As for `BPCompileError`.
    file : str, optional
        The spec file.
    line : int, optional
        The line of the file, counted from one; 0 where no line can be told.
    where : str, optional
        A finer place, such as a table and key; it follows file and line.
    """

    def __init__(self, message: str, *, hint: str = "", where: str = "", file: str = "", line: int = 0) -> None:
        position = f"{file}, line {line}" if file and line else file or (f"line {line}" if line else "")
        super().__init__(message, hint=hint, where=", ".join(part for part in (position, where) if part))
        self.file = file
        self.line = line


class ArrayError(BPCompileError):
    """An array has the wrong shape, element type, order or values."""


class BuildError(BPCompileError):
    """The C compiler failed, or what it built cannot be loaded."""


class CompilerMissing(BuildError):
    """No C compiler was found."""


class CheckError(BPCompileError):
    """A gradient check cannot be made, or did not pass."""


class DataError(BPCompileError):
    """A data set cannot be read, or does not fit the network."""


class TrainingError(BPCompileError):
    """Training cannot go on: a loss or gradient that is not finite, options that contradict each other."""


class BPCompileWarning(UserWarning):
    """Something is allowed and is probably not what was meant."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'relu'?`` for the known name closest to `name`, or an empty string.

    Parameters
    ----------
    name : str
        What was typed.
    known : iterable of str
        The names that would have been understood.
    """
    candidates = sorted(set(known))
    folded = {candidate.casefold(): candidate for candidate in reversed(candidates)}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return f"did you mean '{folded[close[0]]}'?" if close else ""
