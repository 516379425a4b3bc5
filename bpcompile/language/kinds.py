"""The kinds of layers that a spec file knows: one row each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from bpcompile.language.layers import SPEC_KINDS
from bpcompile.language.standard_layers import Activation, Dense, Flatten

__all__ = ["KINDS", "options_of", "takes_any"]

#: Constructor of each kind; a spec file's keys are the names of its arguments.
KINDS: dict[str, Callable[..., Any]] = {
    "activation": Activation,
    "dense": Dense,
    "flatten": Flatten,
    **SPEC_KINDS,
}


def options_of(constructor: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of all arguments of a constructor, and of those that must be given."""
    parameters = [p for p in inspect.signature(constructor).parameters.values() if p.kind is not p.VAR_KEYWORD]
    return (
        tuple(p.name for p in parameters),
        tuple(p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL),
    )


def takes_any(constructor: Callable[..., Any]) -> bool:
    """Whether a constructor takes other names too, and judges them itself."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(constructor).parameters.values())
