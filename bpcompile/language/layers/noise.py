"""Noise while training: what is dropped or added is drawn by a counter, and so repeats exactly. Off in ``predict``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer, access, axes_of, number
from bpcompile.language.value import Value

__all__ = ["AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D", "SpatialDropout2D"]


@dataclass(eq=False)
class Dropout(LibraryLayer):
    """Elements are zero with probability `rate`, and the others grow by ``1/(1 - rate)`` (Srivastava et al. 2014).

    Parameters
    ----------
    rate : float
        The probability.
    """

    rate: float = 0.5

    KIND: ClassVar[str] = "dropout"

    def check(self) -> None:
        """A rate below one."""
        self.probability(rate=self.rate)

    def kept(self, x: Value) -> tuple[str, ...]:
        """The axes over which elements are dropped one by one."""
        return axes_of(x)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        axes, kept = axes_of(inputs[0]), self.kept(inputs[0])
        x, y, mask, keep = access("x", *axes), access("y", *axes), access("mask", *kept), number(1 - self.rate)
        return self.layer([f"{mask} = bernoulli({keep})", f"{y} = where(training, {x}*{mask}/{keep}, {x})"])


@dataclass(eq=False)
class SpatialDropout1D(Dropout):
    """Whole features of sequences ``[n, t, feature]`` are zero with probability `rate` (Tompson et al. 2015).

    Parameters
    ----------
    rate : float
        The probability.
    """

    KIND: ClassVar[str] = "spatial_dropout1d"

    def kept(self, x: Value) -> tuple[str, ...]:
        """Example and feature."""
        self.shaped(x, "n, t, feature")
        return ("n", axes_of(x)[2])


@dataclass(eq=False)
class SpatialDropout2D(Dropout):
    """Whole channels of images ``[n, channel, row, column]`` are zero with probability `rate` (Tompson et al. 2015).

    Parameters
    ----------
    rate : float
        The probability.
    """

    KIND: ClassVar[str] = "spatial_dropout2d"

    def kept(self, x: Value) -> tuple[str, ...]:
        """Example and channel."""
        self.shaped(x, "n, channel, row, column")
        return axes_of(x)[:2]


@dataclass(eq=False)
class AlphaDropout(Dropout):
    """Dropout that keeps mean 0 and variance 1 behind selu (Klambauer et al. 2017, section 3).

    Parameters
    ----------
    rate : float
        The probability.
    """

    KIND: ClassVar[str] = "alpha_dropout"

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        axes, low, keep = axes_of(inputs[0]), -1.7580993408473766, 1 - self.rate
        x, y, mask = access("x", *axes), access("y", *axes), access("mask", *axes)
        factor = 1 / math.sqrt(keep + low**2 * keep * self.rate)
        dropped = f"where({mask} > 0, {x}, {number(low)})"
        moved = f"{number(factor)}*{dropped} + {number(-factor * low * self.rate)}"
        return self.layer([f"{mask} = bernoulli({number(keep)})", f"{y} = where(training, {moved}, {x})"])


@dataclass(eq=False)
class GaussianNoise(LibraryLayer):
    """``y = x + stddev*normal()``.

    Parameters
    ----------
    stddev : float
        The standard deviation of the noise.
    """

    stddev: float = 1.0

    KIND: ClassVar[str] = "gaussian_noise"

    def check(self) -> None:
        """No negative deviation."""
        if not isinstance(self.stddev, (int, float)) or self.stddev < 0:
            self.refuse(f"'stddev' is {self.stddev!r}; a number of at least 0 was expected.")

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        axes = axes_of(inputs[0])
        x, y, noise = access("x", *axes), access("y", *axes), access("noise", *axes)
        return self.layer(
            [f"{noise} = normal()", f"{y} = where(training, {x} + {number(self.stddev)}*{noise}, {x})"]
        )


@dataclass(eq=False)
class GaussianDropout(LibraryLayer):
    """``y = x*(1 + sqrt(rate/(1 - rate))*normal())`` (Srivastava et al. 2014, section 10).

    Parameters
    ----------
    rate : float
        As for `Dropout`, which has the same variance.
    """

    rate: float = 0.5

    KIND: ClassVar[str] = "gaussian_dropout"

    def check(self) -> None:
        """A rate below one."""
        self.probability(rate=self.rate)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        axes, deviation = axes_of(inputs[0]), math.sqrt(self.rate / (1 - self.rate))
        x, y, noise = access("x", *axes), access("y", *axes), access("noise", *axes)
        return self.layer(
            [f"{noise} = normal()", f"{y} = where(training, {x}*(1 + {number(deviation)}*{noise}), {x})"]
        )
