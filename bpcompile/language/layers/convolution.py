"""Convolutions. Images are ``[n, channel, row, column]``, sequences ``[n, t, feature]``, weights ``[out, in/groups, ...]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.activations import default_initializer
from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import PLACES, TAPS, Spatial, access, activated
from bpcompile.language.layers.windows import Extents, Padding, Window, windows_of
from bpcompile.language.value import Value

__all__ = ["Conv1D", "Conv2D", "Conv3D"]


@dataclass(eq=False, kw_only=True)
class Convolution(Spatial):
    """What the convolutions share: how images are read, and how parameters start."""

    activation: object = None
    use_bias: bool = True
    kernel_initializer: object = None
    bias_initializer: object = "zeros"
    kernel_regularizer: object = None
    bias_regularizer: object = None

    #: The parameters that are kernels.
    KERNELS: ClassVar[tuple[str, ...]] = ("weight",)

    def check(self) -> None:
        """A known activation."""
        self.known_activation(activation=self.activation)
        if self.kernel_regularizer is not None:
            self.penalties = {**dict.fromkeys(self.KERNELS, self.kernel_regularizer), **self.penalties}
        if self.bias_regularizer is not None and self.use_bias:
            self.penalties = {"bias": self.bias_regularizer, **self.penalties}

    def indices(self, channel: str = "o") -> tuple[str, ...]:
        """The indices of the output."""
        return ("n", *PLACES[1], channel) if self.RANK == 1 else ("n", channel, *PLACES[self.RANK])

    def divided(self, groups: int, **counts: int) -> None:
        """Refuse counts that cannot be divided into groups of one size."""
        for what, count in counts.items():
            if count % groups:
                self.refuse(f"{count} {what} cannot be divided into {groups} groups.")

    def sizes(self, windows: Sequence[Window]) -> dict[str, int]:
        """The extents of the places and of the taps."""
        places = {i: w.outputs for i, w in zip(PLACES[self.RANK], windows, strict=True)}
        return {**places, **{p: w.size for p, w in zip(TAPS[self.RANK], windows, strict=True)}}

    def outside(self, windows: Sequence[Window]) -> dict[str, float]:
        """Zeros around what is padded."""
        return {"x": 0} if any(w.before or w.after for w in windows) else {}

    def convolved(self, channels: int, filters: int, groups: int, windows: Sequence[Window], weight: str, x: str) -> str:
        """The sum over the window and the channels of a group."""
        rank = self.RANK
        places = [w.subscript(i, p) for w, i, p in zip(windows, PLACES[rank], TAPS[rank], strict=True)]
        taps = ", ".join(TAPS[rank])
        per_group, filters_per_group = channels // groups, filters // groups
        group = "o" if filters_per_group == 1 else f"o//{filters_per_group}"
        channel = "c" if groups == 1 else group if per_group == 1 else f"{per_group}*({group}) + c"
        kernel = access(weight, "o", "c", *TAPS[rank])
        return f"sum({kernel}*{self.element(x, channel, places)}, c, {taps})"

    def finished(
        self,
        total: str,
        weights: Mapping[str, tuple[str | int, ...]],
        sizes: Mapping[str, int],
        outside: Mapping[str, float],
        channel: str = "o",
        first: Sequence[str] = (),
    ) -> Layer:
        """The layer that ends with this sum, a bias for each output channel, and the activation."""
        indices = self.indices(channel)
        parameters, bias = dict(weights), ""
        kernel = self.kernel_initializer or default_initializer(self.activation)
        initializers: dict[str, object] = dict.fromkeys(weights, kernel)
        if self.use_bias:
            parameters["bias"], initializers["bias"] = (channel,), self.bias_initializer
            bias = f" + bias[{channel}]"
        return self.layer(
            [*first, *activated(f"{access('z', *indices)} = {total}{bias}", self.activation, *indices)],
            parameters=parameters,
            sizes=dict(sizes),
            outside=dict(outside),
            initializers=initializers,
        )


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
        self.divided(self.groups, filters=self.filters)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the extents of the input."""
        channels, extents = self.read(inputs[0])
        self.divided(self.groups, channels=channels)
        windows = windows_of(self, extents, self.kernel_size, self.strides, self.padding, self.dilation_rate)
        return self.finished(
            self.convolved(channels, self.filters, self.groups, windows, "weight", "x"),
            {"weight": ("o", "c", *TAPS[self.RANK])},
            {"o": self.filters, "c": channels // self.groups, **self.sizes(windows)},
            self.outside(windows),
        )


@dataclass(eq=False)
class Conv1D(_DirectConvolution):
    """A convolution over sequences ``[n, t, feature]``; see `Conv2D`. Its padding may also be ``"causal"``."""

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
    """A convolution over volumes ``[n, channel, depth, row, column]``; see `Conv2D`."""

    KIND: ClassVar[str] = "conv3d"
    RANK: ClassVar[int] = 3
