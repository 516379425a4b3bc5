"""What a network wants of data, and fitting an array to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bpcompile.errors import DataError

__all__ = ["Array", "Dataset", "Field", "Wanted", "fit_all", "fit_array", "listed"]

Array = NDArray[Any]


class Wanted(Protocol):
    """An input or target of a network, as far as data are concerned."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""

    @property
    def classes(self) -> int | None:
        """How many values the integers take; None or 0 where the elements are real."""


@dataclass(frozen=True)
class Field:
    """The plain form of `Wanted`."""

    name: str
    shape: tuple[int, ...] = ()
    classes: int | None = None


@dataclass(frozen=True)
class Dataset:
    """Examples, fitted to a network.

    Parameters
    ----------
    source : str
        Where they come from.
    arrays : mapping of str to array
        Inputs and targets by name, examples first: float64, or int64 where there are classes.
    held_out : mapping of str to array
        The same for examples that the source itself keeps for testing; empty if it keeps none.
    label_names : mapping of str to tuple of str
        For targets whose labels were words: the words, in the order of their numbers.
    """

    source: str
    arrays: Mapping[str, Array]
    held_out: Mapping[str, Array] = field(default_factory=dict)
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def examples(self) -> int:
        """The number of examples, without those held out."""
        return next((len(array) for array in self.arrays.values()), 0)


def fit_array(source: str, array: Array, want: Wanted) -> Array:
    """Return an array as a network wants it, or say why that cannot be.

    Raises
    ------
    DataError
        If the shape, the element type or a value does not fit.
    """
    what = f"'{want.name}' in {source}"
    if array.dtype.kind not in "buif":
        raise DataError(f"{what} has elements of type {array.dtype}; real or integer numbers are expected.")
    if array.ndim == 0 or len(array) == 0:
        raise DataError(f"{what} holds no examples.")
    if array.dtype.kind == "f":
        _check_finite(what, array)
    shape = (len(array), *want.shape)
    if _wants_one_hot(array, want):
        return _one_hot(what, array, want.shape[0])
    if array.size != math.prod(shape):
        raise DataError(
            f"{what} has examples of shape {array.shape[1:]}; the network expects {tuple(want.shape)}.",
            hint="An example is reshaped only if it has as many elements as the network expects.",
        )
    fitted = array.reshape(shape)
    return _as_labels(what, fitted, want.classes) if want.classes else np.ascontiguousarray(fitted, dtype=np.float64)


def _check_finite(what: str, array: Array) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{what} has {int(bad.sum())} values that are not finite; the first is {array[first]} in example {first[0]}"
            + (f", element {first[1:]}." if len(first) > 1 else "."),
            hint="Remove these examples, or fill the gaps.",
        )


def _wants_one_hot(array: Array, want: Wanted) -> bool:
    flat = array.ndim == 1 or array.shape[1:] == (1,)
    real_row = not want.classes and len(want.shape) == 1 and want.shape[0] > 1
    return flat and real_row and array.dtype.kind in "bui"


def _one_hot(what: str, array: Array, classes: int) -> Array:
    labels = _as_labels(what, array.reshape(-1), classes)
    rows = np.zeros((len(labels), classes))
    rows[np.arange(len(labels)), labels] = 1.0
    return rows


def _as_labels(what: str, array: Array, classes: int) -> Array:
    labels = array
    if array.dtype.kind == "f":
        fractional = array != np.rint(array)
        if fractional.any():
            raise DataError(f"{what} is to hold labels, which are integers; it has {array[fractional].flat[0]}.")
    low, high = labels.min(), labels.max()
    if low < 0 or high >= classes:
        if low == 1 and high == classes:
            hint = "Number the classes from 0."
        else:
            hint = f"Set classes to {int(high) + 1}, if these labels are right." if low >= 0 else ""
        raise DataError(
            f"{what} has labels from {int(low)} to {int(high)}; with classes = {classes}, they run from 0 to "
            f"{classes - 1}.",
            hint=hint,
        )
    return np.ascontiguousarray(labels, dtype=np.int64)


def fit_all(source: str, arrays: Mapping[str, Array], wanted: Sequence[Wanted]) -> dict[str, Array]:
    """Fit each wanted array, and see that all have the same number of examples."""
    counts = {name: len(array) for name, array in arrays.items() if array.ndim}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"'{name}' has {count}" for name, count in counts.items())
        raise DataError(f"The arrays of {source} differ in their number of examples: {listed}.")
    return {want.name: fit_array(source, arrays[want.name], want) for want in wanted}


def listed(names: Sequence[str]) -> str:
    """Return names in quotes for an error, a dozen at most."""
    shown = ", ".join(f"'{name}'" for name in names[:12])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 12 else shown
