"""Layers that combine, weigh and gate features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import AXES, LibraryLayer, access, activated, axes_of, extents_of
from bpcompile.language.standard_layers import activation_equation, axis_names
from bpcompile.language.value import Value

__all__ = ["GLU", "Add", "Average", "Bilinear", "Concatenate", "Dot", "Maximum", "Maxout", "Minimum", "Multiply",
           "PReLU", "RadialBasis", "Subtract"]  # fmt: skip


@dataclass(eq=False)
class _Merge(LibraryLayer):
    """One output element from the same element of all inputs; extents of one are repeated."""

    def build(self, *inputs: Value) -> Layer:
        """Return the equation for as many inputs as come."""
        if len(inputs) < 2:
            self.refuse(f"{len(inputs)} input came, and the layer combines two or more.")
        rank = max(len(x.shape) for x in inputs)
        if any(len(x.shape) != rank for x in inputs):
            self.refuse(f"The inputs {', '.join(map(repr, inputs))} have different numbers of axes.")
        extents = [max(x.shape[axis] or 0 for x in inputs) for axis in range(1, rank)]
        for x in inputs:
            if any(e not in (1, most) for e, most in zip(extents_of(x), extents, strict=True)):
                self.refuse(f"The inputs {', '.join(map(repr, inputs))} have different extents.")
        names = [f"x{k}" for k in range(1, len(inputs) + 1)]
        axes = AXES[: rank - 1]
        terms = [access(name, "n", *_repeated(x, extents, axes)) for name, x in zip(names, inputs, strict=True)]
        return self.layer([f"{access('y', 'n', *axes)} = {self.formula(terms)}"], inputs=names)

    def formula(self, terms: list[str]) -> str:
        """The right side."""
        raise NotImplementedError


def _repeated(x: Value, extents: list[int], axes: tuple[str, ...]) -> list[str]:
    return [axis if e == most else "0" for axis, e, most in zip(axes, extents_of(x), extents, strict=True)]


class Add(_Merge):
    """``y = x1 + x2 + ...``, element by element; extents of one are repeated."""

    KIND: ClassVar[str] = "add"

    def formula(self, terms: list[str]) -> str:
        """The sum."""
        return " + ".join(terms)


class Subtract(_Merge):
    """``y = x1 - x2``, element by element; extents of one are repeated."""

    KIND: ClassVar[str] = "subtract"

    def formula(self, terms: list[str]) -> str:
        """The difference of two inputs."""
        if len(terms) != 2:
            self.refuse(f"{len(terms)} inputs came, and the layer subtracts the second from the first.")
        return " - ".join(terms)


class Multiply(_Merge):
    """``y = x1 * x2 * ...``, element by element; extents of one are repeated."""

    KIND: ClassVar[str] = "multiply"

    def formula(self, terms: list[str]) -> str:
        """The product."""
        return "*".join(terms)


class Maximum(_Merge):
    """``y = max(x1, x2, ...)``, element by element; extents of one are repeated."""

    KIND: ClassVar[str] = "maximum"

    def formula(self, terms: list[str]) -> str:
        """The greatest."""
        return f"max({', '.join(terms)})"


class Minimum(_Merge):
    """``y = min(x1, x2, ...)``, element by element; extents of one are repeated."""

    KIND: ClassVar[str] = "minimum"

    def formula(self, terms: list[str]) -> str:
        """The least."""
        return f"min({', '.join(terms)})"


class Average(_Merge):
    """``y = (x1 + x2 + ...) / count``, element by element; extents of one are repeated."""

    KIND: ClassVar[str] = "average"

    def formula(self, terms: list[str]) -> str:
        """The mean."""
        return f"({' + '.join(terms)})/{len(terms)}"


def leading(x: Value) -> tuple[str, ...]:
    """Names of the batch's axis and of those between it and the last."""
    return ("n", *axis_names(max(len(x.shape) - 2, 0)))


