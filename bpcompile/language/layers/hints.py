"""Hyperparameters are of the types that their annotations name: one check for every kind of layer."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

__all__ = ["expected", "fits", "hints_of"]

#: How error messages call a type, for one and for several.
_WORDS: dict[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "truth values"),
    str: ("a text", "texts"),
    NoneType: ("None", "None"),
}


@cache
def hints_of(kind: type) -> Mapping[str, Any]:
    """The types of a class's attributes, by name."""
    return get_type_hints(kind)


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of a type: truth values are no numbers, integers are, and text is no sequence."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, h) for h in arguments)
    if origin is Sequence or origin is list:
        return isinstance(value, (list, tuple)) and all(fits(v, arguments[0]) for v in value)
    if origin is Mapping or origin is dict:
        return isinstance(value, Mapping) and all(fits(k, arguments[0]) and fits(v, arguments[1]) for k, v in value.items())
    if hint in (object, Any):
        return True
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def expected(hint: Any) -> str:
    """A type in words: "an integer, or a list of integers"."""
    if get_origin(hint) in (Union, UnionType):
        words = [expected(h) for h in get_args(hint)]
        return ", or ".join([", ".join(words[:-1]), words[-1]])
    return _several(hint) if get_origin(hint) else _WORDS.get(hint, (f"a {getattr(hint, '__name__', hint)}", ""))[0]


def _several(hint: Any) -> str:
    inner = get_args(hint)[0]
    if get_origin(hint) in (Mapping, dict):
        return "a table by names"
    if get_origin(inner) in (Union, UnionType):
        return "a list of integers, or of lists of them"
    return f"a list of {_WORDS.get(inner, ('', 'layers'))[1]}"
