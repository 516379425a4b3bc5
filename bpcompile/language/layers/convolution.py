"""Convolutions. Images are ``[n, channel, row, column]``, sequences ``[n, t, feature]``, weights ``[out, in/groups, ...]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.activations import default_initializer
from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer, access, activated, shifted
from bpcompile.language.layers.windows import Extents, Padding, Window, per_axis, windows_of
from bpcompile.language.value import Value

__all__ = ["Conv1D", "Conv2D", "Conv2DTranspose", "Conv3D", "DepthwiseConv2D", "SeparableConv2D"]

_LAYOUT = {1: "n, t, feature", 2: "n, channel, row, column", 3: "n, channel, depth, row, column"}
_PLACES = {1: ("t",), 2: ("h", "w"), 3: ("d", "h", "w")}
_TAPS = {1: ("p",), 2: ("p", "q"), 3: ("p", "q", "r")}


@dataclass(eq=False, kw_only=True)
class _Convolution(LibraryLayer):
    """What the convolutions share."""

    activation: object = None
    use_bias: bool = True
    kernel_initializer: object = None
    bias_initializer: object = "zeros"
    kernel_regularizer: object = None
    bias_regularizer: object = None

    RANK: ClassVar[int] = 2

    def check(self) -> None:
        """A known activation."""
        self.known_activation(activation=self.activation)
        if self.kernel_regularizer is not None:
            self.penalties = {"weight": self.kernel_regularizer, **self.penalties}
        if self.bias_regularizer is not None and self.use_bias:
            self.penalties = {"bias": self.bias_regularizer, **self.penalties}

    def read(self, x: Value) -> tuple[int, tuple[int, ...]]:
        """The number of channels and the other extents."""
        extents = self.shaped(x, _LAYOUT[self.RANK])
        return (extents[-1], extents[:-1]) if self.RANK == 1 else (extents[0], extents[1:])

    def element(self, tensor: str, channel: str, places: Sequence[str]) -> str:
        """One element of an image or a sequence."""
        if self.RANK == 1:
            return access(tensor, "n", *places, channel)
        return access(tensor, "n", channel, *places)

    def indices(self) -> tuple[str, ...]:
        """The indices of the output."""
        return ("n", *_PLACES[1], "o") if self.RANK == 1 else ("n", "o", *_PLACES[self.RANK])

    def starts(self, *weights: str) -> dict[str, object]:
        """How the parameters start."""
        kernel = self.kernel_initializer or default_initializer(self.activation)
        bias = {"bias": self.bias_initializer} if self.use_bias else {}
        return {**dict.fromkeys(weights, kernel), **bias}

    def convolved(self, channels: int, filters: int, groups: int, windows: Sequence[Window], weight: str, x: str) -> str:
        """The sum over the window and the channels of a group."""
        rank = self.RANK
        places = [w.subscript(i, p) for w, i, p in zip(windows, _PLACES[rank], _TAPS[rank], strict=True)]
        taps = ", ".join(_TAPS[rank])
        per_group, filters_per_group = channels // groups, filters // groups
        group = "o" if filters_per_group == 1 else f"o//{filters_per_group}"
        channel = "c" if groups == 1 else group if per_group == 1 else f"{per_group}*({group}) + c"
        kernel = access(weight, "o", "c", *_TAPS[rank])
        return f"sum({kernel}*{self.element(x, channel, places)}, c, {taps})"


@dataclass(eq=False)
class _DirectConvolution(_Convolution):
    """A convolution with one kernel.

    ``z[n,o,h,w] = sum(weight[o,c,p,q]*x[n,c,s*h + d*p - top,s*w + d*q - left], c, p, q) + bias[o]``
    """

    filters: int
    kernel_size: Extents = 3
    strides: Extents = 1
    padding: Padding = "valid"
    dilation_rate: Extents = 1
    groups: int = 1

    def check(self) -> None:
        """Positive numbers."""
        super().check()
        self.positive(filters=self.filters, groups=self.groups)
        if self.filters % self.groups:
            self.refuse(f"{self.filters} filters cannot be divided into {self.groups} groups.")

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the extents of the input."""
        channels, extents = self.read(inputs[0])
        if channels % self.groups:
            self.refuse(f"{channels} channels cannot be divided into {self.groups} groups.")
        windows = windows_of(self, extents, self.kernel_size, self.strides, self.padding, self.dilation_rate)
        rank, padded = self.RANK, any(w.before or w.after for w in windows)
        parameters: dict[str, tuple[str, ...]] = {"weight": ("o", "c", *_TAPS[rank])}
        if self.use_bias:
            parameters["bias"] = ("o",)
        text = self.convolved(channels, self.filters, self.groups, windows, "weight", "x")
        bias = " + bias[o]" if self.use_bias else ""
        return self.layer(
            activated(f"{access('z', *self.indices())} = {text}{bias}", self.activation, *self.indices()),
            parameters=parameters,
            sizes={
                "o": self.filters,
                "c": channels // self.groups,
                **{i: w.outputs for i, w in zip(_PLACES[rank], windows, strict=True)},
                **{p: w.size for p, w in zip(_TAPS[rank], windows, strict=True)},
            },
            outside={"x": 0} if padded else {},
            initializers=self.starts("weight"),
        )


