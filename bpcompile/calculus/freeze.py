"""The boundary where SymPy ends: equations become statements over the compiler's own nodes.

What was typed is what stands in the nodes: sums and products keep their order and grouping, numbers are not folded. Three
things are settled here, because they are meaning and not optimization: names (local ones become global ones), reads that
leave their tensor (``outside=`` constants, the start of a recurrence), and random draws (each is a tensor of its own).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import sympy
from sympy.core.numbers import NumberSymbol
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanAtom

from bpcompile.errors import LanguageError
from bpcompile.language import symbols as language
from bpcompile.language.equation import Equation
from bpcompile.language.functions import FUNCTION_NAMES
from bpcompile.nodes.affine import interval, simplify_integer
from bpcompile.nodes.expressions import (
    Axis,
    Expr,
    Kind,
    axis,
    children_first,
    const,
    load,
    node,
    rebuild,
    reduce,
    size,
    substitute,
)
from bpcompile.nodes.guards import simplify_guards
from bpcompile.nodes.statements import Origin, Statement


@dataclass(frozen=True, slots=True)
class Name:
    """What the equations must know of a tensor of their layer."""

    shape: tuple[int | None, ...]
    kind: Kind = "real"
    outside: float | None = None
    intermediate: bool = False


@dataclass(frozen=True)
class Scope:
    """The names of one layer call, seen while its equations are frozen."""

    names: Mapping[str, Name]
    extents: Mapping[str, int | None]

    def axis(self, index: str) -> Axis:
        """The axis of an index of this call."""
        return Axis(index, self.extents[index])


def freeze_equations(equations: Iterable[Equation], scope: Scope) -> list[Statement]:
    """Statements of one layer, in the order of its equations and in its local names; reductions stand inside expressions.

    Parameters
    ----------
    equations : iterable of Equation
        The layer's equations, constants already put in.
    scope : Scope
        What the local names and indices stand for.

    Returns
    -------
    list of Statement
        One for each equation, each random draw and each start of a recurrence, before normal form.
    """
    statements: list[Statement] = []
    starts: dict[str, list[_Start]] = {}
    for number, equation in enumerate(equations):
        free = tuple(scope.axis(name) for name in equation.indices)
        freezer = _Freezer(scope, number, free)
        target = equation.lhs.tensor
        subscripts = tuple(freezer.expr(s) for s in equation.lhs.subscripts)
        body = freezer.expr(equation.rhs)
        origin = Origin(equation=str(equation))
        statements += [replace(d, origin=origin) for d in freezer.draws]
        if all(s.op == "axis" for s in subscripts):
            statements.append(Statement(target, subscripts, free, body, origin=origin))
            continue
        start = _start_of(target, subscripts, free, body, number)
        starts.setdefault(target, []).append(start)
        if start.own_tensor:
            left = tuple(axis(a) for a in free)
            statements.append(Statement(f"{target}.start{number}", left, free, body, origin=origin))
    return [_with_reads_settled(s, scope.names, starts) for s in statements]


def batch_first(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """The distinct axes in order, the batch before all others."""
    return tuple(sorted(dict.fromkeys(axes), key=lambda a: a.extent is not None))


# --- one equation -----------------------------------------------------------------------------------------------------


@dataclass
class _Freezer:
    """Turns the SymPy expressions of one equation into nodes."""

    scope: Scope
    number: int
    free: tuple[Axis, ...]
    draws: list[Statement] = field(default_factory=list)
    _bound: list[Axis] = field(default_factory=list)

    def expr(self, e: Any) -> Expr:
        """The node of a SymPy expression."""
        for kinds, convert in _CONVERSIONS:
            if isinstance(e, kinds):
                return convert(self, e)
        name = FUNCTION_NAMES.get(type(e))
        if name is None:
            raise LanguageError(f"'{e}' cannot be computed: '{type(e).__name__}' is no function of the language.")
        arguments = tuple(self.expr(a) for a in e.args)
        return node("max", (arguments[0], const(0))) if name == "relu" else node(name, arguments)

    def bound(self, e: language.Reduction) -> Expr:
        axes = [self.scope.axis(i.name) for i in e.indices]
        self._bound += axes
        body = self.expr(e.body)
        del self._bound[len(self._bound) - len(axes) :]
        return reduce(e.kind, axes, body)

    def access(self, e: language.Access) -> Expr:
        name = self.scope.names[e.tensor]
        return load(e.tensor, (simplify_integer(self.expr(s)) for s in e.subscripts), name.kind)

    def draw(self, e: language.Draw) -> Expr:
        """A tensor of its own, over every index in sight: the logical element is the row-major position there."""
        axes = batch_first((*self.free, *self._bound))
        element: Expr = const(0)
        for a in axes:
            element = axis(a) if element is const(0) else node("add", (node("mul", (element, size(a))), axis(a)))
        tensor = f"draw{self.number}_{e.occurrence}"
        subscripts = tuple(axis(a) for a in axes)
        body = node("draw", (*(self.expr(p) for p in e.parameters), element), (e.kind, tensor))
        if not any(d.target == tensor for d in self.draws):
            self.draws.append(Statement(tensor, subscripts, axes, body))
        return load(tensor, subscripts)


def _number(_f: _Freezer, e: Any) -> Expr:
    if e.is_Integer:
        return const(int(e))
    return const(float(e))


def _add(f: _Freezer, e: Any) -> Expr:
    total: Expr | None = None
    for term in e.args:
        negated = _without_minus(term)
        part = f.expr(term if negated is None else negated)
        if total is None:
            total = part if negated is None else node("neg", (part,))
        else:
            total = node("add" if negated is None else "sub", (total, part))
    return total if total is not None else const(0)


def _without_minus(term: Any) -> Any:
    """``x`` if the term is ``(-1)*x``, else None."""
    if term.is_Mul and len(term.args) >= 2 and term.args[0] == sympy.Integer(-1):
        rest = term.args[1:]
        return rest[0] if len(rest) == 1 else sympy.Mul(*rest, evaluate=False)
    return None


def _mul(f: _Freezer, e: Any) -> Expr:
    negated = _without_minus(e)
    if negated is not None:
        return node("neg", (f.expr(negated),))
    above: Expr | None = None
    below: Expr | None = None
    for factor in e.args:
        if factor.is_Pow and factor.args[1].is_Integer and factor.args[1].is_negative:
            part = _power(f, factor.args[0], -factor.args[1])
            below = part if below is None else node("mul", (below, part))
        else:
            part = f.expr(factor)
            above = part if above is None else node("mul", (above, part))
    if below is None:
        return above if above is not None else const(1)
    return node("div", (const(1) if above is None else above, below))


def _pow(f: _Freezer, e: Any) -> Expr:
    base, exponent = e.args
    if base == sympy.E:
        return node("exp", (f.expr(exponent),))
    if exponent.is_Number and exponent.is_negative:
        return node("div", (const(1), _power(f, base, -exponent)))
    return _power(f, base, exponent)


def _power(f: _Freezer, base: Any, exponent: Any) -> Expr:
    if exponent == 1:
        return f.expr(base)
    if exponent == sympy.Rational(1, 2):
        return node("sqrt", (f.expr(base),))
    return node("pow", (f.expr(base), f.expr(exponent)))


_RELATIONS: Final[dict[type, tuple[str, bool]]] = {
    sympy.StrictLessThan: ("lt", False), sympy.LessThan: ("le", False), sympy.StrictGreaterThan: ("lt", True),
    sympy.GreaterThan: ("le", True), sympy.Equality: ("eq", False), sympy.Unequality: ("ne", False),
}  # fmt: skip


def _relation(f: _Freezer, e: Any) -> Expr:
    op, swapped = _RELATIONS[type(e)]
    left, right = f.expr(e.args[0]), f.expr(e.args[1])
    return node(op, (right, left) if swapped else (left, right))


def _folded(op: str) -> Callable[[_Freezer, Any], Expr]:
    def convert(f: _Freezer, e: Any) -> Expr:
        total = f.expr(e.args[0])
        for a in e.args[1:]:
            total = node(op, (total, f.expr(a)))
        return total

    return convert


def _training(_f: _Freezer, _e: Any) -> Expr:
    return node("flag", (), "training")


# The first row whose class fits is taken: TRAINING and Index are symbols, Access and Where are expressions.
_CONVERSIONS: Final[tuple[tuple[Any, Callable[[_Freezer, Any], Expr]], ...]] = (
    (type(language.TRAINING), _training),
    (language.Index, lambda f, e: axis(f.scope.axis(e.name))),
    (language.Access, lambda f, e: f.access(e)),
    (language.Reduction, lambda f, e: f.bound(e)),
    (language.SizeOf, lambda f, e: size(f.scope.axis(e.index.name))),
    (language.Draw, lambda f, e: f.draw(e)),
    (language.Where, lambda f, e: node("where", tuple(f.expr(a) for a in e.args))),
    (language.StopGradient, lambda f, e: node("stop", (f.expr(e.args[0]),))),
    (language.FloorDivide, lambda f, e: node("floordiv", tuple(f.expr(a) for a in e.args))),
    (language.Modulo, lambda f, e: node("mod", tuple(f.expr(a) for a in e.args))),
    (language.Maximum, _folded("max")),
    (language.Minimum, _folded("min")),
    (language.LogicalAnd, _folded("and")),
    (language.LogicalOr, _folded("or")),
    (language.LogicalNot, lambda f, e: node("not", (f.expr(e.args[0]),))),
    (BooleanAtom, lambda _f, e: const(bool(e))),
    (sympy.core.numbers.Infinity, lambda _f, _e: const(float("inf"))),
    (sympy.core.numbers.NegativeInfinity, lambda _f, _e: const(float("-inf"))),
    (sympy.core.numbers.NaN, lambda _f, _e: const(float("nan"))),
    ((sympy.Number, NumberSymbol), _number),
    (Relational, _relation),
    (sympy.Add, _add),
    (sympy.Mul, _mul),
    (sympy.exp, lambda f, e: node("exp", (f.expr(e.args[0]),))),
    (sympy.Pow, _pow),
)


# --- reads that leave their tensor ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Start:
    """``h[n, -1, j] = value``: what a read finds at one place before the start (or behind the end) of a recurrence."""

    dimension: int
    position: int
    axes: tuple[Axis, ...]
    value: Expr
    own_tensor: bool


def _start_of(tensor: str, subscripts: tuple[Expr, ...], free: tuple[Axis, ...], body: Expr, number: int) -> _Start:
    fixed = [(k, s) for k, s in enumerate(subscripts) if s.op != "axis"]
    (dimension, place), *_ = fixed
    simple = body.op in ("load", "const")
    value = body if simple else load(f"{tensor}.start{number}", (axis(a) for a in free))
    return _Start(dimension, int(simplify_integer(place).value), free, value, not simple)


def _with_reads_settled(s: Statement, shapes: Mapping[str, Name], starts: Mapping[str, list[_Start]]) -> Statement:
    def settle(e: Expr) -> Expr | None:
        if e.op != "load" or e.value[0] not in shapes:
            return None
        name = shapes[e.value[0]]
        if name.outside is None and not name.intermediate:
            return None
        inside = [c for k, i in enumerate(e.args) if (c := _inside(i, name.shape[k])) is not None]
        if not inside:
            return None
        if name.outside is not None:
            return node("where", (conjunction(inside), e, const(name.outside)))
        return node("where", (conjunction(inside), e, _start_value(e, starts.get(e.value[0], []))))

    return replace(s, body=simplify_guards(rebuild(s.body, settle)))


def _start_value(e: Expr, starts: list[_Start]) -> Expr:
    value: Expr = const(0.0)
    for start in starts:
        others = [a for k, a in enumerate(e.args) if k != start.dimension]
        there = substitute(start.value, {axis(a): i for a, i in zip(start.axes, others, strict=True)})
        at = node("eq", (e.args[start.dimension], const(start.position)))
        value = node("where", (at, there, value))
    return value


def _inside(subscript: Expr, extent: int | None) -> Expr | None:
    """The condition that a subscript stays in its tensor; None if it always does."""
    if extent is None or any(e.op == "load" for e in children_first(subscript)):
        return None
    low, high = interval(subscript)
    conditions = []
    if low < 0:
        conditions.append(node("le", (const(0), subscript)))
    if high >= extent:
        conditions.append(node("lt", (subscript, const(extent))))
    return conjunction(conditions) if conditions else None


def conjunction(conditions: Iterable[Expr]) -> Expr:
    """``a and b and ...``; true where there is none."""
    total: Expr | None = None
    for c in conditions:
        total = c if total is None else node("and", (total, c))
    return total if total is not None else const(True)
