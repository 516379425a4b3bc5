"""Formulas with reductions over the whole range: softmaxes, norms, variances, log-sum-exps, on axes of a few elements.

Elements are drawn alike, of both signs, and with one that dwarfs the rest, at each magnitude. What is looked for is a result
that overflows or is NaN although the exact one is an ordinary number; digits that a sum of both signs cancels are its own.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import mpmath
import numpy as np
from numpy.typing import NDArray

from bpcompile.calculus.bounds import Interval
from bpcompile.calculus.gradient import analyze
from bpcompile.calculus.record import Rewriting
from bpcompile.driver import compile as compile_network
from bpcompile.errors import BPCompileWarning
from bpcompile.language.equation import Equation, accesses, free_indices, index_names
from bpcompile.language.layer import Layer
from bpcompile.language.network import Network
from bpcompile.language.rewrite import rewrite
from bpcompile.language.symbols import Access, Draw, Index, Reduction
from bpcompile.language.text import to_text
from bpcompile.language.value import Input
from bpcompile.nodes.expressions import Expr, children_first, loads
from bpcompile.stability_exact import Exact, Place, Unknown

Array = NDArray[Any]
Finding = tuple[str, Mapping[str, float], float, str, str]
"""The quantity, the elements, what was computed, the exact result, and the problem."""

_MAGNITUDES: Final = {
    "float32": (0.0, 1e-40, 1e-30, 1e-20, 1e-5, 1.0, 40.0, 89.0, 1e3, 1e10, 1e20, 1e30),
    "float64": (0.0, 1e-310, 1e-200, 1e-100, 1e-10, 1.0, 100.0, 710.0, 1e5, 1e50, 1e160, 1e250),
}
_PATTERNS: Final = ((1.0,), (-1.0,), (1.0, -0.5, 0.25), (1.0, 0.0, 0.0), (1.0, 1e-3, 1e-6))
_LINEAR: Final = frozenset({"add", "sub", "neg", "mul", "load", "axis", "const", "size", "reduce", "flag", "stop", "where",
                            "lt", "le", "eq", "ne", "and", "or", "not", "max", "min", "abs", "sign"})  # fmt: skip


@dataclass(frozen=True)
class Reducing:
    """A formula with reductions: as typed, as equations over short axes, its inputs with their shapes and intervals."""

    formula: str
    rhs: Any
    free: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    ranges: Mapping[str, Interval]


def reducing(formula: str, rhs: Any, interval: Callable[[str], Interval]) -> Reducing | None:
    """The formula over short axes; None if it has no reduction, draws, or reads at other than bare indices.

    Parameters
    ----------
    formula : str
        As it was typed.
    rhs : expression
        The right side of an equation.
    interval : callable
        The interval of a tensor, by its name in the equation.
    """
    if not rhs.atoms(Reduction) or rhs.atoms(Draw):
        return None
    # A label only says which element is read: the first one does as well.
    rhs = rewrite(rhs, lambda e: Access(e.tensor, *(0 if isinstance(s, Access) else s for s in e.subscripts))
                  if isinstance(e, Access) and any(isinstance(s, Access) for s in e.subscripts) else None)  # fmt: skip
    own = {name: Index("batch" if name == "n" else name) for name in index_names(rhs)}
    rhs = rewrite(rhs, lambda e: own[e.name] if isinstance(e, Index) else None)
    found = accesses(rhs)
    bare = all(isinstance(s, Index) or s == 0 for a in found for s in a.subscripts)
    ranks = {(a.tensor, len(a.subscripts)) for a in found}
    names = list(dict.fromkeys(a.tensor for a in found))
    if not bare or len(ranks) != len(names) or len(names) > 3:
        return None
    extent = 3 if max(len(a.subscripts) for a in found) < 3 else 2
    shapes = {a.tensor: (extent,) * len(a.subscripts) for a in found}
    within = rewrite(rhs, lambda e: Access(e.tensor, Index("n"), *e.subscripts) if isinstance(e, Access) else None)
    ranges = {name: interval(name) for name in names}
    return Reducing(formula, within, tuple(n for n in free_indices(within) if n != "n"), shapes, ranges)


def findings(subject: Reducing, dtype: str, backend: str) -> tuple[list[Finding], list[Rewriting], int]:
    """What is wrong with the formula, the stable forms that were applied, and how many inputs were tried."""
    left = Access("f_", Index("n"), *map(Index, subject.free))
    first = Access("f_", Index("n"), *(0 for _ in subject.free))
    equations = [Equation(left, subject.rhs), Equation(Access("l_", Index("n")), first)]
    layer = Layer(equations, inputs=tuple(subject.shapes), output=("l_", "f_"), name="formula")
    made = layer(*(Input(name, shape) for name, shape in subject.shapes.items()))
    assert isinstance(made, tuple)
    network = Network(None, loss=made[0])
    record = analyze(network).record
    if all(_is_linear(s.body) for s in record.forward):
        return [], [], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BPCompileWarning)
        model = compile_network(network, backend=backend, dtype=dtype, wrt=tuple(subject.shapes))
    exact = Exact(record.forward)
    tried = list(_points(subject, dtype))
    wrong: list[Finding] = []
    for point in tried:
        data: dict[str, Any] = {name: x[None] for name, x in point.items()}
        value, grads = model.value_and_grad(model.init(), **data)
        given: dict[Place, float] = {(name, (0, *at)): float(v) for name, x in point.items() for at, v in np.ndenumerate(x)}
        shown = {f"{p[0]}[{','.join(map(str, p[1][1:]))}]" if p[1][1:] else p[0]: v for p, v in given.items()}
        for by in _some(given):
            try:
                true = exact.dual(("formula.l_", (0,)), given, by)
            except Unknown:
                continue
            slope = float(np.asarray(grads[by[0]])[by[1]])
            name = f"df/d{by[0]}{[*by[1][1:]] if by[1][1:] else ''}"
            for quantity, got, expected in (("f", value, true.value), (name, slope, true.slope)):
                problem = _problem(got, expected, dtype)
                if problem:
                    wrong.append((quantity, shown, got, mpmath.nstr(expected, 7), problem))
    return list({(w[0], *w[1].items()): w for w in wrong}.values()), _rewritings(record.steps), len(tried)


def _rewritings(steps: Any) -> list[Rewriting]:
    return [s for s in steps if isinstance(s, Rewriting)]


def _is_linear(body: Expr) -> bool:
    """True if nothing but sums, products and selections stands in an expression: what overflows there does so exactly."""
    below = children_first(body)
    return all(e.op in _LINEAR or (e.op == "div" and not loads(e.args[1])) for e in below)


def _points(subject: Reducing, dtype: str) -> Iterator[dict[str, Array]]:
    """All tensors at one magnitude, then each of them while the others are moderate."""
    names = list(subject.shapes)
    magnitudes = _MAGNITUDES[dtype]
    alike = [dict.fromkeys(names, m) for m in magnitudes]
    alone = [{k: m if k == name else 0.7 for k in names} for name in names for m in magnitudes] if len(names) > 1 else []
    for sizes, pattern in [*itertools.product(alike, _PATTERNS), *itertools.product(alone, _PATTERNS[2:4])]:
        yield {name: _tensor(subject, name, size, pattern, dtype) for name, size in sizes.items()}


def _tensor(subject: Reducing, name: str, size: float, pattern: tuple[float, ...], dtype: str) -> Array:
    shape = subject.shapes[name]
    values = size * np.resize(np.array(pattern), math.prod(shape)).reshape(shape)
    low, high = subject.ranges[name]
    inside: Array = np.clip(np.where(values < low, -values, values), low, high).astype(dtype)
    return inside


def _some(given: Mapping[Place, float]) -> list[Place]:
    """The first and the last element of each tensor."""
    names = dict.fromkeys(name for name, _ in given)
    ends = [[p for p in given if p[0] == name] for name in names]
    return list(dict.fromkeys(p for places in ends for p in (places[0], places[-1])))


def _problem(got: float, true: Any, dtype: str) -> str:
    """Only what is infinite or NaN although the exact result is far from being so."""
    if not mpmath.isfinite(true) or abs(true) > float(np.finfo(dtype).max) / 4:
        return ""
    return "NaN" if math.isnan(got) else "overflow" if math.isinf(got) else ""


def shown_formula(equation: Equation) -> str:
    """The right side of an equation as its user typed it."""
    return equation.text.partition("=")[2].strip() if "=" in equation.text else to_text(equation.rhs)
