"""What a user's arrays must be, and how they become what the generated code takes.

Everything is checked here, before any generated code runs: names, shapes, element types, labels, the number of examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.errors import ArrayError, nearest

Array = NDArray[Any]
INDEX: Final = np.dtype(np.int32)
"""The element type of integer inputs in generated code."""

_SMALL: Final = 32  # elements up to which Python beats NumPy


@dataclass(frozen=True)
class ArraySpec:
    """An input or target: its name, the shape of one example, and the integers it may hold.

    Attributes
    ----------
    integer : bool
        Whether the elements are integers.
    classes : int or None
        If told, the integers are ``0 .. classes - 1``, or in ``extra``.
    extra : tuple of int
        Integers beyond the classes that the equations ask for by name, such as an ignored label of -100.
    target : bool
        Whether only the loss needs it.
    """

    name: str
    shape: tuple[int, ...]
    integer: bool = False
    classes: int | None = None
    extra: tuple[int, ...] = ()
    target: bool = False

    @property
    def shown_shape(self) -> str:
        """The shape with the batch index, for messages."""
        return f"(n, {', '.join(map(str, self.shape))})" if self.shape else "(n,)"


def check_names(specs: Sequence[ArraySpec], given: Mapping[str, object], *, targets: bool) -> None:
    """Refuse arrays that are missing or that no input or target is called by.

    Raises
    ------
    ArrayError
        Naming the array, and the nearest name that is known.
    """
    known = [s.name for s in specs]
    for name in given:
        if name not in known:
            guess = nearest(name, known)
            raise ArrayError(
                f"The network has no input or target '{name}'; it has {', '.join(known)}.",
                hint=guess,
            )
    for s in specs:
        if s.name not in given and (targets or not s.target):
            kind = "target" if s.target else "input"
            raise ArrayError(
                f"The {kind} '{s.name}' is missing.", hint=f"Pass {s.name}=..., an array of shape {s.shown_shape}."
            )


def batch_size(arrays: Iterable[tuple[str, Array]]) -> int:
    """Give the common number of examples.

    Raises
    ------
    ArrayError
        If it is zero, or the arrays do not agree.
    """
    first: tuple[str, int] | None = None
    for name, array in arrays:
        n = array.shape[0]
        if n == 0:
            raise ArrayError(f"'{name}' holds no examples: the batch is empty.", hint="Pass at least one example.")
        if first is None:
            first = (name, n)
        elif n != first[1]:
            raise ArrayError(f"'{first[0]}' holds {first[1]} examples and '{name}' holds {n}; both must hold as many.")
    if first is None:
        raise ArrayError("The network has no inputs, so that nothing tells the number of examples.")
    return first[1]


def conform(spec: ArraySpec, value: object, real: np.dtype[Any], *, finite: bool = False) -> Array:
    """Give the array as generated code takes it: native byte order, aligned, C order, int32 or the real type.

    Parameters
    ----------
    spec : ArraySpec
        What is wanted.
    value : array_like
        What came; not changed, and not copied if it already is what is wanted.
    real : dtype
        The real element type.
    finite : bool
        Refuse NaN and infinity.

    Raises
    ------
    ArrayError
        If the shape is wrong, or the elements cannot be converted without loss that matters.
    """
    array = _as_array(spec, value)
    if array.ndim != len(spec.shape) + 1 or array.shape[1:] != spec.shape:
        raise ArrayError(
            f"'{spec.name}' must have shape {spec.shown_shape}, and has {array.shape}.", hint=_shape_hint(spec, array)
        )
    converted = _integers(spec, array) if spec.integer else _reals(spec, array, real)
    if finite and not spec.integer and not np.isfinite(converted).all():
        place = tuple(int(k) for k in np.argwhere(~np.isfinite(converted))[0])
        raise ArrayError(f"'{spec.name}' holds {converted[place]} at {place}, and only finite numbers were allowed.")
    return np.require(converted, requirements=("C", "A"))


def _as_array(spec: ArraySpec, value: object) -> Array:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ArrayError(f"'{spec.name}' has masked elements.", hint="Fill them first: array.filled(value).")
    if value is None:
        raise ArrayError(f"'{spec.name}' is None.", hint=f"Pass an array of shape {spec.shown_shape}.")
    try:
        foreign = hasattr(value, "__dlpack__") and not hasattr(value, "__array__")
        array = np.from_dlpack(value) if foreign else np.asarray(value)  # type: ignore[arg-type]
    except Exception as error:  # whatever the object raises while it is converted
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArrayError(
            f"'{spec.name}' ({type(value).__name__}) cannot be read as an array: {reason}.",
            hint="Pass a NumPy array; bring arrays of other devices to the host first.",
        ) from error
    if array.dtype.kind not in "fiub":
        kind = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "bytes"}.get(array.dtype.kind)
        raise ArrayError(
            f"'{spec.name}' must hold {'integers' if spec.integer else 'real numbers'}, and holds "
            f"{kind or f'elements of type {array.dtype}'}."
        )
    return array


def _shape_hint(spec: ArraySpec, array: Array) -> str:
    if array.shape == spec.shape:
        return f"The first axis counts the examples: pass {spec.name}[None] for a single one."
    if array.ndim >= 1 and array.size and array.shape[0] and array.size == array.shape[0] * int(np.prod(spec.shape)):
        inner = "".join(f", {extent}" for extent in spec.shape)
        return f"It has as many elements: {spec.name}.reshape(-1{inner}) would fit."
    return ""


def _reals(spec: ArraySpec, array: Array, real: np.dtype[Any]) -> Array:
    if array.dtype == real:
        return array.astype(real, copy=False)
    with np.errstate(over="ignore"):
        converted = array.astype(real)
    if real.itemsize < 8 and array.dtype.itemsize > real.itemsize:
        lost = np.isinf(converted) & np.isfinite(array)
        if lost.any():
            raise ArrayError(
                f"'{spec.name}' holds {array[lost][0]}, which {real} cannot hold.",
                hint='Scale the data, or compile with dtype="float64".',
            )
    return converted


def _integers(spec: ArraySpec, array: Array) -> Array:
    if array.dtype.kind == "f":
        odd = ~np.isfinite(array) | (array != np.floor(array))
        if odd.any():
            raise ArrayError(f"'{spec.name}' must hold integers, and holds {array[odd][0]}.")
    out = first_outside(spec, array)
    if out is not None:
        place = f"0 .. {spec.classes - 1}" if spec.classes is not None else f"{INDEX.name}'s range"
        others = f" (or {', '.join(map(str, spec.extra))})" if spec.extra else ""
        raise ArrayError(f"'{spec.name}' must hold integers in {place}{others}, and holds {out}.")
    return array.astype(INDEX, copy=False)


def first_outside(spec: ArraySpec, array: Array) -> int | None:
    """Give the first integer that the array may not hold, or None."""
    low, high = (0, spec.classes - 1) if spec.classes is not None else (-(2**31), 2**31 - 1)
    if array.size == 0 or (spec.classes is None and array.dtype == INDEX):
        return None
    if array.size <= _SMALL:
        values = array.reshape(-1).tolist()
        if low <= min(values) and max(values) <= high:
            return None
    elif low <= array.min() and array.max() <= high:
        return None
    outside = (array < low) | (array > high)
    for label in spec.extra:
        outside &= array != label
    return int(array[outside][0]) if outside.any() else None


def whole_number(what: str, value: object, least: int | None = None) -> int:
    """Read an integer that a user gave.

    Raises
    ------
    ArrayError
        If it is none, or less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or (least is not None and value < least):
        kind = "an integer" if least is None else "a positive integer" if least == 1 else "an integer that is not negative"
        raise ArrayError(f"'{what}' must be {kind}, and is {value!r}.")
    return int(value)
