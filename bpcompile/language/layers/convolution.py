"""Convolutions. Images are ``[n, channel, row, column]``, sequences ``[n, t, feature]``, weights ``[out, in/groups, ...]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.activations import default_initializer
from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer, access, activated
from bpcompile.language.layers.windows import Extents, Padding, Window, windows_of
from bpcompile.language.value import Value

__all__ = ["Conv1D", "Conv2D", "Conv3D", "Convolution", "DepthwiseConv2D", "SeparableConv2D"]

_LAYOUT = {1: "n, t, feature", 2: "n, channel, row, column", 3: "n, channel, depth, row, column"}
_PLACES = {1: ("t",), 2: ("h", "w"), 3: ("d", "h", "w")}
_TAPS = {1: ("p",), 2: ("p", "q"), 3: ("p", "q", "r")}


@dataclass(eq=False, kw_only=True)
class Convolution(LibraryLayer):
    """What the convolutions share: how images are read, and how parameters start."""

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
class _DirectConvolution(Convolution):
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
class DepthwiseConv2D(Convolution):
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
class SeparableConv2D(Convolution):
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
