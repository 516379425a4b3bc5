"""The scalar functions of the language, one row each, and the Python functions that build expressions.

A row is a name in the text and a SymPy class. SymPy's own class stands wherever SymPy has one; the rest are functions of ours
that never evaluate.
"""

# ruff: noqa: A001, N801 -- these are the names of the mathematics, and are met as bp.sum or as exp(x)

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import sympy

from bpcompile.errors import LanguageError
from bpcompile.language.symbols import (
    Draw,
    Index,
    Maximum,
    Minimum,
    Reduction,
    SizeOf,
    StopGradient,
    Where,
    to_expression,
)

__all__ = ["FUNCTIONS", "FUNCTION_NAMES", "ScalarFunction", "argmax", "argmin", "bernoulli", "exact_call", "max", "mean",
           "min", "normal", "size", "stop_gradient", "sum", "where"]  # fmt: skip


class _Real(sympy.Function):  # type: ignore[misc]
    """A real function that never evaluates itself."""

    is_extended_real = True

    @classmethod
    def eval(cls, *_args: Any) -> None:
        return None


class sigmoid(_Real):
    """``1 / (1 + exp(-x))``."""


class softplus(_Real):
    """``log(1 + exp(x))``."""


class relu(_Real):
    """``max(x, 0)``."""


class expm1(_Real):
    """``exp(x) - 1``."""


class log1p(_Real):
    """``log(1 + x)``."""


class log2(_Real):
    """The logarithm to base 2."""


class log10(_Real):
    """The logarithm to base 10."""


class round_(_Real):
    """The nearest integer; halves go to the even one."""


class digamma(_Real):
    """The derivative of the logarithm of the gamma function."""


class trigamma(_Real):
    """The derivative of digamma."""


@dataclass(frozen=True)
class ScalarFunction:
    """One row of the table: the name in the text, the SymPy class, the number of arguments."""

    name: str
    cls: Any
    arity: int = 1


#: Every scalar function of the language by its name in the text.
FUNCTIONS: dict[str, ScalarFunction] = {
    row.name: row
    for row in (
        ScalarFunction("exp", sympy.exp),
        ScalarFunction("log", sympy.log),
        ScalarFunction("expm1", expm1),
        ScalarFunction("log1p", log1p),
        ScalarFunction("log2", log2),
        ScalarFunction("log10", log10),
        ScalarFunction("sin", sympy.sin),
        ScalarFunction("cos", sympy.cos),
        ScalarFunction("tan", sympy.tan),
        ScalarFunction("asin", sympy.asin),
        ScalarFunction("acos", sympy.acos),
        ScalarFunction("atan", sympy.atan),
        ScalarFunction("atan2", sympy.atan2, 2),
        ScalarFunction("sinh", sympy.sinh),
        ScalarFunction("cosh", sympy.cosh),
        ScalarFunction("tanh", sympy.tanh),
        ScalarFunction("asinh", sympy.asinh),
        ScalarFunction("acosh", sympy.acosh),
        ScalarFunction("atanh", sympy.atanh),
        ScalarFunction("erf", sympy.erf),
        ScalarFunction("erfc", sympy.erfc),
        ScalarFunction("abs", sympy.Abs),
        ScalarFunction("sign", sympy.sign),
        ScalarFunction("floor", sympy.floor),
        ScalarFunction("ceil", sympy.ceiling),
        ScalarFunction("round", round_),
        ScalarFunction("gamma", sympy.gamma),
        ScalarFunction("lgamma", sympy.loggamma),
        ScalarFunction("digamma", digamma),
        ScalarFunction("trigamma", trigamma),
        ScalarFunction("sigmoid", sigmoid),
        ScalarFunction("softplus", softplus),
        ScalarFunction("relu", relu),
    )
}

#: The name in the text of each SymPy class in the table.
FUNCTION_NAMES: dict[Any, str] = {row.cls: row.name for row in FUNCTIONS.values()}


def exact_call(name: str, *arguments: sympy.Expr) -> sympy.Expr:
    """Return the function `name` of `arguments` without letting SymPy evaluate it.

    Examples
    --------
    >>> from sympy import Integer
    >>> exact_call("exp", Integer(0))
    exp(0)
    """
    return FUNCTIONS[name].cls(*arguments, evaluate=False)


def _reduction(kind: str, body: object, indices: tuple[Any, ...]) -> sympy.Expr:
    return Reduction(kind, to_expression(body, f"the first argument of '{kind}'"), indices)


def sum(body: object, *indices: Index) -> sympy.Expr:
    """The sum of `body` over one or several indices."""
    return _reduction("sum", body, indices)


def mean(body: object, *indices: Index) -> sympy.Expr:
    """The mean of `body` over one or several indices."""
    return _reduction("mean", body, indices)


def max(body: object, *rest: object) -> sympy.Expr:
    """The maximum of `body` over indices, or of several expressions element by element.

    ``max(x[n, i], i)`` runs over `i` if every argument after the first is an index. To compare with the value of an index,
    put the index first: ``max(i, x[n])``.
    """
    return _extremum("max", Maximum, body, rest)


def min(body: object, *rest: object) -> sympy.Expr:
    """The minimum of `body` over indices, or of several expressions element by element; see `max`."""
    return _extremum("min", Minimum, body, rest)


def _extremum(kind: str, pairwise: Any, body: object, rest: tuple[object, ...]) -> sympy.Expr:
    if not rest:
        raise LanguageError(f"'{kind}' needs an index to run over, or a second expression.")
    if all(isinstance(argument, Index) for argument in rest):
        return _reduction(kind, body, rest)
    result = to_expression(body)
    for argument in rest:
        result = pairwise(result, argument)
    return result


def argmax(body: object, index: Index) -> sympy.Expr:
    """The place, along `index`, of the first greatest element: an integer."""
    return _reduction("argmax", body, (index,))


def argmin(body: object, index: Index) -> sympy.Expr:
    """The place, along `index`, of the first smallest element: an integer."""
    return _reduction("argmin", body, (index,))


def where(condition: object, a: object, b: object) -> sympy.Expr:
    """`a` where the condition holds, `b` elsewhere; the branch not taken gives neither value nor gradient."""
    return Where(condition, a, b)


def stop_gradient(x: object) -> sympy.Expr:
    """The value of `x`, through which no gradient flows."""
    return StopGradient(x)


def size(index: Index) -> sympy.Expr:
    """The extent of an index, as a number."""
    return SizeOf(index)


_calls = itertools.count()


def bernoulli(p: object) -> sympy.Expr:
    """1 with probability `p`, else 0, drawn anew for each element and step. Each call is a draw of its own."""
    return Draw("bernoulli", (p,), next(_calls))


def normal() -> sympy.Expr:
    """A normal number with mean 0 and variance 1, drawn anew for each element and step. Each call is a draw of its own."""
    return Draw("normal", (), next(_calls))
