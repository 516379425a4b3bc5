"""Pooling. Images are ``[n, channel, row, column]``, sequences ``[n, t, feature]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import PLACES, TAPS, Spatial
from bpcompile.language.layers.windows import Extents, Padding, Window, per_axis, windows_of
from bpcompile.language.value import Value

__all__ = ["AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D",
           "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling1D",
           "GlobalMaxPooling2D", "GlobalMaxPooling3D", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D"]  # fmt: skip


@dataclass(eq=False)
class _Pooling(Spatial):
    """A window that slides over each channel."""

    pool_size: Extents = 2
    strides: Extents | None = None
    padding: Padding = "valid"
    ceil_mode: bool = False

    def windows(self, x: Value) -> tuple[Window, ...]:
        """The windows along the axes of an image or sequence."""
        _, extents = self.read(x)
        strides = self.pool_size if self.strides is None else self.strides
        found = windows_of(self, extents, self.pool_size, strides, self.padding, size_name="pool_size")
        if any(max(w.before, w.after) >= w.size for w in found):
            self.refuse(f"'padding' is {self.padding!r}: some window would lie in the padding alone.")
        return found

    def pooled(self, windows: Sequence[Window], right: str, outside: float) -> Layer:
        """The layer whose output is `right`; ``{x}`` in it is the element, ``{taps}`` the indices of the window."""
        if self.ceil_mode:
            windows = [w.rounded_up() for w in windows]
        places, taps = PLACES[self.RANK], TAPS[self.RANK]
        read = [w.subscript(i, p) for w, i, p in zip(windows, places, taps, strict=True)]
        text = right.format(x=self.element("x", "c", read), taps=", ".join(taps))
        return self.layer(
            [f"{self.element('y', 'c', places)} = {text}"],
            sizes={
                **{i: w.outputs for i, w in zip(places, windows, strict=True)},
                **{p: w.size for p, w in zip(taps, windows, strict=True)},
            },
            outside={"x": outside} if any(w.before or w.after for w in windows) else {},
        )


@dataclass(eq=False)
class _MaxPooling(_Pooling):
    def build(self, *inputs: Value) -> Layer:
        """Return the equation; padding never is the maximum."""
        return self.pooled(self.windows(inputs[0]), "max({x}, {taps})", float("-inf"))


@dataclass(eq=False)
class MaxPooling1D(_MaxPooling):
    """The greatest element of each window of sequences ``[n, t, feature]``; see `MaxPooling2D`."""

    KIND: ClassVar[str] = "max_pooling1d"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class MaxPooling2D(_MaxPooling):
    """The greatest element of each window over images ``[n, channel, row, column]``.

    Parameters
    ----------
    pool_size : int or sequence of int
        The window.
    strides : int or sequence of int, optional
        By default the window: the windows stand side by side.
    padding : str, int or sequence
        As for `Conv2D`.
    ceil_mode : bool
        Whether a last window that reaches beyond the border counts, as in PyTorch.
    """

    KIND: ClassVar[str] = "max_pooling2d"


@dataclass(eq=False)
class MaxPooling3D(_MaxPooling):
    """The greatest element of each window over volumes ``[n, channel, depth, row, column]``; see `MaxPooling2D`."""

    KIND: ClassVar[str] = "max_pooling3d"
    RANK: ClassVar[int] = 3


@dataclass(eq=False)
class _AveragePooling(_Pooling):
    count_include_pad: bool = False

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        windows = self.windows(inputs[0])
        if not self.ceil_mode and not any(w.before or w.after for w in windows):
            return self.pooled(windows, "mean({x}, {taps})", 0.0)
        counts = [self._count(w, i) for w, i in zip(windows, PLACES[self.RANK], strict=True)]
        return self.pooled(windows, f"sum({{x}}, {{taps}})/({'*'.join(counts)})", 0.0)

    def _count(self, window: Window, place: str) -> str:
        """How many elements of window `place` count; what lies beyond the padding never does."""
        start = window.start(place)
        if not self.count_include_pad:
            return f"(min({start} + {window.size}, {window.extent}) - max({start}, 0))"
        if not self.ceil_mode:
            return str(window.size)
        return f"(min({start} + {window.size}, {window.extent + window.after}) - ({start}))"


@dataclass(eq=False)
class AveragePooling1D(_AveragePooling):
    """The mean of each window of sequences ``[n, t, feature]``; see `AveragePooling2D`."""

    KIND: ClassVar[str] = "average_pooling1d"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class AveragePooling2D(_AveragePooling):
    """The mean of each window over images ``[n, channel, row, column]``.

    Parameters
    ----------
    pool_size, strides, padding, ceil_mode : optional
        As for `MaxPooling2D`.
    count_include_pad : bool
        Whether padding counts in the mean. Keras leaves it out; PyTorch counts it.
    """

    KIND: ClassVar[str] = "average_pooling2d"


@dataclass(eq=False)
class AveragePooling3D(_AveragePooling):
    """The mean of each window over volumes ``[n, channel, depth, row, column]``; see `AveragePooling2D`."""

    KIND: ClassVar[str] = "average_pooling3d"
    RANK: ClassVar[int] = 3


@dataclass(eq=False)
class _GlobalPooling(Spatial):
    keepdims: bool = False

    REDUCTION: ClassVar[str] = "mean"

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        self.read(inputs[0])
        places, ones = PLACES[self.RANK], TAPS[self.RANK]
        value = f"{self.REDUCTION}({self.element('x', 'c', places)}, {', '.join(places)})"
        if not self.keepdims:
            return self.layer([f"y[n,c] = {value}"])
        kept = f"{self.element('y', 'c', ones)} = pooled[n,c]"
        return self.layer([f"pooled[n,c] = {value}", kept], sizes=dict.fromkeys(ones, 1))


@dataclass(eq=False)
class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of all steps.

    Parameters
    ----------
    keepdims : bool
        Whether the axes stay, with extent one.
    """

    KIND: ClassVar[str] = "global_average_pooling1d"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of all elements of a channel.

    Parameters
    ----------
    keepdims : bool
        Whether the axes stay, with extent one.
    """

    KIND: ClassVar[str] = "global_average_pooling2d"


@dataclass(eq=False)
class GlobalAveragePooling3D(_GlobalPooling):
    """The mean of all elements of a channel of volumes.

    Parameters
    ----------
    keepdims : bool
        Whether the axes stay, with extent one.
    """

    KIND: ClassVar[str] = "global_average_pooling3d"
    RANK: ClassVar[int] = 3


@dataclass(eq=False)
class GlobalMaxPooling1D(_GlobalPooling):
    """The maximum of all steps.

    Parameters
    ----------
    keepdims : bool
        Whether the axes stay, with extent one.
    """

    KIND: ClassVar[str] = "global_max_pooling1d"
    RANK: ClassVar[int] = 1
    REDUCTION: ClassVar[str] = "max"


@dataclass(eq=False)
class GlobalMaxPooling2D(_GlobalPooling):
    """The maximum of all elements of a channel.

    Parameters
    ----------
    keepdims : bool
        Whether the axes stay, with extent one.
    """

    KIND: ClassVar[str] = "global_max_pooling2d"
    REDUCTION: ClassVar[str] = "max"


@dataclass(eq=False)
class GlobalMaxPooling3D(_GlobalPooling):
    """The maximum of all elements of a channel of volumes.

    Parameters
    ----------
    keepdims : bool
        Whether the axes stay, with extent one.
    """

    KIND: ClassVar[str] = "global_max_pooling3d"
    RANK: ClassVar[int] = 3
    REDUCTION: ClassVar[str] = "max"


@dataclass(eq=False)
class _AdaptiveAverage(Spatial):
    """See `AdaptiveAveragePooling2D`."""

    output_size: Extents = 1

    def build(self, *inputs: Value) -> Layer:
        """Return the equations: plain windows where they are all alike, one axis after the other where not."""
        _, extents = self.read(inputs[0])
        wanted = per_axis(self, "output_size", self.output_size, self.RANK)
        places, taps = PLACES[self.RANK], TAPS[self.RANK]
        sizes = dict(zip(places, wanted, strict=True))
        if not any(extent % count for extent, count in zip(extents, wanted, strict=True)):
            windows = [Window(e, e // count, e // count) for e, count in zip(extents, wanted, strict=True)]
            read = [w.subscript(i, p) for w, i, p in zip(windows, places, taps, strict=True)]
            mean = f"mean({self.element('x', 'c', read)}, {', '.join(taps)})"
            return self.layer(
                [f"{self.element('y', 'c', places)} = {mean}"],
                sizes={**sizes, **{p: w.size for p, w in zip(taps, windows, strict=True)}},
            )
        equations: list[str] = []
        source, at = "x", [f"i{place}" for place in places]
        for k, (place, extent, count) in enumerate(zip(places, extents, wanted, strict=True)):
            old = at[k]
            inside = f"{old}*{count} < ({place} + 1)*{extent} and {place}*{extent} < ({old} + 1)*{count}"
            target = "y" if k == self.RANK - 1 else f"pooled_{place}"
            total = f"sum(where({inside}, {self.element(source, 'c', at)}, 0), {old})"
            at = [*at[:k], place, *at[k + 1 :]]
            equations += [
                f"count_{place}[{place}] = sum(where({inside}, 1, 0), {old})",
                f"{self.element(target, 'c', at)} = {total}/count_{place}[{place}]",
            ]
            source = target
        return self.layer(equations, sizes={**sizes, **{f"i{p}": e for p, e in zip(places, extents, strict=True)}})


@dataclass(eq=False)
class AdaptiveAveragePooling1D(_AdaptiveAverage):
    """The mean of windows over sequences ``[n, t, feature]``; see `AdaptiveAveragePooling2D`."""

    KIND: ClassVar[str] = "adaptive_average_pooling1d"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class AdaptiveAveragePooling2D(_AdaptiveAverage):
    """The mean of windows that cover each channel so that the output has a given extent.

    Parameters
    ----------
    output_size : int or (int, int)
        Rows and columns of the output. Window `h` of `H` reaches from ``floor(h*rows/H)`` to ``ceil((h+1)*rows/H)``.
    """

    KIND: ClassVar[str] = "adaptive_average_pooling2d"
