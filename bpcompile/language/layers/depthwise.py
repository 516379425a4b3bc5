"""Convolutions of each channel on its own, alone or before one over the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.convolution import Convolution
from bpcompile.language.layers.kind import TAPS, access
from bpcompile.language.layers.windows import Extents, Padding, windows_of
from bpcompile.language.value import Value

__all__ = ["DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"]


@dataclass(eq=False)
class _Depthwise(Convolution):
    """See `DepthwiseConv2D`."""

    kernel_size: Extents = 3
    strides: Extents = 1
    padding: Padding = "valid"
    depth_multiplier: int = 1
    dilation_rate: Extents = 1

    def check(self) -> None:
        """A positive multiplier."""
        super().check()
        self.positive(depth_multiplier=self.depth_multiplier)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the extents of the input."""
        channels, extents = self.read(inputs[0])
        windows = windows_of(self, extents, self.kernel_size, self.strides, self.padding, self.dilation_rate)
        filters = channels * self.depth_multiplier
        return self.finished(
            self.convolved(channels, filters, channels, windows, "weight", "x"),
            {"weight": ("o", "c", *TAPS[self.RANK])},
            {"o": filters, "c": 1, **self.sizes(windows)},
            self.outside(windows),
        )


@dataclass(eq=False)
class DepthwiseConv1D(_Depthwise):
    """Each feature of sequences ``[n, t, feature]`` with kernels of its own; see `DepthwiseConv2D`."""

    KIND: ClassVar[str] = "depthwise_conv1d"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class DepthwiseConv2D(_Depthwise):
    """Each channel with kernels of its own.

    Parameters
    ----------
    kernel_size, strides, padding, dilation_rate : optional
        As for `Conv2D`.
    depth_multiplier : int
        How many output channels each channel gives.
    activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer : optional
        As for `Dense`.

    Notes
    -----
    Parameters: ``weight[channels*depth_multiplier, 1, kernel, kernel]`` and ``bias``, as of a PyTorch convolution in as many
    groups as there are channels.
    """

    KIND: ClassVar[str] = "depthwise_conv2d"


@dataclass(eq=False)
class _Separable(Convolution):
    """See `SeparableConv2D`."""

    filters: int
    kernel_size: Extents = 3
    strides: Extents = 1
    padding: Padding = "valid"
    dilation_rate: Extents = 1
    depth_multiplier: int = 1

    KERNELS: ClassVar[tuple[str, ...]] = ("depthwise_weight", "pointwise_weight")

    def check(self) -> None:
        """Positive numbers."""
        super().check()
        self.positive(filters=self.filters, depth_multiplier=self.depth_multiplier)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the extents of the input."""
        channels, extents = self.read(inputs[0])
        windows = windows_of(self, extents, self.kernel_size, self.strides, self.padding, self.dilation_rate)
        middle = channels * self.depth_multiplier
        depthwise = access("depthwise", *self.indices())
        text = self.convolved(channels, middle, channels, windows, "depthwise_weight", "x")
        weight = access("pointwise_weight", "f", "o", *["0"] * self.RANK)
        return self.finished(
            f"sum({weight}*{depthwise}, o)",
            {"depthwise_weight": ("o", "c", *TAPS[self.RANK]), "pointwise_weight": ("f", "o", *[1] * self.RANK)},
            {"o": middle, "c": 1, "f": self.filters, **self.sizes(windows)},
            self.outside(windows),
            channel="f",
            first=[f"{depthwise} = {text}"],
        )


@dataclass(eq=False)
class SeparableConv1D(_Separable):
    """A depthwise convolution over sequences ``[n, t, feature]``, then one over the features alone; see `SeparableConv2D`."""

    KIND: ClassVar[str] = "separable_conv1d"
    RANK: ClassVar[int] = 1


@dataclass(eq=False)
class SeparableConv2D(_Separable):
    """A depthwise convolution, then one over the channels alone (Chollet 2017).

    Parameters
    ----------
    filters : int
        The number of output channels.
    kernel_size, strides, padding, dilation_rate : optional
        As for `Conv2D`.
    depth_multiplier : int
        How many channels the depthwise part makes of each.
    activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer : optional
        As for `Dense`.

    Notes
    -----
    Parameters: ``depthwise_weight[channels*depth_multiplier, 1, kernel, kernel]``,
    ``pointwise_weight[filters, channels*depth_multiplier, 1, 1]``, ``bias``.
    """

    KIND: ClassVar[str] = "separable_conv2d"
