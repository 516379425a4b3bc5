"""How parameters start. Fans follow PyTorch's shapes: out is the first axis, in is the product of the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from bpcompile.errors import LanguageError, nearest

__all__ = [
    "INITIALIZERS",
    "Constant",
    "Identity",
    "Initializer",
    "Normal",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "fans",
    "initial_values",
    "initializer",
]

Values = npt.NDArray[np.float64]


@runtime_checkable
class Initializer(Protocol):
    """Anything that can fill a parameter."""

    def fill(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> Values:
        """Return the first values, of shape `shape`, in float64."""
        ...


@dataclass(frozen=True)
class VarianceScaling:
    """Random numbers with variance ``scale / fan``, uniform or normal.

    The He (scale 2, fan in; He et al. 2015, eq. 10), Glorot (scale 1, mean of both fans; Glorot and Bengio 2010, eq. 16)
    and LeCun (scale 1, fan in; LeCun et al. 1998, section 4.6) initializers are its rows.
    """

    scale: float
    mode: str
    distribution: str

    def fill(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> Values:
        """Return the first values."""
        fan = {"fan_in": float(fan_in), "fan_out": float(fan_out), "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(fan, 1.0)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return rng.uniform(-limit, limit, tuple(shape))
        return rng.normal(0.0, math.sqrt(variance), tuple(shape))


@dataclass(frozen=True)
class Uniform:
    """Random numbers between `low` and `high`."""

    low: float = -0.05
    high: float = 0.05

    def fill(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> Values:  # noqa: ARG002
        """Return the first values."""
        return rng.uniform(self.low, self.high, tuple(shape))


@dataclass(frozen=True)
class Normal:
    """Normal random numbers with a standard deviation."""

    std: float = 0.05
    mean: float = 0.0

    def fill(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> Values:  # noqa: ARG002
        """Return the first values."""
        return rng.normal(self.mean, self.std, tuple(shape))


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal random numbers, drawn anew where they lie more than two standard deviations from the mean."""

    std: float = 0.05
    mean: float = 0.0

    def fill(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> Values:  # noqa: ARG002
        """Return the first values."""
        values = rng.normal(size=tuple(shape))
        while (far := np.abs(values) > 2).any():
            values = np.where(far, rng.normal(size=tuple(shape)), values)
        return self.mean + self.std * values


@dataclass(frozen=True)
class Identity:
    """Ones (times `gain`) on the diagonal of a matrix, zeros beside it."""

    gain: float = 1.0

    def fill(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> Values:  # noqa: ARG002
        """Return the first values."""
        if len(shape) != 2:
            raise LanguageError(f"The initializer 'identity' starts matrices, and the tensor has {len(shape)} axes.")
        return self.gain * np.eye(shape[0], shape[1])


@dataclass(frozen=True)
class Orthogonal:
    """Rows (or columns, whichever are fewer) that are orthonormal, times `gain` (Saxe et al. 2013)."""

    gain: float = 1.0

    def fill(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> Values:
        """Return the first values."""
        tall, wide = max(fan_in, fan_out), min(fan_in, fan_out)
        q, r = np.linalg.qr(rng.normal(size=(tall, wide)))
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # the signs make the distribution uniform
        matrix = q if fan_out >= fan_in else q.T
        return np.ascontiguousarray(self.gain * matrix).reshape(tuple(shape))


@dataclass(frozen=True)
class Constant:
    """One number everywhere, or the elements of a nested sequence."""

    value: Any = 0.0

    def fill(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> Values:  # noqa: ARG002
        """Return the first values."""
        values = np.asarray(self.value, dtype=np.float64)
        if values.ndim and values.shape != tuple(shape):
            raise LanguageError(f"Values of shape {values.shape} were given to start a tensor of shape {tuple(shape)}.")
        return np.broadcast_to(values, tuple(shape)).copy()


def _scaling(scale: float, mode: str, distribution: str) -> Callable[[], Initializer]:
    return lambda: VarianceScaling(scale, mode, distribution)


#: Initializers by name. Those with arguments take them in parentheses, as in ``uniform(-0.1, 0.1)``.
INITIALIZERS: dict[str, Callable[..., Initializer]] = {
    "he_uniform": _scaling(2.0, "fan_in", "uniform"),
    "he_normal": _scaling(2.0, "fan_in", "normal"),
    "glorot_uniform": _scaling(1.0, "fan_avg", "uniform"),
    "glorot_normal": _scaling(1.0, "fan_avg", "normal"),
    "kaiming_uniform": _scaling(2.0, "fan_in", "uniform"),
    "kaiming_normal": _scaling(2.0, "fan_in", "normal"),
    "xavier_uniform": _scaling(1.0, "fan_avg", "uniform"),
    "xavier_normal": _scaling(1.0, "fan_avg", "normal"),
    "lecun_uniform": _scaling(1.0, "fan_in", "uniform"),
    "lecun_normal": _scaling(1.0, "fan_in", "normal"),
    "orthogonal": Orthogonal,
    "zeros": lambda: Constant(0.0),
    "ones": lambda: Constant(1.0),
    "constant": Constant,
    "uniform": Uniform,
    "normal": Normal,
    "random_uniform": Uniform,
    "random_normal": Normal,
    "truncated_normal": TruncatedNormal,
    "identity": Identity,
}


def initializer(value: object, where: str = "") -> Initializer:
    """Return the initializer that `value` names.

    Parameters
    ----------
    value : str, number, sequence of numbers or Initializer
        A name (``"he_normal"``), a name with numbers (``"uniform(-0.1, 0.1)"``, ``"constant(3)"``), a number, an array of
        the parameter's shape, or an object with a method ``fill``.
    where : str, optional
        The parameter, for error messages.

    Raises
    ------
    LanguageError
        If there is no such initializer.
    """
    if isinstance(value, str):
        return _by_name(value, where)
    if isinstance(value, Initializer):
        return value
    if isinstance(value, (int, float, list, tuple, np.ndarray, np.number)) and not isinstance(value, bool):
        try:
            return Constant(np.asarray(value, dtype=np.float64).tolist())
        except (TypeError, ValueError):
            pass
    raise LanguageError(
        f"{value!r} is no initializer.",
        where=where,
        hint='Give a name such as "he_normal", a number, an array, or an object with fill(rng, shape, fan_in, fan_out).',
    )


def _by_name(text: str, where: str) -> Initializer:
    name, _, inside = text.strip().partition("(")
    make = INITIALIZERS.get(name.strip())
    if make is None:
        guess = nearest(name.strip(), INITIALIZERS)
        raise LanguageError(
            f"There is no initializer '{name.strip()}'.",
            where=where,
            hint=guess or f"There are {', '.join(INITIALIZERS)}.",
        )
    pieces = [piece for piece in inside.rstrip().removesuffix(")").split(",") if piece.strip()]
    try:
        return make(*(float(piece) for piece in pieces))
    except (TypeError, ValueError):
        raise LanguageError(
            f"Initializer '{text}' cannot be read.", where=where, hint="Write it as in uniform(-0.1, 0.1)."
        ) from None


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return ``(fan_in, fan_out)`` of a parameter with PyTorch's order of axes.

    Examples
    --------
    >>> fans((16, 3, 5, 5))
    (75, 16)
    """
    fan_out = int(shape[0]) if shape else 1
    return math.prod(int(extent) for extent in shape[1:]), fan_out


def initial_values(name: str, shape: Sequence[int], init: Initializer, seed: int) -> Values:
    """Return the first values of a parameter. They depend on the seed and on its name, not on what else there is.

    Raises
    ------
    LanguageError
        If the initializer gives something of another shape.
    """
    rng = np.random.default_rng([int(seed), *name.encode()])
    fan_in, fan_out = fans(shape)
    values = np.asarray(init.fill(rng, tuple(shape), fan_in, fan_out), dtype=np.float64)
    if values.shape != tuple(shape):
        raise LanguageError(f"The initializer of '{name}' gave shape {values.shape}; the parameter has {tuple(shape)}.")
    return values
