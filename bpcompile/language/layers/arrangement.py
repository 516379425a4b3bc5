"""Layers that only move elements: their output is their input under other subscripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer, access, axes_of, extents_of, whole
from bpcompile.language.layers.windows import Extents, per_axis
from bpcompile.language.value import Value

__all__ = ["Cropping2D", "Permute", "RepeatVector", "Reshape", "UpSampling1D", "UpSampling2D", "ZeroPadding1D",
           "ZeroPadding2D"]  # fmt: skip


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


def _pairs(layer: LibraryLayer, what: str, value: object, count: int) -> list[tuple[int, int]]:
    listed: list[object] = [value] * count if whole(value) else list(value)  # type: ignore[call-overload]
    if count == 1 and len(listed) == 2 and all(whole(v) for v in listed):
        listed = [tuple(listed)]
    pairs = [tuple(v) if isinstance(v, (list, tuple)) else (v, v) for v in listed]
    if len(pairs) != count or not all(len(p) == 2 and all(whole(v) and v >= 0 for v in p) for p in pairs):
        layer.refuse(f"'{what}' is {value!r}.", "Give an integer, one for each axis, or a pair (before, after) for each.")
    return [(int(p[0]), int(p[1])) for p in pairs]


@dataclass(eq=False)
class ZeroPadding2D(LibraryLayer):
    """Zeros around images ``[n, channel, row, column]``.

    Parameters
    ----------
    padding : int or sequence
        An integer, one for rows and one for columns, or ``((top, bottom), (left, right))``.
    """

    padding: Extents | Sequence[Sequence[int]] = 1

    KIND: ClassVar[str] = "zero_padding2d"

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        _, rows, columns = self.shaped(inputs[0], "n, channel, row, column")
        (top, bottom), (left, right) = _pairs(self, "padding", self.padding, 2)
        return self.layer(
            [f"y[n,c,h,w] = x[n,c,h - {top},w - {left}]"],
            sizes={"h": rows + top + bottom, "w": columns + left + right},
            outside={"x": 0},
        )


@dataclass(eq=False)
class ZeroPadding1D(LibraryLayer):
    """Zeros before and after sequences ``[n, t, feature]``.

    Parameters
    ----------
    padding : int or (int, int)
        How many steps before and after.
    """

    padding: Extents = 1

    KIND: ClassVar[str] = "zero_padding1d"

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        steps, _ = self.shaped(inputs[0], "n, t, feature")
        ((before, after),) = _pairs(self, "padding", self.padding, 1)
        return self.layer([f"y[n,t,j] = x[n,t - {before},j]"], sizes={"t": steps + before + after}, outside={"x": 0})


@dataclass(eq=False)
class Cropping2D(LibraryLayer):
    """The middle of images ``[n, channel, row, column]``.

    Parameters
    ----------
    cropping : int or sequence
        An integer, one for rows and one for columns, or ``((top, bottom), (left, right))``.
    """

    cropping: Extents | Sequence[Sequence[int]] = 1

    KIND: ClassVar[str] = "cropping2d"

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        _, rows, columns = self.shaped(inputs[0], "n, channel, row, column")
        (top, bottom), (left, right) = _pairs(self, "cropping", self.cropping, 2)
        if top + bottom >= rows or left + right >= columns:
            self.refuse(f"'cropping' is {self.cropping!r}, and leaves nothing of {inputs[0]!r}.")
        return self.layer(
            [f"y[n,c,h,w] = x[n,c,h + {top},w + {left}]"],
            sizes={"h": rows - top - bottom, "w": columns - left - right},
        )


@dataclass(eq=False)
class UpSampling1D(LibraryLayer):
    """Every step of sequences ``[n, t, feature]`` repeated.

    Parameters
    ----------
    size : int
        How often.
    """

    size: int = 2

    KIND: ClassVar[str] = "up_sampling1d"

    def check(self) -> None:
        """A positive factor."""
        self.positive(size=self.size)

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        steps, _ = self.shaped(inputs[0], "n, t, feature")
        return self.layer([f"y[n,t,j] = x[n,t//{self.size},j]"], sizes={"t": steps * self.size})


def _linear(source: str, place: str, factor: int, extent: int, at: str) -> str:
    """Between the two nearest elements, whose centers lie half an element from the borders; beyond them, the outermost."""
    form = f"(2*{place} + {1 - factor})" if factor != 1 else f"(2*{place})"
    low, fraction = f"{form}//{2 * factor}", f"({form}%{2 * factor})/{2 * factor}"
    below = f"where({low} >= 0, {source.format(at.format(low))}, {source.format(at.format('0'))})"
    above = (
        f"where({low} + 1 < {extent}, {source.format(at.format(low + ' + 1'))}, {source.format(at.format(extent - 1))})"
    )
    return f"(1 - {fraction})*{below} + {fraction}*{above}"


@dataclass(eq=False)
class UpSampling2D(LibraryLayer):
    """Images ``[n, channel, row, column]`` with more rows and columns.

    Parameters
    ----------
    size : int or (int, int)
        How many times more.
    interpolation : str
        ``"nearest"`` or ``"bilinear"`` (half-pixel centers).
    """

    size: Extents = 2
    interpolation: str = "nearest"

    KIND: ClassVar[str] = "up_sampling2d"

    def check(self) -> None:
        """A known interpolation."""
        self.one_of(("nearest", "bilinear"), interpolation=self.interpolation)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations."""
        _, rows, columns = self.shaped(inputs[0], "n, channel, row, column")
        a, b = per_axis(self, "size", self.size, 2)
        sizes = {"h": rows * a, "w": columns * b}
        if self.interpolation == "nearest":
            return self.layer([f"y[n,c,h,w] = x[n,c,h//{a},w//{b}]"], sizes=sizes)
        return self.layer(
            [
                f"tall[n,c,h,j] = {_linear('x[n,c,{}]', 'h', a, rows, '{},j')}",
                f"y[n,c,h,w] = {_linear('tall[n,c,{}]', 'w', b, columns, 'h,{}')}",
            ],
            sizes=sizes,
        )
