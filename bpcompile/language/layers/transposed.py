"""The adjoint of a convolution as a layer, in the form that gathers: which taps meet an output element, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.convolution import Convolution
from bpcompile.language.layers.kind import PLACES, TAPS, access, shifted
from bpcompile.language.layers.windows import Extents, Padding, per_axis, windows_of
from bpcompile.language.value import Value

__all__ = ["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"]


@dataclass(eq=False)
class _Transposed(Convolution):
    """See `Conv2DTranspose`."""

    filters: int
    kernel_size: Extents = 3
    strides: Extents = 1
    padding: Padding = "valid"
    output_padding: Extents = 0
    dilation_rate: Extents = 1
    groups: int = 1

    def check(self) -> None:
        """Positive numbers."""
        super().check()
        self.positive(filters=self.filters, groups=self.groups)
        self.divided(self.groups, filters=self.filters)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the extents of the input."""
        channels, extents = self.read(inputs[0])
        self.divided(self.groups, channels=channels)
        sizes = per_axis(self, "kernel_size", self.kernel_size, self.RANK)
        strides = per_axis(self, "strides", self.strides, self.RANK)
        dilations = per_axis(self, "dilation_rate", self.dilation_rate, self.RANK)
        cuts = self._cuts(sizes, strides, dilations)
        extra = per_axis(self, "output_padding", self.output_padding, self.RANK, least=0)
        outputs = [
            (e - 1) * s - before - after + d * (k - 1) + more + 1
            for e, s, k, d, (before, after), more in zip(extents, strides, sizes, dilations, cuts, extra, strict=True)
        ]
        if min(outputs) < 1:
            self.refuse(f"Nothing is left of {inputs[0]!r} with padding={self.padding!r}.")
        axes = [
            _Scattered(place, tap, stride, size, dilation, before)
            for place, tap, stride, size, dilation, (before, _) in zip(
                PLACES[self.RANK], TAPS[self.RANK], strides, sizes, dilations, cuts, strict=True
            )
        ]
        return self._layer(channels, axes, outputs)

    def _cuts(self, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[tuple[int, int]]:
        if self.padding != "same":
            return [(w.before, w.after) for w in windows_of(self, (1,) * self.RANK, 1, 1, self.padding)]
        totals = [max(d * (k - 1) + 1 - s, 0) for k, s, d in zip(sizes, strides, dilations, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]

    def _layer(self, channels: int, axes: Sequence[_Scattered], outputs: Sequence[int]) -> Layer:
        per_group, filters_per_group = channels // self.groups, self.filters // self.groups
        group = f"o//{filters_per_group}" if filters_per_group > 1 else "o"
        channel = "c" if self.groups == 1 else f"{per_group}*({group}) + c"
        filters = "o" if self.groups == 1 else f"o%{filters_per_group}"
        weight = access("weight", channel, filters, *(a.kernel for a in axes))
        product = f"{weight}*{self.element('x', channel, [a.source for a in axes])}"
        guards = [a.guard for a in axes if a.guard]
        body = f"where({' and '.join(guards)}, {product}, 0)" if guards else product
        places = dict(zip(PLACES[self.RANK], outputs, strict=True))
        return self.finished(
            f"sum({body}, c, {', '.join(TAPS[self.RANK])})",
            {"weight": (channels, filters_per_group, *(a.size for a in axes))},
            {"o": self.filters, "c": per_group, **places, **{a.tap: a.count for a in axes}},
            {"x": 0, "weight": 0},
        )


@dataclass(eq=False)
class Conv1DTranspose(_Transposed):
    """The adjoint of a convolution over sequences ``[n, t, feature]``; see `Conv2DTranspose`."""

    KIND: ClassVar[str] = "conv1d_transpose"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class Conv2DTranspose(_Transposed):
    """The adjoint of a convolution (Zeiler et al. 2010): row `i` of the input meets tap `p` in row ``s*i + d*p - top``.

    Parameters
    ----------
    filters : int
        The number of output channels.
    kernel_size, strides, dilation_rate : int or sequence of int
        One for all axes, or one for each.
    padding : str, int or sequence
        ``"valid"`` (nothing is cut off, so 0), ``"same"`` (the output has `strides` times the extent of the input), or how
        many rows and columns are cut off at each border.
    output_padding : int or sequence of int
        Rows and columns that are added at the end.
    groups : int
        Channels come in so many groups that do not see each other.
    activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer : optional
        As for `Dense`.

    Notes
    -----
    Parameters: ``weight[channels, filters/groups, kernel, kernel]`` and ``bias[filters]``, as PyTorch's.
    """

    KIND: ClassVar[str] = "conv2d_transpose"


@dataclass(eq=False)
class Conv3DTranspose(_Transposed):
    """The adjoint of a convolution over volumes ``[n, channel, depth, row, column]``; see `Conv2DTranspose`."""

    KIND: ClassVar[str] = "conv3d_transpose"
    RANK: ClassVar[int] = 3


@dataclass(frozen=True)
class _Scattered:
    """One axis of a transposed convolution, seen from the output: which tap meets which input element.

    With stride `s` and no dilation, output `h` meets the taps ``(h + before) % s + s*u`` alone: `u` counts them, and no
    product is formed only to be dropped. With both, a guard picks the taps.
    """

    place: str
    tap: str
    stride: int
    size: int
    dilation: int
    before: int

    @property
    def _at(self) -> str:
        return shifted(self.place, self.before)

    @property
    def _split(self) -> bool:
        return self.stride > 1 and self.dilation == 1

    @property
    def count(self) -> int:
        """How many taps are looked at."""
        return -(-self.size // self.stride) if self._split else self.size

    @property
    def kernel(self) -> str:
        """The tap's place in the kernel."""
        return f"({self._at})%{self.stride} + {self.stride}*{self.tap}" if self._split else self.tap

    @property
    def source(self) -> str:
        """The place of the input element."""
        if self._split:
            return f"({self._at})//{self.stride} - {self.tap}"
        form = f"{self._at} - {self.dilation}*{self.tap}"
        return form if self.stride == 1 else f"({form})//{self.stride}"

    @property
    def guard(self) -> str:
        """Where the input has an element, if not everywhere."""
        if self._split or self.stride == 1:
            return ""
        return f"({self._at} - {self.dilation}*{self.tap})%{self.stride} == 0"
