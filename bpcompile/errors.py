"""The small family of errors that users of bpcompile may meet.

Every message is a sentence in the user's own names: what was expected, what came, and (in ``hint``) what to do.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

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
    "check_arguments",
    "named_options",
    "nearest",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])


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
    """Return ``Did you mean 'relu'?`` for the known name closest to `name`, or an empty string.

    A name that is near to how another one begins is near to it: ``softmx`` to ``softmax_cross_entropy``.

    Parameters
    ----------
    name : str
        What was typed.
    known : iterable of str
        The names that would have been understood.
    """
    candidates = sorted(set(known))
    folded = {candidate.casefold(): candidate for candidate in reversed(candidates)}
    typed = name.casefold()
    close = difflib.get_close_matches(typed, list(folded), n=1, cutoff=0.6)
    if not close and len(typed) >= 4:
        starts = {candidate[: len(typed) + 1]: candidate for candidate in reversed(folded) if len(candidate) > len(typed)}
        close = [starts[start] for start in difflib.get_close_matches(typed, list(starts), n=1, cutoff=0.75)]
    return f"Did you mean '{folded[close[0]]}'?" if close else ""


def check_arguments(
    signature: inspect.Signature,
    positional: Sequence[object],
    named: Mapping[str, object],
    what: str,
    error: type[BPCompileError],
) -> None:
    """Refuse arguments that do not fit a signature, with the nearest name that does.

    Parameters
    ----------
    signature : inspect.Signature
        What fits.
    positional, named : sequence, mapping
        What came.
    what : str
        What the arguments are for, as messages call it: ``Dense``.
    error : type
        The class of the error.
    """
    known = [p for p in signature.parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    names = [p.name for p in known]
    kinds = {p.kind for p in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in named:
            if name not in names:
                guess = nearest(name, names)
                hint = guess or f"There are {', '.join(names)}."
                raise error(f"{what} has no option '{name}'.", hint=hint)
    free = [p for p in known if p.kind is not p.KEYWORD_ONLY]
    if inspect.Parameter.VAR_POSITIONAL not in kinds and len(positional) > len(free):
        raise error(
            f"{what} takes at most {len(free)} options without a name, and {len(positional)} came.",
            hint=f"Write names: {', '.join(f'{n}=...' for n in names)}.",
        )
    placed = {p.name for p in free[: len(positional)]}
    for name in named:
        if name in placed:
            raise error(f"{what} was given '{name}' twice: by its place and by its name.")
    for p in known:
        if p.default is p.empty and p.name not in placed and p.name not in named:
            raise error(f"{what} needs '{p.name}'.", hint=f"Write {p.name}=... .")


def named_options(error: type[BPCompileError]) -> Callable[[_Function], _Function]:
    """Make a function refuse names that it does not know with an error of ours, and with the nearest name that it knows."""

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*positional: Any, **named: Any) -> Any:
            check_arguments(signature, positional, named, function.__name__, error)
            return function(*positional, **named)

        return checked  # type: ignore[return-value]

    return decorate