@dataclass(eq=False)
class Concatenate(LibraryLayer):
    """The inputs one after another along an axis.

    Parameters
    ----------
    axis : int
        The axis; 0 is the batch, which cannot be it. Images are joined along their channels with ``axis=1``.
    """

    axis: int = -1

    KIND: ClassVar[str] = "concatenate"

    def build(self, *inputs: Value) -> Layer:
        """Return the equation for as many inputs as come."""
        place = self.place(self.axis, inputs[0])
        shapes = [x.shape[:place] + x.shape[place + 1 :] for x in inputs]
        if any(shape != shapes[0] for shape in shapes) or any(len(x.shape) <= place for x in inputs):
            self.refuse(f"The inputs {', '.join(map(repr, inputs))} differ in another axis than {place}.")
        axes = axes_of(inputs[0])
        joined, total, text = axes[place], sum(x.shape[place] or 0 for x in inputs), ""
        start = total
        for k in range(len(inputs), 0, -1):
            start -= inputs[k - 1].shape[place] or 0
            subscripts = list(axes)
            subscripts[place] = f"{joined} - {start}" if start else joined
            element = access(f"x{k}", *subscripts)
            text = f"where({joined} < {start + (inputs[k - 1].shape[place] or 0)}, {element}, {text})" if text else element
        names = [f"x{k}" for k in range(1, len(inputs) + 1)]
        return self.layer([f"{access('y', *axes)} = {text}"], inputs=names, sizes={joined: total})


@dataclass(eq=False)
class Dot(LibraryLayer):
    """``y[n] = sum(a[n,i]*b[n,i], i)``: the inner product of two vectors.

    Parameters
    ----------
    normalize : bool
        Whether the vectors are divided by their Euclidean norms first, which gives the cosine of their angle.
    """

    normalize: bool = False

    KIND: ClassVar[str] = "dot"

    def build(self, *inputs: Value) -> Layer:
        """Return the equations; the output is ``[n, 1]``."""
        if len(inputs) != 2 or any(len(x.shape) != 2 for x in inputs):
            self.refuse("The layer reads two inputs [n, feature].")
        product = "d[n] = sum(a[n,i]*b[n,i], i)"
        if not self.normalize:
            return self.layer([product, "y[n,j] = d[n]"], inputs=("a", "b"), sizes={"j": 1})
        norms = "y[n,j] = d[n]/sqrt(sum(a[n,i]**2, i)*sum(b[n,k]**2, k))"
        return self.layer([product, norms], inputs=("a", "b"), sizes={"j": 1})


@dataclass(eq=False)
class PReLU(LibraryLayer):
    """``y = where(x > 0, x, weight*x)`` with trained slopes (He et al. 2015).

    Parameters
    ----------
    num_parameters : int
        1, or as many as there are channels (axis 1).
    init : float
        How the slopes start.
    """

    num_parameters: int = 1
    init: float = 0.25

    KIND: ClassVar[str] = "prelu"

    def check(self) -> None:
        """One slope at least."""
        self.positive(num_parameters=self.num_parameters)

    def build(self, *inputs: Value) -> Layer:
        """Return the equation for the rank of the input."""
        axes = axes_of(inputs[0])
        if self.num_parameters not in (1, inputs[0].shape[1] if len(axes) > 1 else 1):
            self.refuse(f"'num_parameters' is {self.num_parameters}, and {inputs[0]!r} has other channels.")
        slope = "weight[0]" if self.num_parameters == 1 else f"weight[{axes[1]}]"
        x = access("x", *axes)
        equation = f"{access('y', *axes)} = where({x} > 0, {x}, {slope}*{x})"
        return self.layer(
            [equation], parameters={"weight": (self.num_parameters,)}, initializers={"weight": float(self.init)}
        )


@dataclass(eq=False)
class Bilinear(LibraryLayer):
    """``y = x1' A x2 + b`` for each output feature.

    Parameters
    ----------
    units : int
        The number of output features.
    activation : optional
        As for `Dense`.
    use_bias : bool
        Whether there is a bias.
    """

    units: int
    activation: object = None
    use_bias: bool = True

    KIND: ClassVar[str] = "bilinear"

    def check(self) -> None:
        """A positive number of units."""
        self.positive(units=self.units)
        self.known_activation(activation=self.activation)

    def build(self, *inputs: Value) -> Layer:
        """Return the equation for two vectors."""
        if len(inputs) != 2 or any(len(x.shape) != 2 for x in inputs):
            self.refuse("The layer reads two inputs [n, feature].")
        parameters: dict[str, tuple[str, ...]] = {"weight": ("j", "i", "k")}
        if self.use_bias:
            parameters["bias"] = ("j",)
        bias = " + bias[j]" if self.use_bias else ""
        text = f"z[n,j] = sum(weight[j,i,k]*x1[n,i]*x2[n,k], i, k){bias}"
        return self.layer(
            activated(text, self.activation, "n", "j"),
            inputs=("x1", "x2"),
            parameters=parameters,
            sizes={"j": self.units},
        )


