"""Layers that change the extents of sequences, images and volumes: padding, cropping, repeating."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import PLACES, Spatial, whole
from bpcompile.language.layers.windows import Extents, per_axis
from bpcompile.language.value import Value

__all__ = ["Cropping1D", "Cropping2D", "Cropping3D", "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D",
           "ZeroPadding2D", "ZeroPadding3D"]  # fmt: skip

#: An integer, one for each axis, or a pair (before, after) for each.
Borders = int | Sequence[int | Sequence[int]]


def _pairs(layer: Spatial, what: str, value: Borders) -> list[tuple[int, int]]:
    """A pair (before, after) for each axis."""
    count = layer.RANK
    listed: list[object] = [value] * count if isinstance(value, int) else list(value)
    if count == 1 and len(listed) == 2 and all(whole(v) for v in listed):
        listed = [tuple(listed)]
    pairs = [tuple(v) if isinstance(v, (list, tuple)) else (v, v) for v in listed]
    if len(pairs) != count or not all(len(p) == 2 and all(whole(v) and v >= 0 for v in p) for p in pairs):
        layer.refuse(f"'{what}' is {value!r}.", "Give an integer, one for each axis, or a pair (before, after) for each.")
    return [(int(p[0]), int(p[1])) for p in pairs]


@dataclass(eq=False)
class _ZeroPadding(Spatial):
    """See `ZeroPadding2D`."""

    padding: Borders = 1

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        _, extents = self.read(inputs[0])
        places, pairs = PLACES[self.RANK], _pairs(self, "padding", self.padding)
        # Also where nothing stands before, the subscript is composite: the extent is not the input's.
        read = [f"{place} - {before}" for place, (before, _) in zip(places, pairs, strict=True)]
        return self.layer(
            [f"{self.element('y', 'c', places)} = {self.element('x', 'c', read)}"],
            sizes={place: e + sum(pair) for place, e, pair in zip(places, extents, pairs, strict=True)},
            outside={"x": 0},
        )


@dataclass(eq=False)
class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after sequences ``[n, t, feature]``.

    Parameters
    ----------
    padding : int or (int, int)
        How many steps before and after.
    """

    KIND: ClassVar[str] = "zero_padding1d"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class ZeroPadding2D(_ZeroPadding):
    """Zeros around images ``[n, channel, row, column]``.

    Parameters
    ----------
    padding : int or sequence
        An integer, one for rows and one for columns, or ``((top, bottom), (left, right))``.
    """

    KIND: ClassVar[str] = "zero_padding2d"


@dataclass(eq=False)
class ZeroPadding3D(_ZeroPadding):
    """Zeros around volumes ``[n, channel, depth, row, column]``; see `ZeroPadding2D`."""

    KIND: ClassVar[str] = "zero_padding3d"
    RANK: ClassVar[int] = 3


@dataclass(eq=False)
class _Cropping(Spatial):
    """See `Cropping2D`."""

    cropping: Borders = 1

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        _, extents = self.read(inputs[0])
        places, pairs = PLACES[self.RANK], _pairs(self, "cropping", self.cropping)
        left = {place: e - sum(pair) for place, e, pair in zip(places, extents, pairs, strict=True)}
        if min(left.values()) < 1:
            self.refuse(f"'cropping' is {self.cropping!r}, and leaves nothing of {inputs[0]!r}.")
        read = [f"{place} + {before}" for place, (before, _) in zip(places, pairs, strict=True)]
        return self.layer([f"{self.element('y', 'c', places)} = {self.element('x', 'c', read)}"], sizes=left)


@dataclass(eq=False)
class Cropping1D(_Cropping):
    """The middle of sequences ``[n, t, feature]``.

    Parameters
    ----------
    cropping : int or (int, int)
        How many steps are cut off before and after.
    """

    KIND: ClassVar[str] = "cropping1d"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class Cropping2D(_Cropping):
    """The middle of images ``[n, channel, row, column]``.

    Parameters
    ----------
    cropping : int or sequence
        An integer, one for rows and one for columns, or ``((top, bottom), (left, right))``.
    """

    KIND: ClassVar[str] = "cropping2d"


@dataclass(eq=False)
class Cropping3D(_Cropping):
    """The middle of volumes ``[n, channel, depth, row, column]``; see `Cropping2D`."""

    KIND: ClassVar[str] = "cropping3d"
    RANK: ClassVar[int] = 3


@dataclass(eq=False)
class _UpSampling(Spatial):
    """See `UpSampling2D`."""

    size: Extents = 2
    interpolation: str = "nearest"

    def check(self) -> None:
        """A known interpolation."""
        self.one_of(("nearest", "bilinear"), interpolation=self.interpolation)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations; between elements, one axis after the other."""
        _, extents = self.read(inputs[0])
        factors, places = per_axis(self, "size", self.size, self.RANK), PLACES[self.RANK]
        sizes = {place: e * factor for place, e, factor in zip(places, extents, factors, strict=True)}
        if self.interpolation == "nearest":
            read = [place if f == 1 else f"{place}//{f}" for place, f in zip(places, factors, strict=True)]
            return self.layer([f"{self.element('y', 'c', places)} = {self.element('x', 'c', read)}"], sizes=sizes)
        equations: list[str] = []
        source, at = "x", [f"i{place}" for place in places]
        for k, (place, extent, factor) in enumerate(zip(places, extents, factors, strict=True)):
            target = "y" if k == self.RANK - 1 else f"stretched_{place}"
            element = self.element(source, "c", [*at[:k], "{}", *at[k + 1 :]])
            at = [*at[:k], place, *at[k + 1 :]]
            equations.append(f"{self.element(target, 'c', at)} = {_between(element, place, factor, extent)}")
            source = target
        return self.layer(equations, sizes=sizes)


def _between(element: str, place: str, factor: int, extent: int) -> str:
    """Between the two nearest elements, whose centers lie half an element from the borders; beyond them, the outermost."""
    form = f"(2*{place} + {1 - factor})" if factor != 1 else f"(2*{place})"
    low, fraction = f"{form}//{2 * factor}", f"({form}%{2 * factor})/{2 * factor}"
    below = f"where({low} >= 0, {element.format(low)}, {element.format('0')})"
    above = f"where({low} + 1 < {extent}, {element.format(low + ' + 1')}, {element.format(extent - 1)})"
    return f"(1 - {fraction})*{below} + {fraction}*{above}"


@dataclass(eq=False)
class UpSampling1D(_UpSampling):
    """Sequences ``[n, t, feature]`` with more steps; see `UpSampling2D`."""

    KIND: ClassVar[str] = "up_sampling1d"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class UpSampling2D(_UpSampling):
    """Images ``[n, channel, row, column]`` with more rows and columns.

    Parameters
    ----------
    size : int or (int, int)
        How many times more.
    interpolation : str
        ``"nearest"`` or ``"bilinear"`` (half-pixel centers).
    """

    KIND: ClassVar[str] = "up_sampling2d"


@dataclass(eq=False)
class UpSampling3D(_UpSampling):
    """Volumes ``[n, channel, depth, row, column]`` with more places; see `UpSampling2D`."""

    KIND: ClassVar[str] = "up_sampling3d"
    RANK: ClassVar[int] = 3