@dataclass(eq=False)
class Conv1D(_DirectConvolution):
    """A convolution over sequences ``[n, t, feature]``.

    Parameters
    ----------
    filters : int
        The number of output channels.
    kernel_size, strides, dilation_rate : int or sequence of int
        One for all axes, or one for each.
    padding : str, int or sequence
        ``"valid"``, ``"same"`` (as in Keras), ``"causal"``, an integer, one for each axis, or a pair (before, after) for each.
    groups : int
        Channels come in so many groups that do not see each other.
    activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer : optional
        As for `Dense`.

    Notes
    -----
    Parameters: ``weight[filters, channels/groups, kernel]`` and ``bias[filters]``, as PyTorch's.
    """

    KIND: ClassVar[str] = "conv1d"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class Conv2D(_DirectConvolution):
    """A convolution over images ``[n, channel, row, column]``.

    Parameters
    ----------
    filters : int
        The number of output channels.
    kernel_size, strides, dilation_rate : int or sequence of int
        One for all axes, or one for each.
    padding : str, int or sequence
        ``"valid"``, ``"same"`` (as in Keras), an integer, one for each axis, or a pair (before, after) for each.
    groups : int
        Channels come in so many groups that do not see each other.
    activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer : optional
        As for `Dense`.

    Notes
    -----
    Parameters: ``weight[filters, channels/groups, kernel, kernel]`` and ``bias[filters]``, as PyTorch's.
    """

    KIND: ClassVar[str] = "conv2d"
    RANK: ClassVar[int] = 2


@dataclass(eq=False)
class Conv3D(_DirectConvolution):
    """A convolution over volumes ``[n, channel, depth, row, column]``.

    Parameters
    ----------
    filters : int
        The number of output channels.
    kernel_size, strides, dilation_rate : int or sequence of int
        One for all axes, or one for each.
    padding : str, int or sequence
        ``"valid"``, ``"same"`` (as in Keras), an integer, one for each axis, or a pair (before, after) for each.
    groups : int
        Channels come in so many groups that do not see each other.
    activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer : optional
        As for `Dense`.

    Notes
    -----
    Parameters: ``weight[filters, channels/groups, kernel, kernel, kernel]`` and ``bias[filters]``, as PyTorch's.
    """

    KIND: ClassVar[str] = "conv3d"
    RANK: ClassVar[int] = 3