@dataclass(eq=False)
class Maxout(LibraryLayer):
    """The greatest of several affine maps (Goodfellow et al. 2013).

    Parameters
    ----------
    units : int
        The number of output features.
    pieces : int
        How many maps each is the greatest of.
    use_bias : bool
        Whether there is a bias.
    """

    units: int
    pieces: int = 2
    use_bias: bool = True

    KIND: ClassVar[str] = "maxout"

    def check(self) -> None:
        """Positive extents."""
        self.positive(units=self.units, pieces=self.pieces)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations; they work on the last axis."""
        lead = leading(inputs[0])
        parameters: dict[str, tuple[str, ...]] = {"weight": ("j", "k", "i")}
        if self.use_bias:
            parameters["bias"] = ("j", "k")
        z, bias = access("z", *lead, "j", "k"), " + bias[j,k]" if self.use_bias else ""
        return self.layer(
            [
                f"{z} = sum(weight[j,k,i]*{access('x', *lead, 'i')}, i){bias}",
                f"{access('y', *lead, 'j')} = max({z}, k)",
            ],
            parameters=parameters,
            sizes={"j": self.units, "k": self.pieces},
            initializers={"bias": "zeros"} if self.use_bias else {},
        )


@dataclass(eq=False)
class GLU(LibraryLayer):
    """The first half of the features times an activation of the second half (Dauphin et al. 2017; Shazeer 2020).

    Parameters
    ----------
    axis : int
        The axis that is halved.
    activation : optional
        Of the gate: ``"sigmoid"`` by default; ``"silu"`` and ``"gelu"`` give SwiGLU and GEGLU.
    """

    axis: int = -1
    activation: object = "sigmoid"

    KIND: ClassVar[str] = "glu"

    def check(self) -> None:
        """A known activation."""
        self.known_activation(activation=self.activation)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations."""
        place = self.place(self.axis, inputs[0])
        extent, axes = inputs[0].shape[place] or 0, axes_of(inputs[0])
        if extent % 2:
            self.refuse(f"Axis {place} of {inputs[0]!r} has an odd extent and cannot be halved.")
        half = extent // 2
        gate, x = (list(axes) for _ in range(2))
        gate[place], x[place] = f"{axes[place]} + {half}", f"{axes[place]} + 0"
        return self.layer(
            [
                f"{access('z', *axes)} = {access('x', *gate)}",
                activation_equation(self.activation, "gate", "z", axes),
                f"{access('y', *axes)} = {access('x', *x)}*{access('gate', *axes)}",
            ],
            sizes={axes[place]: half},
        )


@dataclass(eq=False)
class RadialBasis(LibraryLayer):
    """``y = exp(-exp(log_width) * |x - center|^2)``: Gaussian radial basis functions (Broomhead and Lowe 1988).

    Parameters
    ----------
    units : int
        The number of centers.
    log_width : float
        How the logarithm of the inverse squared widths starts.
    """

    units: int
    log_width: float = 0.0

    KIND: ClassVar[str] = "radial_basis"

    def check(self) -> None:
        """A positive number of centers."""
        self.positive(units=self.units)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations; they work on the last axis."""
        lead = leading(inputs[0])
        at = access("distance", *lead, "j")
        return self.layer(
            [
                f"{at} = sum(({access('x', *lead, 'i')} - center[j,i])**2, i)",
                f"{access('y', *lead, 'j')} = exp(-exp(log_width[j])*{at})",
            ],
            parameters={"center": ("j", "i"), "log_width": ("j",)},
            sizes={"j": self.units},
            initializers={"center": "normal(1.0)", "log_width": float(self.log_width)},
        )
