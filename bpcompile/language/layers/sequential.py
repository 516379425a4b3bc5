"""Chains of layers, and chains that are added to what they are applied to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from bpcompile.language.layers.basic import Add
from bpcompile.language.layers.composite import Composite, only
from bpcompile.language.layers.convolution import Conv2D
from bpcompile.language.layers.normalization import BatchNormalization
from bpcompile.language.standard_layers import Activation
from bpcompile.language.value import LayerBase, Value

__all__ = ["Residual", "ResidualBlock", "Sequential"]


@dataclass(eq=False)
class Sequential(Composite):
    """Layers one after another.

    Parameters
    ----------
    layers : sequence of layers
        Each is applied to what the one before it returns.

    Examples
    --------
    >>> from bpcompile.language.standard_layers import Dense
    >>> from bpcompile.language.value import Input
    >>> Sequential([Dense(32, activation="tanh"), Dense(10)])(Input("x", (64,)))
    <intermediate 'dense.z' [n, 10]>
    """

    layers: Sequence[LayerBase]

    KIND: ClassVar[str] = "sequential"
    IN_SPECS: ClassVar[bool] = False

    def check(self) -> None:
        """One layer at least."""
        if not self.layers or not all(isinstance(layer, LayerBase) for layer in self.layers):
            self.refuse(f"'layers' is {self.layers!r}; a list of layers was expected.")

    def apply(self, *inputs: Value) -> Value | tuple[Value, ...]:
        """Apply the layers in order; the first may take several inputs, the last may return several values."""
        result: Value | tuple[Value, ...] = self.layers[0](*inputs)
        for layer in self.layers[1:]:
            result = layer(only(result))
        return result


@dataclass(eq=False)
class Residual(Composite):
    """``activation(x + f(x))``, with a chain of layers `f` (He et al. 2016).

    Parameters
    ----------
    layers : sequence of layers
        The chain.
    shortcut : sequence of layers
        What `x` passes on the other way, where the extents differ.
    activation : optional
        Of the sum.
    """

    layers: Sequence[LayerBase]
    shortcut: Sequence[LayerBase] = ()
    activation: object = None

    KIND: ClassVar[str] = "residual"
    IN_SPECS: ClassVar[bool] = False

    def check(self) -> None:
        """A known activation."""
        self.known_activation(activation=self.activation)

    def apply(self, *inputs: Value) -> Value:
        """Apply both ways, and add."""
        x = self.one(inputs)
        y = only(Sequential(self.layers)(x))
        other = only(Sequential(self.shortcut)(x)) if self.shortcut else x
        total = only(Add(name=self.part("add")["name"])(y, other))
        if self.activation is None:
            return total
        return only(Activation(self.activation, name=self.part("activation")["name"])(total))


@dataclass(eq=False)
class ResidualBlock(Composite):
    """Two 3x3 convolutions with batch normalization, added to the input (He et al. 2016, figure 5, left).

    Parameters
    ----------
    filters : int
        The number of output channels.
    strides : int
        Of the first convolution.
    activation : optional
        Between the convolutions and of the sum.

    Notes
    -----
    Parts ``conv1``, ``bn1``, ``conv2``, ``bn2`` and, where the extents change, ``downsample_conv``, ``downsample_bn``: as in
    torchvision.
    """

    filters: int
    strides: int = 1
    activation: object = "relu"
    parts: dict[str, LayerBase] = field(default_factory=dict, init=False, repr=False)

    KIND: ClassVar[str] = "residual_block"

    def check(self) -> None:
        """Positive numbers, and the parts that every block has."""
        self.positive(filters=self.filters, strides=self.strides)
        for k, strides in ((1, self.strides), (2, 1)):
            self.parts[f"conv{k}"] = Conv2D(
                self.filters, 3, strides, 1, use_bias=False, kernel_initializer="he_normal", **self.part(f"conv{k}")
            )
            self.parts[f"bn{k}"] = BatchNormalization(**self.part(f"bn{k}"))
            self.parts[f"activation{k}"] = Activation(self.activation, name=self.part(f"activation{k}")["name"])
        self.parts["add"] = Add(name=self.part("add")["name"])

    def apply(self, *inputs: Value) -> Value:
        """Apply both ways, and add."""
        x = self.one(inputs)
        y = x
        for name in ("conv1", "bn1", "activation1", "conv2", "bn2"):
            y = only(self.parts[name](y))
        if y.shape != x.shape:
            if "downsample_conv" not in self.parts:
                self.parts["downsample_conv"] = Conv2D(
                    self.filters, 1, self.strides, use_bias=False, **self.part("downsample_conv")
                )
                self.parts["downsample_bn"] = BatchNormalization(**self.part("downsample_bn"))
            x = only(self.parts["downsample_bn"](only(self.parts["downsample_conv"](x))))
        return only(self.parts["activation2"](only(self.parts["add"](y, x))))