@dataclass(eq=False)
class DepthwiseConv2D(_Convolution):
    """Each channel with kernels of its own.

    Parameters
    ----------
    kernel_size, strides, padding, dilation_rate : optional
        As for `Conv2D`.
    depth_multiplier : int
        How many output channels each channel gives.

    Notes
    -----
    Parameters: ``weight[channels*depth_multiplier, 1, kernel, kernel]`` and ``bias``, as of a PyTorch convolution in as many
    groups as there are channels.
    """

    kernel_size: Extents = 3
    strides: Extents = 1
    padding: Padding = "valid"
    depth_multiplier: int = 1
    dilation_rate: Extents = 1

    KIND: ClassVar[str] = "depthwise_conv2d"

    def check(self) -> None:
        """A positive multiplier."""
        super().check()
        self.positive(depth_multiplier=self.depth_multiplier)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the extents of the input."""
        channels, extents = self.read(inputs[0])
        windows = windows_of(self, extents, self.kernel_size, self.strides, self.padding, self.dilation_rate)
        filters = channels * self.depth_multiplier
        parameters: dict[str, tuple[str, ...]] = {"weight": ("o", "c", "p", "q")}
        if self.use_bias:
            parameters["bias"] = ("o",)
        text = self.convolved(channels, filters, channels, windows, "weight", "x")
        bias = " + bias[o]" if self.use_bias else ""
        return self.layer(
            activated(f"z[n,o,h,w] = {text}{bias}", self.activation, *self.indices()),
            parameters=parameters,
            sizes={"o": filters, "c": 1, **_sizes(windows)},
            outside={"x": 0} if any(w.before or w.after for w in windows) else {},
            initializers=self.starts("weight"),
        )


def _sizes(windows: Sequence[Window]) -> dict[str, int]:
    h, w = windows
    return {"h": h.outputs, "w": w.outputs, "p": h.size, "q": w.size}


@dataclass(eq=False)
class SeparableConv2D(_Convolution):
    """A depthwise convolution, then one over the channels alone (Chollet 2017).

    Parameters
    ----------
    filters : int
        The number of output channels.
    kernel_size, strides, padding, dilation_rate : optional
        As for `Conv2D`.
    depth_multiplier : int
        How many channels the depthwise part makes of each.

    Notes
    -----
    Parameters: ``depthwise_weight[channels*depth_multiplier, 1, kernel, kernel]``,
    ``pointwise_weight[filters, channels*depth_multiplier, 1, 1]``, ``bias``.
    """

    filters: int
    kernel_size: Extents = 3
    strides: Extents = 1
    padding: Padding = "valid"
    dilation_rate: Extents = 1
    depth_multiplier: int = 1

    KIND: ClassVar[str] = "separable_conv2d"

    def check(self) -> None:
        """Positive numbers."""
        self.known_activation(activation=self.activation)
        self.positive(filters=self.filters, depth_multiplier=self.depth_multiplier)
        if self.kernel_regularizer is not None:
            kernels = ("depthwise_weight", "pointwise_weight")
            self.penalties = {**dict.fromkeys(kernels, self.kernel_regularizer), **self.penalties}

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the extents of the input."""
        channels, extents = self.read(inputs[0])
        windows = windows_of(self, extents, self.kernel_size, self.strides, self.padding, self.dilation_rate)
        middle = channels * self.depth_multiplier
        parameters: dict[str, tuple[str | int, ...]] = {
            "depthwise_weight": ("o", "c", "p", "q"),
            "pointwise_weight": ("f", "o", 1, 1),
        }
        if self.use_bias:
            parameters["bias"] = ("f",)
        text = self.convolved(channels, middle, channels, windows, "depthwise_weight", "x")
        bias = " + bias[f]" if self.use_bias else ""
        pointwise = f"z[n,f,h,w] = sum(pointwise_weight[f,o,0,0]*depthwise[n,o,h,w], o){bias}"
        return self.layer(
            [f"depthwise[n,o,h,w] = {text}", *activated(pointwise, self.activation, "n", "f", "h", "w")],
            parameters=parameters,
            sizes={"o": middle, "c": 1, "f": self.filters, **_sizes(windows)},
            outside={"x": 0} if any(w.before or w.after for w in windows) else {},
            initializers=self.starts("depthwise_weight", "pointwise_weight"),
        )


