"""Shuffling, splitting and scaling examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bpcompile.errors import DataError, nearest
from bpcompile.training.fields import Array, Dataset, Wanted

__all__ = ["SCALINGS", "Scaling", "Split", "fit_scaling", "scale_split", "split_data"]

SCALINGS = ("none", "max", "standardize")


@dataclass(frozen=True)
class Scaling:
    """An affine map of an input's elements, ``(x - shift) / divisor``.

    Parameters
    ----------
    shift, divisor : array
        Of the shape of one example, or scalars.
    """

    shift: Array
    divisor: Array

    def __call__(self, array: Array) -> Array:
        """Return the array scaled."""
        scaled: Array = (array - self.shift) / self.divisor
        return scaled


@dataclass(frozen=True)
class Split:
    """Examples to learn from, and examples held out.

    Parameters
    ----------
    train, test : mapping of str to array
        Inputs and targets by name, examples first. `test` has arrays of no examples where nothing is held out.
    scalings : mapping of str to Scaling
        How inputs were scaled; new examples have to be scaled the same way.
    """

    train: Mapping[str, Array]
    test: Mapping[str, Array]
    scalings: Mapping[str, Scaling]

    @property
    def train_examples(self) -> int:
        """The number of examples to learn from."""
        return next((len(array) for array in self.train.values()), 0)

    @property
    def test_examples(self) -> int:
        """The number of examples held out."""
        return next((len(array) for array in self.test.values()), 0)


def split_data(dataset: Dataset, targets: Sequence[Wanted], *, test_fraction: float = 0.2, seed: int = 0) -> Split:
    """Shuffle and split a data set; with one label an example, each class is split in the same proportion.

    Parameters
    ----------
    dataset : Dataset
        The examples. If the data set has held-out examples of its own, these are taken and `test_fraction` is not used.
    targets : sequence of Wanted
        The network's targets.
    test_fraction : float
        The share held out, at least 0 and less than 1.
    seed : int
        The same seed gives the same split.

    Raises
    ------
    DataError
        If the fraction is out of range, or leaves nothing to learn from or nothing to test.
    """
    if isinstance(test_fraction, bool) or not 0.0 <= test_fraction < 1.0:
        raise DataError(f"test_fraction is {test_fraction!r}; it has to be at least 0 and less than 1.")
    generator = np.random.default_rng(seed)
    if dataset.held_out:
        order = generator.permutation(dataset.examples)
        return Split(_taken(dataset.arrays, order), dict(dataset.held_out), {})
    total = dataset.examples
    held_out = round(test_fraction * total)
    if test_fraction > 0.0 and not 0 < held_out < total:
        raise DataError(
            f"test_fraction = {test_fraction} of the {total} examples of {dataset.source} "
            f"leaves {total - held_out} to learn from and {held_out} to test."
        )
    order = generator.permutation(total)
    labels = _labels(dataset, targets)
    chosen = order[:held_out] if labels is None else _stratified(labels, order, held_out)
    is_test = np.zeros(total, dtype=bool)
    is_test[chosen] = True
    return Split(_taken(dataset.arrays, order[~is_test[order]]), _taken(dataset.arrays, order[is_test[order]]), {})


def fit_scaling(kind: str, array: Array) -> Scaling:
    """Return the scaling of a kind for the examples in `array`.

    ``max`` divides by the greatest magnitude. ``standardize`` takes each element to mean zero and standard deviation
    one; an element that never changes is only shifted. ``none`` leaves everything as it is.

    Raises
    ------
    DataError
        If the kind is not known.
    """
    if kind == "none":
        return Scaling(np.zeros(()), np.asarray(1.0))
    if kind == "max":
        greatest = np.abs(array).max(initial=0.0)
        return Scaling(np.zeros(()), np.asarray(greatest if greatest > 0.0 else 1.0))
    if kind == "standardize":
        deviation = array.std(axis=0)
        # Rounding in the mean leaves a tiny deviation where all values are equal.
        constant = np.ptp(array, axis=0) == 0.0
        return Scaling(array.mean(axis=0), np.where(constant | (deviation == 0.0), 1.0, deviation))
    raise DataError(f"There is no scaling '{kind}'; there are {', '.join(SCALINGS)}.", hint=nearest(kind, SCALINGS))


def scale_split(split: Split, kind: str, wanted: Sequence[Wanted]) -> Split:
    """Scale the real arrays among `wanted`, by what the examples to learn from tell; the held-out ones alike.

    Raises
    ------
    DataError
        If the kind is not known.
    """
    scalings = {want.name: fit_scaling(kind, split.train[want.name]) for want in wanted if not want.classes}
    if kind == "none":
        return split
    train, test = (
        {name: scalings[name](array) if name in scalings else array for name, array in part.items()}
        for part in (split.train, split.test)
    )
    return Split(train, test, {**split.scalings, **scalings})


def _labels(dataset: Dataset, targets: Sequence[Wanted]) -> Array | None:
    for want in targets:
        if want.classes and dataset.arrays[want.name].ndim == 1:
            return dataset.arrays[want.name]
    return None


def _stratified(labels: Array, order: Array, held_out: int) -> Array:
    """Choose `held_out` examples, each class in proportion by largest remainders."""
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * (held_out / len(labels))
    quota = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(-(exact - quota), kind="stable")
    quota[by_remainder[: held_out - int(quota.sum())]] += 1
    shuffled = labels[order]
    return np.concatenate([order[shuffled == label][:number] for label, number in zip(classes, quota, strict=True)])


def _taken(arrays: Mapping[str, Array], positions: Array) -> dict[str, Array]:
    return {name: array[positions] for name, array in arrays.items()}
