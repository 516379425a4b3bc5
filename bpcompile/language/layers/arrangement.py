"""Layers that only move elements: their output is their input under other subscripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer, access, axes_of, extents_of, number, whole
from bpcompile.language.layers.windows import Extents
from bpcompile.language.value import Value

__all__ = ["Masking", "Permute", "RepeatVector", "Reshape"]


def _names(count: int) -> list[str]:
    return [f"i{k}" for k in range(1, count + 1)]


def _groups(source: Sequence[int], target: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Cut both shapes into the shortest stretches with equal numbers of elements: (start, stop) in each."""
    groups, a, b = [], 0, 0
    while a < len(source) or b < len(target):
        start_a, start_b = a, b
        a, b = min(a + 1, len(source)), min(b + 1, len(target))
        while math.prod(source[start_a:a]) != math.prod(target[start_b:b]):
            if math.prod(source[start_a:a]) < math.prod(target[start_b:b]):
                a += 1
            else:
                b += 1
        groups.append((start_a, a, start_b, b))
    return groups


def _flat(names: Sequence[str], extents: Sequence[int]) -> str:
    terms = []
    for k, name in enumerate(names):
        stride = math.prod(extents[k + 1 :])
        terms.append(name if stride == 1 else f"{stride}*{name}")
    return " + ".join(terms) or "0"


def _split(flat: str, extents: Sequence[int]) -> list[str]:
    """The subscripts of the element at place `flat` of a row-major tensor."""
    if len(extents) == 1:
        return [flat]
    subscripts = []
    for k, extent in enumerate(extents):
        stride = math.prod(extents[k + 1 :])
        quotient = f"({flat})//{stride}" if stride > 1 else flat
        subscripts.append(quotient if k == 0 else f"({quotient})%{extent}")
    return subscripts


@dataclass(eq=False)
class Reshape(LibraryLayer):
    """The same elements, in row-major order, under another shape.

    Parameters
    ----------
    target_shape : sequence of int
        The shape of one example; one extent may be -1 and follows from the others.
    """

    target_shape: Extents

    KIND: ClassVar[str] = "reshape"

    def check(self) -> None:
        """Positive extents, and -1 at most once."""
        shape = [self.target_shape] if isinstance(self.target_shape, int) else list(self.target_shape)
        if not all(whole(e) and (e > 0 or e == -1) for e in shape) or shape.count(-1) > 1:
            self.refuse(f"'target_shape' is {self.target_shape!r}.", "Give positive integers; one of them may be -1.")
        self.target_shape = tuple(shape)

    def build(self, *inputs: Value) -> Layer:
        """Return the equation for the shape of the input."""
        source = extents_of(inputs[0])
        shape = [self.target_shape] if isinstance(self.target_shape, int) else self.target_shape
        known = math.prod(e for e in shape if e > 0)
        target = [math.prod(source) // known if e == -1 else e for e in shape]
        if math.prod(target) != math.prod(source):
            self.refuse(f"{inputs[0]!r} has {math.prod(source)} elements an example, and {tuple(target)} has others.")
        names = _names(len(target))
        subscripts: list[str] = []
        for start_a, a, start_b, b in _groups(source, target):
            subscripts += _split(_flat(names[start_b:b], target[start_b:b]), source[start_a:a])
        return self.layer(
            [f"{access('y', 'n', *names)} = {access('x', 'n', *subscripts)}"],
            sizes=dict(zip(names, target, strict=True)),
        )


@dataclass(eq=False)
class Permute(LibraryLayer):
    """The axes in another order.

    Parameters
    ----------
    dims : sequence of int
        For each axis of the output, the axis of the input; the first after the batch is 1.
    """

    dims: Sequence[int]

    KIND: ClassVar[str] = "permute"

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        axes = axes_of(inputs[0])
        if sorted(self.dims) != list(range(1, len(axes))):
            self.refuse(f"'dims' is {self.dims!r}, and {inputs[0]!r} has the axes 1 to {len(axes) - 1}.")
        target = ["n", *(axes[d] for d in self.dims)]
        return self.layer([f"{access('y', *target)} = {access('x', *axes)}"])


@dataclass(eq=False)
class RepeatVector(LibraryLayer):
    """``y[n,t,j] = x[n,j]`` for `n` steps.

    Parameters
    ----------
    n : int
        How many steps there are.
    """

    n: int

    KIND: ClassVar[str] = "repeat_vector"

    def check(self) -> None:
        """At least one step."""
        self.positive(n=self.n)

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        self.shaped(inputs[0], "n, feature")
        return self.layer(["y[n,t,j] = x[n,j]"], sizes={"t": self.n})


@dataclass(eq=False)
class Masking(LibraryLayer):
    """Sequences ``[n, t, feature]`` whose steps are zero where all features have a value that stands for nothing.

    Parameters
    ----------
    mask_value : float
        That value.
    return_lengths : bool
        Whether the call also returns the place behind the last step that is not masked, an integer ``[n]``, which the
        recurrent layers take as lengths.
    """

    mask_value: float = 0.0
    return_lengths: bool = False

    KIND: ClassVar[str] = "masking"

    def build(self, *inputs: Value) -> Layer:
        """Return the equations."""
        self.shaped(inputs[0], "n, t, feature")
        kept = f"kept[n,t] = max(where(x[n,t,j] == {number(self.mask_value)}, 0, 1), j)"
        masked = "y[n,t,j] = where(kept[n,t] > 0, x[n,t,j], 0)"
        if not self.return_lengths:
            return self.layer([kept, masked])
        length = "length[n] = max(where(kept[n,t] > 0, t + 1, 0), t)"
        return self.layer([kept, masked, length], output=("y", "length"), types={"length": "integer"})
