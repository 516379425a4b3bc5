"""Pooling. Images are ``[n, channel, row, column]``, sequences ``[n, t, feature]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer, access
from bpcompile.language.layers.windows import Extents, Padding, Window, per_axis, windows_of
from bpcompile.language.value import Value

__all__ = ["AdaptiveAveragePooling2D", "AveragePooling1D", "AveragePooling2D", "GlobalAveragePooling1D",
           "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "MaxPooling1D",
           "MaxPooling2D"]  # fmt: skip

_LAYOUT = {1: "n, t, feature", 2: "n, channel, row, column"}
_PLACES = {1: ("t",), 2: ("h", "w")}
_TAPS = {1: ("p",), 2: ("p", "q")}


@dataclass(eq=False)
class _Pooling(LibraryLayer):
    """A window that slides over each channel."""

    pool_size: Extents = 2
    strides: Extents | None = None
    padding: Padding = "valid"

    RANK: ClassVar[int] = 2

    def windows(self, x: Value) -> tuple[Window, ...]:
        """The windows along the axes of an image or sequence."""
        extents = self.shaped(x, _LAYOUT[self.RANK])
        inner = extents[:1] if self.RANK == 1 else extents[1:]
        strides = self.pool_size if self.strides is None else self.strides
        found = windows_of(self, inner, self.pool_size, strides, self.padding, size_name="pool_size")
        if any(max(w.before, w.after) >= w.size for w in found):
            self.refuse(f"'padding' is {self.padding!r}: some window would lie in the padding alone.")
        return found

    def element(self, tensor: str, places: Sequence[str]) -> str:
        """One element."""
        return access(tensor, "n", *places, "c") if self.RANK == 1 else access(tensor, "n", "c", *places)

    def pooled(self, windows: Sequence[Window], right: str, outside: float) -> Layer:
        """The layer whose output is `right`; ``{x}`` in it is the element, ``{taps}`` the indices of the window."""
        rank = self.RANK
        places = [w.subscript(i, p) for w, i, p in zip(windows, _PLACES[rank], _TAPS[rank], strict=True)]
        text = right.format(x=self.element("x", places), taps=", ".join(_TAPS[rank]))
        return self.layer(
            [f"{self.element('y', _PLACES[rank])} = {text}"],
            sizes={
                **{i: w.outputs for i, w in zip(_PLACES[rank], windows, strict=True)},
                **{p: w.size for p, w in zip(_TAPS[rank], windows, strict=True)},
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
    """

    KIND: ClassVar[str] = "max_pooling2d"


@dataclass(eq=False)
class _AveragePooling(_Pooling):
    count_include_pad: bool = False

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        windows = self.windows(inputs[0])
        padded = any(w.before or w.after for w in windows)
        if not padded:
            return self.pooled(windows, "mean({x}, {taps})", 0.0)
        counts = [
            str(w.size) if self.count_include_pad else _count(w, i)
            for w, i in zip(windows, _PLACES[self.RANK], strict=True)
        ]
        return self.pooled(windows, f"sum({{x}}, {{taps}})/({'*'.join(counts)})", 0.0)


def _count(window: Window, place: str) -> str:
    """How many elements of window `place` do not lie in the padding."""
    start = window.start(place)
    return f"(min({start} + {window.size}, {window.extent}) - max({start}, 0))"


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
    pool_size, strides, padding : optional
        As for `MaxPooling2D`.
    count_include_pad : bool
        Whether padding counts in the mean. Keras leaves it out; PyTorch counts it.
    """

    KIND: ClassVar[str] = "average_pooling2d"


@dataclass(eq=False)
class _GlobalPooling(LibraryLayer):
    keepdims: bool = False

    RANK: ClassVar[int] = 2
    REDUCTION: ClassVar[str] = "mean"

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        self.shaped(inputs[0], _LAYOUT[self.RANK])
        x, over = ("x[n,t,c]", "t") if self.RANK == 1 else ("x[n,c,h,w]", "h, w")
        value = f"{self.REDUCTION}({x}, {over})"
        if not self.keepdims:
            return self.layer([f"y[n,c] = {value}"])
        left, sizes = ("y[n,p,c]", {"p": 1}) if self.RANK == 1 else ("y[n,c,p,q]", {"p": 1, "q": 1})
        return self.layer([f"pooled[n,c] = {value}", f"{left} = pooled[n,c]"], sizes=sizes)


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
class AdaptiveAveragePooling2D(LibraryLayer):
    """The mean of windows that cover each channel so that the output has a given extent.

    Parameters
    ----------
    output_size : int or (int, int)
        Rows and columns of the output. Window `h` of `H` reaches from ``floor(h*rows/H)`` to ``ceil((h+1)*rows/H)``.
    """

    output_size: Extents = 1

    KIND: ClassVar[str] = "adaptive_average_pooling2d"

    def build(self, *inputs: Value) -> Layer:
        """Return the equations: plain windows where they are all alike, one axis after the other where not."""
        _, rows, columns = self.shaped(inputs[0], "n, channel, row, column")
        high, wide = per_axis(self, "output_size", self.output_size, 2)
        sizes = {"h": high, "w": wide}
        if rows % high == columns % wide == 0:
            h, w = Window(rows, rows // high, rows // high), Window(columns, columns // wide, columns // wide)
            return self.layer(
                [f"y[n,c,h,w] = mean(x[n,c,{h.subscript('h', 'p')},{w.subscript('w', 'q')}], p, q)"],
                sizes={**sizes, "p": h.size, "q": w.size},
            )
        row = f"i*{high} < (h + 1)*{rows} and h*{rows} < (i + 1)*{high}"
        column = f"j*{wide} < (w + 1)*{columns} and w*{columns} < (j + 1)*{wide}"
        return self.layer(
            [
                f"height[h] = sum(where({row}, 1, 0), i)",
                f"width[w] = sum(where({column}, 1, 0), j)",
                f"rows[n,c,h,j] = sum(where({row}, x[n,c,i,j], 0), i)/height[h]",
                f"y[n,c,h,w] = sum(where({column}, rows[n,c,h,j], 0), j)/width[w]",
            ],
            sizes={**sizes, "i": rows, "j": columns},
        )
