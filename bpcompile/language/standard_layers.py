"""The layers that nearly every network has: `Dense`, `Flatten`, `Activation`. Each is only its equations."""

from __future__ import annotations

from collections.abc import Mapping

from bpcompile.errors import LanguageError
from bpcompile.language.activations import activate, default_initializer, is_identity, with_options
from bpcompile.language.equation import Equation
from bpcompile.language.layer import Layer
from bpcompile.language.symbols import Access, Index
from bpcompile.language.value import LayerBase, Value

__all__ = ["Activation", "Dense", "Flatten", "activation_equation", "axis_names", "positive"]


def axis_names(count: int) -> tuple[str, ...]:
    """Return `count` index names for the axes between the batch and the last."""
    return tuple("tsrq"[:count]) if count <= 4 else tuple(f"t{k}" for k in range(1, count + 1))


def positive(value: object, what: str) -> int:
    """Return `value` if it is a positive integer.

    Raises
    ------
    LanguageError
        If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise LanguageError(f"'{what}' is {value!r}; a positive integer was expected.")
    return value


def activation_equation(
    activation: object, target: str, source: str, indices: tuple[str, ...], axis: int = -1
) -> Equation:
    """Return ``target[indices] = activation(source[indices])``."""
    subscripts = tuple(Index(name) for name in indices)
    return Equation(Access(target, *subscripts), activate(activation, Access(source, *subscripts), indices, axis))


class Dense(LayerBase):
    """``a = activation(W x + b)`` on the last axis of an input with any number of axes.

    Parameters
    ----------
    units : int
        The extent of the last axis of the output.
    activation : str, sympy.Expr, callable, optional
        A name, or a formula in one symbol; see `bpcompile.language.activations`.
    use_bias : bool
        Whether there is a bias `b`.
    name : str, optional
        The layer's name.
    kernel_initializer : optional
        How ``W[units, inputs]`` starts: by default ``he_uniform`` before relu and its relatives, ``lecun_normal`` before
        selu, else ``glorot_uniform``.
    bias_initializer : optional
        How ``b[units]`` starts.
    kernel_regularizer, bias_regularizer : Penalty, optional
        `L1` and `L2` penalties.
    trainable : bool
        Whether its parameters are trained.

    Examples
    --------
    >>> from bpcompile.language.value import Input
    >>> Dense(32, activation="tanh", name="hidden")(Input("x", (64,)))
    <intermediate 'hidden.a' [n, 32]>
    """

    def __init__(
        self,
        units: int,
        activation: object = None,
        use_bias: bool = True,
        name: str | None = None,
        kernel_initializer: object = None,
        bias_initializer: object = "zeros",
        kernel_regularizer: object = None,
        bias_regularizer: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name, "dense")
        self.units = positive(units, "units")
        self.activation = activation
        self.use_bias = bool(use_bias)
        self.kernel_initializer = default_initializer(activation) if kernel_initializer is None else kernel_initializer
        self.bias_initializer = bias_initializer
        self.regularizers = {"W": kernel_regularizer, "b": bias_regularizer}
        self.trainable = bool(trainable)
        if not is_identity(activation):
            activate(activation, Access("z", Index("n"), Index("j")))  # a wrong name is told here, not at the call

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        axes = len(inputs[0].shape) if len(inputs) == 1 else 2
        if axes < 2:
            raise LanguageError(
                f"Layer '{self.label}' needs an input with at least one axis besides the batch.",
                hint='Give the input a shape, as in bp.Input("x", (1,)).',
            )
        lead = ("n", *axis_names(axes - 2))
        parameters: dict[str, tuple[str, ...]] = {"W": ("j", "i")}
        bias = ""
        if self.use_bias:
            parameters["b"] = ("j",)
            bias = " + b[j]"
        at = ",".join(lead)
        equations: list[str | Equation] = [f"z[{at},j] = sum(W[j,i]*x[{at},i], i){bias}"]
        if not is_identity(self.activation):
            equations.append(activation_equation(self.activation, "a", "z", (*lead, "j")))
        return Layer(
            equations,
            parameters=parameters,
            sizes={"j": self.units},
            inputs=("x",),
            name=self.name,
            kind=self.kind,
            initializers=_present({"W": self.kernel_initializer, "b": self.bias_initializer}, parameters),
            penalties=_present(self.regularizers, parameters),
            frozen=() if self.trainable else tuple(parameters),
        )


def _present(options: Mapping[str, object], names: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in options.items() if key in names and value is not None}


class Activation(LayerBase):
    """``a = activation(z)``, element by element or along an axis.

    Parameters
    ----------
    activation : str, sympy.Expr or callable
        A name, or a formula in one symbol.
    name : str, optional
        The layer's name.
    axis : int
        The axis along which softmax and its relatives go; the batch is 0.
    options : optional
        Of a named activation, such as ``alpha`` of ``"elu"``.

    Examples
    --------
    >>> Activation("leaky_relu", negative_slope=0.2).formula
    {'name': 'leaky_relu', 'negative_slope': 0.2}
    """

    def __init__(self, activation: object, name: str | None = None, axis: int = -1, **options: object) -> None:
        super().__init__(name, "activation")
        self.formula = with_options("identity" if activation is None else activation, options)
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise LanguageError(f"'axis' is {axis!r}; an integer was expected.", where=f"Layer '{self.label}'")
        self.axis = axis
        activate(self.formula, Access("z", Index("n"), Index("j")))

    def build(self, *inputs: Value) -> Layer:
        """Return the equation for the rank of the input."""
        count = len(inputs[0].shape) - 1 if inputs else 0
        indices = ("n", *axis_names(count - 1), "j") if count > 0 else ("n",)
        if self.axis != -1 and (self.axis == 0 or not -count <= self.axis <= count):
            raise LanguageError(
                f"'axis' is {self.axis!r}, and {inputs[0]!r} has the axes 1 to {count} after the batch.",
                where=f"Layer '{self.label}'",
            )
        equation = activation_equation(self.formula, "a", "z", indices, self.axis)
        return Layer([equation], inputs=("z",), name=self.name, kind=self.kind)


class Flatten(LayerBase):
    """All axes but the batch become one, in row-major order.

    Parameters
    ----------
    name : str, optional
        The layer's name.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name, "flatten")

    def build(self, *inputs: Value) -> Layer:
        """Return the equation for the shape of the input."""
        shape = [extent or 1 for extent in inputs[0].shape[1:]] if inputs else []
        total, stride = 1, 1
        subscripts: list[str] = []
        for extent in shape:
            total *= extent
        stride = total
        for axis, extent in enumerate(shape):
            stride //= extent
            quotient = f"k//{stride}" if stride > 1 else "k"
            subscripts.append(quotient if axis == 0 else f"({quotient})%{extent}" if stride > 1 else f"k%{extent}")
        at = ",".join(["n", *subscripts])
        return Layer([f"y[n,k] = x[{at}]"], sizes={"k": total}, inputs=("x",), name=self.name, kind=self.kind)