@dataclass(eq=False)
class Conv2DTranspose(_Convolution):
    """The adjoint of a convolution (Zeiler et al. 2010): row `i` of the input meets tap `p` in row ``s*i + d*p - top``.

    Parameters
    ----------
    filters : int
        The number of output channels.
    kernel_size, strides, dilation_rate : int or sequence of int
        One for both axes, or one for each.
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

    filters: int
    kernel_size: Extents = 3
    strides: Extents = 1
    padding: Padding = "valid"
    output_padding: Extents = 0
    dilation_rate: Extents = 1
    groups: int = 1

    KIND: ClassVar[str] = "conv2d_transpose"

    def check(self) -> None:
        """Positive numbers."""
        super().check()
        self.positive(filters=self.filters, groups=self.groups)
        if self.filters % self.groups:
            self.refuse(f"{self.filters} filters cannot be divided into {self.groups} groups.")

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the extents of the input."""
        channels, extents = self.read(inputs[0])
        if channels % self.groups:
            self.refuse(f"{channels} channels cannot be divided into {self.groups} groups.")
        sizes = per_axis(self, "kernel_size", self.kernel_size, 2)
        strides = per_axis(self, "strides", self.strides, 2)
        dilations = per_axis(self, "dilation_rate", self.dilation_rate, 2)
        cuts = self._cuts(sizes, strides, dilations)
        extra = per_axis(self, "output_padding", self.output_padding, 2, least=0)
        outputs = [
            (e - 1) * s - before - after + d * (k - 1) + more + 1
            for e, s, k, d, (before, after), more in zip(extents, strides, sizes, dilations, cuts, extra, strict=True)
        ]
        if min(outputs) < 1:
            self.refuse(f"Nothing is left of {inputs[0]!r} with padding={self.padding!r}.")
        axes = [
            _Scattered(place, tap, stride, size, dilation, before)
            for place, tap, stride, size, dilation, (before, _) in zip(
                ("h", "w"), ("p", "q"), strides, sizes, dilations, cuts, strict=True
            )
        ]
        return self._layer(channels, axes, outputs)

    def _cuts(self, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[tuple[int, int]]:
        if self.padding != "same":
            return [(w.before, w.after) for w in windows_of(self, (1, 1), 1, 1, self.padding)]
        totals = [max(d * (k - 1) + 1 - s, 0) for k, s, d in zip(sizes, strides, dilations, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]

    def _layer(self, channels: int, axes: Sequence[_Scattered], outputs: Sequence[int]) -> Layer:
        per_group, filters_per_group = channels // self.groups, self.filters // self.groups
        group = f"o//{filters_per_group}" if filters_per_group > 1 else "o"
        channel = "c" if self.groups == 1 else f"{per_group}*({group}) + c"
        filters = "o" if self.groups == 1 else f"o%{filters_per_group}"
        weight = access("weight", channel, filters, *(a.kernel for a in axes))
        product = f"{weight}*{access('x', 'n', channel, *(a.source for a in axes))}"
        guards = [a.guard for a in axes if a.guard]
        body = f"where({' and '.join(guards)}, {product}, 0)" if guards else product
        parameters: dict[str, tuple[int, ...]] = {"weight": (channels, filters_per_group, *(a.size for a in axes))}
        if self.use_bias:
            parameters["bias"] = (self.filters,)
        bias = " + bias[o]" if self.use_bias else ""
        h, w = outputs
        return self.layer(
            activated(f"z[n,o,h,w] = sum({body}, c, p, q){bias}", self.activation, "n", "o", "h", "w"),
            parameters=parameters,
            sizes={"o": self.filters, "c": per_group, "h": h, "w": w, **{a.tap: a.count for a in axes}},
            outside={"x": 0, "weight": 0},
            initializers=self.starts("weight"),
        )


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
