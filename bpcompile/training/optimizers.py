"""Optimizers as equations: each is a few lines of the language over one flat vector of parameters.

The equations run in order for every element ``k``: ``p`` are the parameters, ``g`` the gradients, the others the
optimizer's own state; a name on the left is that tensor from there on. ``learning_rate`` is a number given at run time,
``step`` counts the updates made before. Nobody differentiates them; they are frozen, compiled and printed like layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from bpcompile.calculus.freeze import Name, Scope, freeze_equations
from bpcompile.errors import TrainingError, named_options, nearest
from bpcompile.language.parser import parse_equation
from bpcompile.nodes.expressions import Expr, const, node, rebuild
from bpcompile.nodes.statements import Origin, Program, Statement, Tensor

SEEDS = ("learning_rate",)
"""The numbers that an optimizer takes at run time, in the order of the C interface."""

_INDEX = "k"


@dataclass(frozen=True)
class Optimizer:
    """An optimizer: equations, state and numbers.

    Parameters
    ----------
    name : str
        What it is called.
    equations : tuple of str
        What happens to each element ``k``, in order.
    learning_rate : float
        The step size; it may be changed between epochs.
    state : tuple of str
        The tensors that it keeps, one element for each parameter, zero at the start.
    constants : mapping of str to float
        Numbers put in for names in the equations.
    """

    name: str
    equations: tuple[str, ...]
    learning_rate: float
    state: tuple[str, ...] = ()
    constants: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isinstance(self.learning_rate, (int, float)) and 0 <= self.learning_rate < math.inf):
            raise TrainingError(f"A learning rate must be a number that is not negative, not {self.learning_rate!r}.")

    def __str__(self) -> str:
        numbers = ", ".join(f"{name}={value:g}" for name, value in self.constants.items() if "_" not in name)
        return f"{self.name}(learning_rate={self.learning_rate:g}{', ' + numbers if numbers else ''})"


@named_options(TrainingError)
def SGD(learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    """Gradient descent; with ``momentum``, that of Polyak (1964) or Nesterov in the form of Sutskever et al. (2013)."""
    if momentum:
        return Momentum(learning_rate, momentum, nesterov)
    return Optimizer("SGD", ("p[k] = p[k] - learning_rate*g[k]",), learning_rate)


@named_options(TrainingError)
def Momentum(learning_rate: float = 0.01, momentum: float = 0.9, nesterov: bool = False) -> Optimizer:
    """Gradient descent with momentum (Polyak 1964), as PyTorch writes it."""
    direction = "g[k] + momentum*u[k]" if nesterov else "u[k]"
    equations = ("u[k] = momentum*u[k] + g[k]", f"p[k] = p[k] - learning_rate*({direction})")
    numbers = {"momentum": _fraction("momentum", momentum)}
    return Optimizer("Nesterov" if nesterov else "Momentum", equations, learning_rate, ("u",), numbers)


@named_options(TrainingError)
def Adam(
    learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.0
) -> Optimizer:
    """Adam (Kingma and Ba 2015, algorithm 1); with ``weight_decay``, AdamW (Loshchilov and Hutter 2019)."""
    if weight_decay:
        return AdamW(learning_rate, beta1, beta2, epsilon, weight_decay)
    return Optimizer("Adam", _adam(""), learning_rate, ("m", "v"), _adam_numbers(beta1, beta2, epsilon))


@named_options(TrainingError)
def AdamW(
    learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.01
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2)."""
    numbers = {**_adam_numbers(beta1, beta2, epsilon), "decay": _positive("weight_decay", weight_decay)}
    return Optimizer("AdamW", _adam(" - learning_rate*decay*p[k]"), learning_rate, ("m", "v"), numbers)


@named_options(TrainingError)
def RMSprop(learning_rate: float = 1e-2, rho: float = 0.99, epsilon: float = 1e-8) -> Optimizer:
    """RMSprop (Tieleman and Hinton 2012), as PyTorch writes it."""
    equations = (
        "v[k] = rho*v[k] + rest_rho*g[k]**2",
        "p[k] = p[k] - learning_rate*g[k]/(sqrt(v[k]) + epsilon)",
    )
    numbers = {"rho": _fraction("rho", rho), "rest_rho": 1 - rho, "epsilon": _positive("epsilon", epsilon)}
    return Optimizer("RMSprop", equations, learning_rate, ("v",), numbers)


