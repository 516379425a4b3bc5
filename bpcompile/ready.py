"""Calls with ready arrays: looked at in C, in tens of nanoseconds, and passed on as they are.

Between Python and a small network lies more time in checks than in the network itself. So the extension brings calls that
take the addresses of NumPy's array objects, read their public fields (element type, shape, order, alignment, labels), and
run the network if nothing has to be converted; they say so otherwise, and the long way (`Intake.arrays`) converts, or
explains. The Python around them is written for the names of one network.
"""

from __future__ import annotations

import keyword
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from bpcompile.arrays import INDEX, ArraySpec
from bpcompile.emit.c.source import REAL, Interface
from bpcompile.emit.templates import environment
from bpcompile.parameters import fresh_gradients, vectors
from bpcompile.signature import Signature

LARGE: Final = 1 << 15
"""Gradients from which a vector that begins with a cache line is worth the microsecond that it takes to find one."""
NOT_READY: Final = -1
"""What a call gives when an array must be converted or refused."""
_TAKEN: Final = ("params", "state", "key", "step", "training", "self")


@dataclass(frozen=True)
class ReadyArray:
    """An input as the templates print it: ``slot`` is its number in the struct, None where the call does not read it."""

    name: str
    integer: bool
    extents: tuple[int, ...]
    elements: int
    classes: int | None
    others: tuple[int, ...]
    slot: int | None


@dataclass(frozen=True)
class ReadyCall:
    """A call: the pointers of the struct that it fills with new arrays, and the inputs that it takes."""

    name: str
    results: tuple[str, ...]
    arrays: tuple[ReadyArray, ...]


def ready_calls(signature: Signature, face: Interface) -> tuple[ReadyCall, ...]:
    """Give the calls of a network that need no more than arrays; none where this Python keeps objects elsewhere."""
    arrays = signature.arrays
    odd = any(keyword.iskeyword(a.name) or a.name in _TAKEN or a.name.startswith("_") for a in arrays)
    if odd or signature.states.size or platform.python_implementation() != "CPython":
        return ()
    slots = {info.name: k for k, info in enumerate(face.inputs)}
    places = {info.name: k for k, info in enumerate(face.outputs)}
    calls = []
    inputs = [a for a in arrays if not a.target]
    if inputs:
        results = tuple(f"outputs[{places[o.name]}]" for o in signature.outputs)
        calls.append(ReadyCall("predict", results, tuple(_ready(a, slots) for a in inputs)))
    if arrays and signature.has_loss and not signature.input_gradients:
        calls.append(ReadyCall("value_and_grad", ("grads",), tuple(_ready(a, slots) for a in arrays)))
    return tuple(calls)


def _ready(spec: ArraySpec, slots: Mapping[str, int]) -> ReadyArray:
    elements = int(np.prod(spec.shape, dtype=np.int64))
    classes = spec.classes if spec.integer else None
    return ReadyArray(spec.name, spec.integer, spec.shape, elements, classes, spec.extra, slots.get(spec.name))


def ready_text(signature: Signature, face: Interface, prefix: str) -> tuple[str, str]:
    """Give the C of the calls, for the extension's wrapper, and their declarations as cffi reads them."""
    calls = ready_calls(signature, face)
    if not calls:
        return "", ""
    template: Any = environment().get_template("c/arrays.j2").module
    real = REAL[signature.dtype]
    return str(template.text(prefix, real, calls, NOT_READY)), str(template.declarations(prefix, real, calls))


def shortcuts(
    signature: Signature,
    face: Interface,
    prefix: str,
    lib: Any,
    names: Mapping[str, Any],
    long_ways: Mapping[str, Callable[..., Any]],
) -> dict[str, Callable[..., Any]]:
    """Give the calls with a short way before their long one, by name.

    Parameters
    ----------
    names : mapping
        ``_local``, whose ``workspace`` the C backend made, and ``_fail``.
    long_ways : mapping
        The methods of `Model`, by name; only these are given back.
    """
    calls = [c for c in ready_calls(signature, face) if c.name in long_ways and hasattr(lib, f"{prefix}_ready_{c.name}")]
    if not calls or not _readable(getattr(lib, f"{prefix}_arrays_readable"), signature.real):
        return {}
    template: Any = environment().get_template("package/shortcut.py.j2").module
    layout, real = signature.parameters, signature.real
    vector = partial(np.empty, layout.size, real) if layout.size < LARGE else vectors(layout, real)
    found = {}
    for call in calls:
        scope = {
            **names,
            "_layout": layout, "_real": real, "_integer": signature.output_integer,
            "_empty": np.empty, "_vector": vector,
            "_ndarray": np.ndarray, "_missing": object(), "_id": id, "_type": type, "_doubt": (AttributeError, IndexError),
            "_gradients": fresh_gradients(layout), "_run": getattr(lib, f"{prefix}_ready_{call.name}"),
            "_long_way": long_ways[call.name],
        }  # fmt: skip
        rest = (signature.outputs,) if call.name == "predict" else ()
        text = getattr(template, call.name)(call.arrays, *rest, NOT_READY)
        exec(compile(text, "<bpcompile shortcut>", "exec"), scope)  # our text; the names in it are checked identifiers
        found[call.name] = scope[call.name]
        found[call.name].__doc__ = long_ways[call.name].__doc__
    return found


def _readable(test: Callable[..., int], real: np.dtype[Any]) -> bool:
    """Whether C finds the fields of NumPy's arrays where it looks for them."""
    probes = (np.zeros((2, 3), real), np.zeros((2, 3), INDEX))
    return bool(test(*(fact for a in probes for fact in (id(a), id(a.dtype), a.ctypes.data))))
