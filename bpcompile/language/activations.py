"""Activations: one formula each, in one symbol.

A formula is in ``z``, element by element. One that looks at the whole last axis writes ``z[i]`` for the element and ``z[j]``
under a reduction for the rest, as softmax does. The formulas are the textbooks'; the compiler makes them stable.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sympy

from bpcompile.errors import LanguageError, nearest
from bpcompile.language.admit import admit
from bpcompile.language.equation import accesses, free_indices, index_names
from bpcompile.language.parser import parse_expression
from bpcompile.language.rewrite import rewrite
from bpcompile.language.symbols import Access, Index

__all__ = ["ACTIVATIONS", "activate", "default_initializer", "is_identity"]

#: Formula of each activation by name. Sources: relu6, hard_sigmoid, hard_swish: Howard et al. 2019; elu: Clevert et al. 2015;
#: selu: Klambauer et al. 2017; celu: Barron 2017; gelu: Hendrycks and Gimpel 2016; swish: Ramachandran et al. 2017;
#: mish: Misra 2019.
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
    "hard_tanh": "where(z <= -1, -1, where(z >= 1, 1, z))",
    "relu6": "where(z <= 0, 0, where(z >= 6, 6, z))",
    "exponential": "exp(z)",
    "softmax": "exp(z[i])/sum(exp(z[j]), j)",
    "log_softmax": "z[i] - log(sum(exp(z[j]), j))",
}

_HE = ("relu", "leaky_relu", "elu", "celu", "gelu", "gelu_tanh", "silu", "swish", "mish", "hard_swish", "relu6")


def default_initializer(activation: object) -> str:
    """Return the name of the initializer that suits a weight in front of an activation."""
    if activation in _HE:
        return "he_uniform"
    return "lecun_normal" if activation == "selu" else "glorot_uniform"


def is_identity(activation: object) -> bool:
    """Whether the activation leaves everything as it is."""
    return activation is None or activation in ("", "identity", "linear")


def activate(activation: object, element: Access, taken: Collection[str] = ()) -> sympy.Expr:
    """Return the formula of an activation, applied to an element.

    Parameters
    ----------
    activation : str, sympy.Expr or callable
        A name in `ACTIVATIONS`; a formula in one symbol, as text or as a SymPy expression; or a function that takes a SymPy
        symbol and returns one.
    element : Access
        What to apply it to, such as ``z[n, j]``.
    taken : collection of str
        Names that indices of the formula must not have.

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
    return _along_last_axis(formula, element, taken, title)


def _along_last_axis(formula: Any, element: Access, taken: Collection[str], title: str) -> sympy.Expr:
    free = free_indices(formula)
    fits = all(len(a.subscripts) == 1 and isinstance(a.subscripts[0], Index) for a in accesses(formula))
    if len(free) != 1 or not fits or not element.subscripts:
        raise LanguageError(
            f"Activation {title} does not fit.",
            hint="Write z for the element, or z[i] for the element and z[j] under a reduction along the last axis.",
        )
    last = element.subscripts[-1]
    used = {*taken, *index_names(element)}
    names: dict[str, Any] = {free[0]: last}
    for name in index_names(formula):
        if name not in names:
            names[name] = Index(_fresh(name, used))
            used.add(names[name].name)

    def change(node: Any) -> Any | None:
        if isinstance(node, Access):
            return Access(element.tensor, *element.subscripts[:-1], names[node.subscripts[0].name])
        return names[node.name] if isinstance(node, Index) else None

    return rewrite(formula, change)


def _fresh(name: str, used: Collection[str]) -> str:
    candidates: list[str] = [name, *"kmpqrsuv", *(f"{name}{k}" for k in range(2, 100))]
    return next(candidate for candidate in candidates if candidate not in used)


def _formula(activation: object) -> tuple[Any, str]:
    """The formula over a tensor, and how messages call it."""
    if isinstance(activation, str):
        text = activation.strip()
        formula = ACTIVATIONS.get(text, text)
        if formula is text and text.isidentifier() and len(text) > 1:
            guess = nearest(text, ACTIVATIONS)
            raise LanguageError(
                f"There is no activation '{text}'.",
                hint=guess[:1].upper() + guess[1:]
                or f"There are {', '.join(ACTIVATIONS)}, and any formula in z, such as 'z*tanh(z)'.",
            )
        return parse_expression(formula), f"'{text}'"
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