@named_options(TrainingError)
def Adagrad(learning_rate: float = 1e-2, epsilon: float = 1e-10) -> Optimizer:
    """Adagrad (Duchi et al. 2011, eq. 1)."""
    equations = ("v[k] = v[k] + g[k]**2", "p[k] = p[k] - learning_rate*g[k]/(sqrt(v[k]) + epsilon)")
    return Optimizer("Adagrad", equations, learning_rate, ("v",), {"epsilon": _positive("epsilon", epsilon)})


OPTIMIZERS = {
    "sgd": SGD,
    "momentum": Momentum,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
}
"""The optimizers by the names that spec files use."""


def optimizer_named(name: str, **options: float) -> Optimizer:
    """Give the optimizer of a name.

    Raises
    ------
    TrainingError
        If there is no such optimizer, or it has no such option.
    """
    make = OPTIMIZERS.get(name.lower())
    if make is None:
        guess = nearest(name, OPTIMIZERS)
        raise TrainingError(
            f"There is no optimizer '{name}'.", hint=guess or f"There are {', '.join(OPTIMIZERS)}."
        )
    optimizer: Optimizer = make(**options)  # type: ignore[operator]
    return optimizer


# 1 - beta**t in float32 would lose what beta = 0.999 has to say: the logarithm is taken beforehand, in float64.
def _adam(decay: str) -> tuple[str, ...]:
    return (
        "m[k] = beta1*m[k] + rest_beta1*g[k]",
        "v[k] = beta2*v[k] + rest_beta2*g[k]**2",
        "r = -learning_rate/expm1((step + 1)*log_beta1)",
        "s = -expm1((step + 1)*log_beta2)",
        f"p[k] = p[k]{decay} - r*m[k]/(sqrt(v[k]/s) + epsilon)",
    )


def _adam_numbers(beta1: float, beta2: float, epsilon: float) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        numbers |= {name: _fraction(name, beta), f"rest_{name}": 1 - beta, f"log_{name}": math.log(beta)}
    return {**numbers, "epsilon": _positive("epsilon", epsilon)}


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise TrainingError(f"{name} must be a number that is not negative, and is {value!r}.")
    return float(value)


def _fraction(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise TrainingError(f"{name} must lie between 0 and 1, and is {value!r}.")
    return float(value)


def optimizer_program(optimizer: Optimizer, size: int) -> Program:
    """Freeze an optimizer's equations into a program over flat vectors of `size` elements.

    Its tensors: the parameter ``p`` (changed in place), its gradient ``g``, the states, and scalars. The numbers known at
    run time are ``seed`` nodes: ``learning_rate`` and ``step``.
    """
    numbers = {*SEEDS, "step", *optimizer.constants}
    vectors = ("p", "g", *optimizer.state)
    equations = [parse_equation(text) for text in optimizer.equations]
    scalars = [e.lhs.tensor for e in equations if not e.lhs.subscripts]
    names = {name: Name((size,)) for name in vectors} | {name: Name(()) for name in (*scalars, *numbers)}
    scope = Scope(names, {_INDEX: size})
    statements = [
        Statement(
            s.target,
            s.subscripts,
            s.axes,
            rebuild(s.body, lambda e: _number(e, optimizer.constants)),
            origin=Origin(optimizer.name, text, "update"),
        )
        for text, s in zip(optimizer.equations, freeze_equations(equations, scope), strict=True)
    ]
    tensors = [
        Tensor("p", (size,), "parameter"),
        Tensor("g", (size,), "gradient", of="p"),
        *(Tensor(name, (size,), "state") for name in optimizer.state),
        *(Tensor(name, ()) for name in scalars),
    ]
    return Program(optimizer.name, {t.name: t for t in tensors}, tuple(statements), ("p",))


def _number(e: Expr, constants: Mapping[str, float]) -> Expr | None:
    if e.op != "load" or e.args:
        return None
    name = e.value[0]
    if name in constants:
        return const(constants[name])
    return node("seed", (), name) if name in (*SEEDS, "step") else None
