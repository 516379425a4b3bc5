"""Activations as layers, under Keras's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bpcompile.language.activations import activate
from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer, axes_of
from bpcompile.language.standard_layers import activation_equation
from bpcompile.language.symbols import Access, Index
from bpcompile.language.value import Value

__all__ = ["ELU", "LeakyReLU", "ReLU", "Softmax"]


@dataclass(eq=False)
class _Activation(LibraryLayer):
    """A named activation; it may also stand where an activation is asked for."""

    @property
    def formula(self) -> dict[str, Any]:
        """The activation with its options."""
        raise NotImplementedError

    def check(self) -> None:
        """Options that the activation knows."""
        activate(self.formula, Access("z", Index("n"), Index("j")))

    def build(self, *inputs: Value) -> Layer:
        """Return the equation for the rank of the input."""
        axes = axes_of(inputs[0])
        return self.layer([activation_equation(self.formula, "a", "z", axes, self.along(inputs[0]))], inputs=("z",))

    def along(self, x: Value) -> int:  # noqa: ARG002
        """The axis that the formula goes along, if it does."""
        return -1


@dataclass(eq=False)
class ReLU(_Activation):
    """``z`` where it is above a threshold, ``negative_slope*(z - threshold)`` elsewhere; at most `max_value`.

    Parameters
    ----------
    max_value : float, optional
        The greatest value.
    negative_slope, threshold : float
        What stands below the threshold.
    """

    max_value: float | None = None
    negative_slope: float = 0.0
    threshold: float = 0.0

    KIND: ClassVar[str] = "relu"

    @property
    def formula(self) -> dict[str, Any]:
        """The activation with its options."""
        most = {} if self.max_value is None else {"max_value": self.max_value}
        return {"name": "relu", "negative_slope": self.negative_slope, "threshold": self.threshold, **most}


@dataclass(eq=False)
class LeakyReLU(_Activation):
    """``where(z > 0, z, negative_slope*z)`` (Maas et al. 2013).

    Parameters
    ----------
    negative_slope : float
        The slope below 0; Keras's default, PyTorch's is 0.01.
    """

    negative_slope: float = 0.3

    KIND: ClassVar[str] = "leaky_relu"

    @property
    def formula(self) -> dict[str, Any]:
        """The activation with its options."""
        return {"name": "leaky_relu", "negative_slope": self.negative_slope}


@dataclass(eq=False)
class ELU(_Activation):
    """``where(z > 0, z, alpha*(exp(z) - 1))`` (Clevert et al. 2015).

    Parameters
    ----------
    alpha : float
        Minus the limit for great negative numbers.
    """

    alpha: float = 1.0

    KIND: ClassVar[str] = "elu"

    @property
    def formula(self) -> dict[str, Any]:
        """The activation with its options."""
        return {"name": "elu", "alpha": self.alpha}


@dataclass(eq=False)
class Softmax(_Activation):
    """``exp(z[j]/temperature)/sum(exp(z[k]/temperature), k)`` along an axis.

    Parameters
    ----------
    axis : int
        The axis; the first after the batch is 1.
    temperature : float
        What the logits are divided by.
    """

    axis: int = -1
    temperature: float = 1.0

    KIND: ClassVar[str] = "softmax"

    @property
    def formula(self) -> dict[str, Any]:
        """The activation with its options."""
        return {"name": "softmax", "temperature": self.temperature}

    def along(self, x: Value) -> int:
        """The axis, if the input has it."""
        return self.place(self.axis, x)
