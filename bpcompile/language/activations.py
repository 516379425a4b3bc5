"""Activations: one formula each, in one symbol.

A formula is in ``z``, element by element. One that looks at the whole last axis writes ``z[i]`` for the element and ``z[j]``
under a reduction for the rest, as softmax does. The formulas are the textbooks'; the compiler makes them stable.

Some have options: ``leaky_relu(negative_slope=0.2)``, as text or as ``{"name": "leaky_relu", "negative_slope": 0.2}``.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, runtime_checkable

import sympy

from bpcompile.errors import LanguageError, nearest
from bpcompile.language.admit import admit
from bpcompile.language.equation import accesses, free_indices, index_names
from bpcompile.language.parser import parse_expression
from bpcompile.language.rewrite import rewrite
from bpcompile.language.symbols import Access, Index

__all__ = ["ACTIVATIONS", "OPTIONS", "HasFormula", "activate", "default_initializer", "is_identity", "with_options"]

#: Formula of each activation by name. Sources: relu6, hard_sigmoid, hard_swish: Howard et al. 2019; elu: Clevert et al. 2015;
#: selu: Klambauer et al. 2017; celu: Barron 2017; gelu: Hendrycks and Gimpel 2016; swish: Ramachandran et al. 2017;
#: mish: Misra 2019; hard_silu is hard_swish under PyTorch's and Keras's other name.
ACTIVATIONS: dict[str, str] = {
    "identity": "z",
    "linear": "z",
    "relu": "relu(z)",
    "leaky_relu": "where(z > 0, z, 0.01*z)",
    "elu": "where(z > 0, z, expm1(z))",
    "selu": "1.0507009873554805*where(z > 0, z, 1.6732632423543772*expm1(z))",
    "celu": "where(z > 0, z, expm1(z))",
    "gelu": "z*erfc(-z/sqrt(2))/2",
    "gelu_tanh": "z*(1 + tanh(sqrt(2/pi)*(z + 0.044715*z**3)))/2",
    "silu": "z/(1 + exp(-z))",
    "swish": "z/(1 + exp(-z))",
    "mish": "z*tanh(log(1 + exp(z)))",
    "softplus": "log(1 + exp(z))",
    "softsign": "z/(1 + abs(z))",
    "sigmoid": "1/(1 + exp(-z))",
    "log_sigmoid": "-log(1 + exp(-z))",
    "hard_sigmoid": "where(z <= -3, 0, where(z >= 3, 1, (z + 3)/6))",
    "hard_swish": "where(z <= -3, 0, where(z >= 3, z, z*(z + 3)/6))",
    "tanh": "tanh(z)",
    "hard_silu": "where(z <= -3, 0, where(z >= 3, z, z*(z + 3)/6))",
    "hard_tanh": "where(z <= -1, -1, where(z >= 1, 1, z))",
    "relu6": "where(z <= 0, 0, where(z >= 6, 6, z))",
    "threshold": "where(z <= 0, 0, z)",
    "hard_shrink": "where(abs(z) <= 0.5, 0, z)",
    "soft_shrink": "sign(z)*relu(abs(z) - 0.5)",
    "sparse_plus": "where(z <= -1, 0, where(z >= 1, z, (z + 1)**2/4))",
    "sparse_sigmoid": "where(z <= -1, 0, where(z >= 1, 1, (z + 1)/2))",
    "gaussian": "exp(-z**2)",
    "exponential": "exp(z)",
    "softmax": "exp(z[i])/sum(exp(z[j]), j)",
    "log_softmax": "z[i] - log(sum(exp(z[j]), j))",
    "softmin": "exp(-z[i])/sum(exp(-z[j]), j)",
}


def _relu(negative_slope: float = 0.0, max_value: float = math.inf, threshold: float = 0.0) -> str:
    below = f"{negative_slope}*(z - {threshold})" if negative_slope else "0"
    above = "z" if math.isinf(max_value) else f"where(z >= {max_value}, {max_value}, z)"
    return f"where(z > {threshold}, {above}, {below})"


#: The formula of an activation whose options are told; names and defaults are Keras's, or where it has none PyTorch's.
#: Without options, the formula is that of `ACTIVATIONS`.
OPTIONS: dict[str, Callable[..., str]] = {
    "relu": _relu,
    "leaky_relu": lambda negative_slope=0.01: f"where(z > 0, z, {negative_slope}*z)",
    "elu": lambda alpha=1.0: f"where(z > 0, z, {alpha}*expm1(z))",
    "celu": lambda alpha=1.0: f"where(z > 0, z, {alpha}*expm1(z/{alpha}))",
    "gelu": lambda approximate=False: ACTIVATIONS["gelu_tanh" if approximate else "gelu"],
    "silu": lambda beta=1.0: f"z/(1 + exp(-{beta}*z))",
    "swish": lambda beta=1.0: f"z/(1 + exp(-{beta}*z))",
    "softplus": lambda beta=1.0: f"log(1 + exp({beta}*z))/{beta}",
    "hard_tanh": lambda min_val=-1.0, max_val=1.0: f"where(z <= {min_val}, {min_val}, where(z >= {max_val}, {max_val}, z))",
    "threshold": lambda threshold=0.0, default_value=0.0: f"where(z <= {threshold}, {default_value}, z)",
    "hard_shrink": lambda threshold=0.5: f"where(abs(z) <= {threshold}, 0, z)",
    "soft_shrink": lambda threshold=0.5: f"sign(z)*relu(abs(z) - {threshold})",
    "softmax": lambda temperature=1.0: f"exp(z[i]/{temperature})/sum(exp(z[j]/{temperature}), j)",
    "log_softmax": lambda temperature=1.0: f"z[i]/{temperature} - log(sum(exp(z[j]/{temperature}), j))",
}

#: Other names of options.
_ALSO = {"leaky_relu": {"alpha": "negative_slope"}}

#: Options that are a divisor.
_NOT_ZERO = {"celu": ("alpha",), "softplus": ("beta",), "softmax": ("temperature",), "log_softmax": ("temperature",)}

_HE = ("relu", "leaky_relu", "elu", "celu", "gelu", "gelu_tanh", "silu", "swish", "mish", "hard_swish", "relu6")


@runtime_checkable
class HasFormula(Protocol):
    """A layer that is an activation; it may stand where one is asked for, as in ``Dense(3, activation=LeakyReLU(0.2))``."""

    @property
    def formula(self) -> object:
        """The activation."""


def default_initializer(activation: object) -> str:
    """Return the name of the initializer that suits a weight in front of an activation."""
    name, _ = _named(activation)
    if name in _HE:
        return "he_uniform"
    return "lecun_normal" if name == "selu" else "glorot_uniform"


def with_options(activation: object, options: Mapping[str, Any]) -> object:
    """Return a named activation with its options, as every place that takes an activation understands it.

    Raises
    ------
    LanguageError
        If what is given with options is no name.
    """
    if not options:
        return activation
    name, given = _named(activation)
    if not name:
        raise LanguageError(
            f"Options ({', '.join(options)}) go with an activation's name, not with {activation!r}.",
            hint="Write the numbers into the formula.",
        )
    return {"name": name, **given, **options}


def _named(activation: object) -> tuple[str, dict[str, Any]]:
    """The name and the options of an activation; the name is empty where it is a formula."""
    if isinstance(activation, HasFormula):
        activation = activation.formula
    if isinstance(activation, Mapping):
        table = dict(activation)
        name = table.pop("name", None)
        if not isinstance(name, str):
            raise LanguageError(
                f"{activation!r} is no activation.", hint='Write {"name": "leaky_relu", "negative_slope": 0.2}, for example.'
            )
        return name.strip(), table
    if not isinstance(activation, str):
        return "", {}
    text = activation.strip()
    if text.isidentifier():
        return text, {}
    name, parenthesis, _ = text.partition("(")
    if parenthesis and name.strip() in {*ACTIVATIONS, *OPTIONS}:
        return _called(text)
    return "", {}


def _called(text: str) -> tuple[str, dict[str, Any]]:
    """``leaky_relu(negative_slope=0.2)``; anything else, such as ``relu(z)``, is a formula."""
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "", {}
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        return "", {}
    options: dict[str, Any] = {}
    for keyword in call.keywords:
        try:
            options[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except ValueError:
            raise LanguageError(f"In '{text}', '{keyword.arg}' is no number.") from None
    return call.func.id, options


def _formula_with(name: str, given: Mapping[str, Any]) -> str:
    """The formula of a named activation with options."""
    if name not in OPTIONS:
        raise LanguageError(f"The activation '{name}' has no options, and {', '.join(given)} came.")
    known = {p.name: p.default for p in inspect.signature(OPTIONS[name]).parameters.values()}
    also = _ALSO.get(name, {})
    options: dict[str, Any] = {}
    for key, value in given.items():
        own = also.get(key, key)
        if own not in known:
            guess = nearest(str(key), [*known, *also])
            hint = guess or f"There are {', '.join(known)}."
            raise LanguageError(f"The activation '{name}' has no option '{key}'.", hint=hint)
        options[own] = _option(name, key, value, known[own])
    if all(known[key] == value for key, value in options.items()) and name in ACTIVATIONS:
        return ACTIVATIONS[name]
    return OPTIONS[name](**options)


def _option(name: str, key: str, value: object, default: object) -> object:
    expected = "True or False" if isinstance(default, bool) else "a number"
    fits = isinstance(value, bool) == isinstance(default, bool) and isinstance(value, (int, float))
    if isinstance(value, float) and not math.isfinite(value) and value != default:
        fits = False
    if fits and value == 0 and key in _NOT_ZERO.get(name, ()):
        fits, expected = False, "a number other than 0"
    if not fits:
        raise LanguageError(f"'{key}' of the activation '{name}' is {value!r}; {expected} was expected.")
    return value


def is_identity(activation: object) -> bool:
    """Whether the activation leaves everything as it is."""
    return activation is None or (isinstance(activation, str) and activation in ("", "identity", "linear"))


def activate(activation: object, element: Access, taken: Collection[str] = (), axis: int = -1) -> sympy.Expr:
    """Return the formula of an activation, applied to an element.

    Parameters
    ----------
    activation : str, sympy.Expr or callable
        A name in `ACTIVATIONS`, with options as in ``"elu(alpha=0.5)"`` or ``{"name": "elu", "alpha": 0.5}``; a formula in
        one symbol, as text or as a SymPy expression; or a function that takes a SymPy symbol and returns one.
    element : Access
        What to apply it to, such as ``z[n, j]``.
    taken : collection of str
        Names that indices of the formula must not have.
    axis : int
        The axis along which formulas with ``z[i]`` and ``z[j]`` go.

    Raises
    ------
    LanguageError
        If there is no such activation, or the formula is not in one symbol.

    Examples
    --------
    >>> activate("softmax", Access("z", Index("n"), Index("j")), ("n", "j"))
    exp(z[n,j])/sum(exp(z[n,k]), k)
    """
    formula, title = _formula(activation)
    found = accesses(formula)
    symbols = dict.fromkeys(a.tensor for a in found)
    if len(symbols) > 1:
        raise LanguageError(
            f"Activation {title} is in {len(symbols)} symbols ({', '.join(symbols)}) instead of one.",
            hint="Write numbers for its constants; a layer of its own can have trained ones.",
        )
    if all(not a.subscripts for a in found):
        return rewrite(formula, lambda node: element if isinstance(node, Access) else None)
    return _along_axis(formula, element, taken, axis, title)


def _along_axis(formula: Any, element: Access, taken: Collection[str], axis: int, title: str) -> sympy.Expr:
    free = free_indices(formula)
    fits = all(len(a.subscripts) == 1 and isinstance(a.subscripts[0], Index) for a in accesses(formula))
    if len(free) != 1 or not fits or not element.subscripts:
        raise LanguageError(
            f"Activation {title} does not fit.",
            hint="Write z for the element, or z[i] for the element and z[j] under a reduction along the last axis.",
        )
    place = range(len(element.subscripts))[axis]
    last = element.subscripts[place]
    used = {*taken, *index_names(element)}
    names: dict[str, Any] = {free[0]: last}
    for name in index_names(formula):
        if name not in names:
            names[name] = Index(_fresh(name, used))
            used.add(names[name].name)

    def change(node: Any) -> Any | None:
        if isinstance(node, Access):
            others = element.subscripts[:place], element.subscripts[place + 1 :]
            return Access(element.tensor, *others[0], names[node.subscripts[0].name], *others[1])
        return names[node.name] if isinstance(node, Index) else None

    return rewrite(formula, change)


def _fresh(name: str, used: Collection[str]) -> str:
    candidates: list[str] = [name, *"kmpqrsuv", *(f"{name}{k}" for k in range(2, 100))]
    return next(candidate for candidate in candidates if candidate not in used)


def _formula(activation: object) -> tuple[Any, str]:
    """The formula over a tensor, and how messages call it."""
    name, options = _named(activation)
    if name:
        if name not in ACTIVATIONS and name not in OPTIONS and (len(name) > 1 or options):
            guess = nearest(name, [*ACTIVATIONS, *OPTIONS])
            raise LanguageError(
                f"There is no activation '{name}'.",
                hint=guess
                or f"There are {', '.join(ACTIVATIONS)}, and any formula in z, such as 'z*tanh(z)'.",
            )
        return parse_expression(_formula_with(name, options) if options else ACTIVATIONS.get(name, name)), f"'{name}'"
    if isinstance(activation, HasFormula):
        activation = activation.formula
    if isinstance(activation, str):
        return parse_expression(activation.strip()), f"'{activation.strip()}'"
    symbol = sympy.Symbol("z", real=True)
    if not isinstance(activation, sympy.Basic) and callable(activation):
        try:
            activation = activation(symbol)
        except Exception as error:
            raise LanguageError(
                f"The activation function {activation!r} fails on a SymPy symbol: {error}",
                hint="Build it from SymPy's functions, or give the formula as text.",
            ) from None
    if not isinstance(activation, sympy.Expr):
        raise LanguageError(
            f"{activation!r} is no activation.",
            hint="Give a name such as 'relu', a formula in z as text or SymPy expression, or a function of a symbol.",
        )
    symbols = {s for s in activation.free_symbols if not isinstance(s, Index)}
    replaced = rewrite(activation, lambda node: Access(node.name) if node in symbols else None)
    return admit(replaced), f"'{activation}'"
