"""An independent translation of a network's equations to arrays of another library, which differentiates them itself.

Every expression is an array over the indices in scope, evaluated straight from the SymPy trees of the equations; nothing of
the compiler's calculus, programs or emitters is used. Conventions are ours: a maximum's gradient goes to the first element
that attains it. What differs between libraries is a row of `Library`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
from sympy.core.relational import Relational

from bpcompile.language import symbols as language
from bpcompile.language.equation import Equation, accesses
from bpcompile.language.functions import FUNCTION_NAMES
from bpcompile.language.network import Network
from bpcompile.language.records import Call

__all__ = ["Library", "Result", "loss_of"]

Array = Any


@dataclass(frozen=True)
class Library:
    """The functions of arrays that a translation needs; reals are float64.

    `put` gives a copy with one step of one axis replaced, `first` the place along the last axis at which a maximum or minimum
    is first attained, `at` the elements of the last axis at such places. `functions` are those of the language whose name in
    `namespace` is another.
    """

    namespace: Any
    constant: Callable[[Any], Array]
    real: Callable[[Array], Array]
    is_real: Callable[[Array], bool]
    stop: Callable[[Array], Array]
    read: Callable[[Array, tuple[Array, ...]], Array]
    floor_divide: Callable[[Array, Array], Array]
    put: Callable[[Array, int, int, Array], Array]
    first: Callable[[Array, bool], Array]
    at: Callable[[Array, Array], Array]
    functions: Mapping[str, Callable[..., Array]]


@dataclass(frozen=True)
class Result:
    """Loss, gradients by name and the states after the call."""

    loss: float
    grads: dict[str, np.ndarray]
    state: dict[str, np.ndarray]


@dataclass
class Scope:
    """The tensors of one call so far and the indices in sight, each an axis of every array."""

    lib: Library
    call: Call
    n: int
    values: dict[str, Array]
    starts: dict[str, dict[int, tuple[int, Array]]] = field(default_factory=dict)
    axes: tuple[str, ...] = ()
    training: bool = True
    fixed: dict[str, int] = field(default_factory=dict)

    def extent(self, index: str) -> int:
        found = self.call.extents[index]
        return self.n if found is None else found

    def within(self, axes: tuple[str, ...], fixed: dict[str, int]) -> Scope:
        return Scope(self.lib, self.call, self.n, self.values, self.starts, axes, self.training, fixed)


def loss_of(
    lib: Library, net: Network, arrays: Mapping[str, Array], n: int, training: bool = True
) -> tuple[Array, dict[str, Array]]:
    """The loss for these arrays of the library, and the states after the call."""
    values = dict(arrays)
    after: dict[str, Array] = {}
    for call in net.calls:
        scope = Scope(lib, call, n, {}, training=training)
        for local, name in call.resolve.items():
            if name in values:
                scope.values[local] = values[name]
        moved = _run_call(scope)
        after |= {call.resolve[k]: v for k, v in moved.items()}
        values |= {call.resolve[k]: v for k, v in scope.values.items() if k not in call.layer.state}
    total = lib.constant(0.0)
    for weight, value in net.losses:
        total = total + weight * lib.real(values[value.name]).mean()
    for name, info in net.parameters.items():
        l1, l2 = info.penalty
        total = total + l1 * lib.namespace.abs(values[name]).sum() + l2 * (values[name] ** 2).sum()
    return total, after


def _run_call(scope: Scope) -> dict[str, Array]:
    """Run the equations; give the next values of states."""
    equations = list(scope.call.equations)
    after: dict[str, Array] = {}
    for group in _groups(equations, set(scope.call.layer.state)):
        if isinstance(group, list):
            _run_recurrence(scope, group)
        elif group.lhs.tensor in scope.call.layer.state:
            after[group.lhs.tensor] = _equation(scope, group)
        else:
            scope.values[group.lhs.tensor] = _equation(scope, group)
    return after


def _groups(equations: list[Equation], states: set[str]) -> list[Equation | list[Equation]]:
    """The equations, each after those that it reads; those of one cycle together."""
    defined = {e.lhs.tensor for e in equations} - states
    reads = {t: {a.tensor for e in equations if e.lhs.tensor == t for a in accesses(e.rhs)} & defined for t in defined}
    for _ in defined:
        reads = {t: r | {u for k in r for u in reads[k]} for t, r in reads.items()}
    together: dict[str, list[Equation]] = {}
    for e in equations:
        t = e.lhs.tensor
        cycle = {u for u in defined if t not in states and u in reads.get(t, ()) and t in reads[u]}
        together[t] = [other for other in equations if other.lhs.tensor in cycle] if cycle else [e]
    waiting = {id(g[0]): g for g in together.values()}
    groups: list[Equation | list[Equation]] = []
    done: set[str] = set()
    while waiting:
        for key, g in list(waiting.items()):
            own = {e.lhs.tensor for e in g}
            if all(a.tensor in done or a.tensor not in defined or a.tensor in own for e in g for a in accesses(e.rhs)):
                cyclic = len(g) > 1 or g[0].lhs.tensor in reads.get(g[0].lhs.tensor, ())
                groups.append(g if cyclic else g[0])
                done |= own
                del waiting[key]
    return groups


def _equation(scope: Scope, e: Equation, fixed: dict[str, int] | None = None) -> Array:
    free = tuple(s.name for s in e.lhs.subscripts if isinstance(s, language.Index) and s.name not in (fixed or {}))
    value = _value(scope.within(free, fixed or {}), e.rhs)
    return scope.lib.namespace.broadcast_to(value, tuple(scope.extent(i) for i in free))


def _run_recurrence(scope: Scope, equations: list[Equation]) -> None:
    """One time index, one direction, one step after another."""
    time, down = _time(equations)
    starts = [e for e in equations if not any(isinstance(s, language.Index) and s.name == time for s in e.lhs.subscripts)]
    steps = [e for e in equations if e not in starts]
    shapes = {e.lhs.tensor: [s.name for s in e.lhs.subscripts] for e in steps}
    for e in steps:
        scope.values[e.lhs.tensor] = scope.lib.constant(np.zeros([scope.extent(i) for i in shapes[e.lhs.tensor]]))
    for e in starts:
        at = next(k for k, s in enumerate(e.lhs.subscripts) if not isinstance(s, language.Index))
        scope.starts.setdefault(e.lhs.tensor, {})[int(e.lhs.subscripts[at])] = (at, _equation(scope, e))
    order = range(scope.extent(time))
    for t in reversed(order) if down else order:
        for e in steps:
            value = _equation(scope, e, {time: t})
            at = shapes[e.lhs.tensor].index(time)
            scope.values[e.lhs.tensor] = scope.lib.put(scope.values[e.lhs.tensor], at, t, scope.lib.real(value))


def _time(equations: list[Equation]) -> tuple[str, bool]:
    """The index of time, and whether it runs downwards."""
    tensors = {e.lhs.tensor for e in equations}
    left = {e.lhs.tensor: [getattr(s, "name", "") for s in e.lhs.subscripts] for e in reversed(equations)}
    for e in equations:
        for a in accesses(e.rhs):
            if a.tensor not in tensors:
                continue
            for own, s in zip(left[a.tensor], a.subscripts, strict=True):
                inside = [i.name for i in s.free_symbols if isinstance(i, language.Index)]
                if inside == [own] and own in left[e.lhs.tensor] and isinstance(s, sympy.Add):
                    distance = sympy.simplify(s - language.Index(own))
                    if distance.is_Integer and _steps_everywhere(equations, tensors, own):
                        return own, int(distance) > 0
    raise AssertionError("no step")


def _steps_everywhere(equations: list[Equation], tensors: set[str], index: str) -> bool:
    """Whether every read inside of the cycle is at this index plus a constant."""
    at = {e.lhs.tensor: [getattr(s, "name", "") for s in e.lhs.subscripts].index(index) for e in equations
          if index in [getattr(s, "name", "") for s in e.lhs.subscripts]}  # fmt: skip
    reads = [a for e in equations for a in accesses(e.rhs) if a.tensor in tensors]
    return all(a.tensor in at and sympy.simplify(a.subscripts[at[a.tensor]] - language.Index(index)).is_Integer for a in reads)


def _value(scope: Scope, e: Any) -> Array:
    lib = scope.lib
    if e == language.TRAINING:
        return lib.constant(scope.training)
    if isinstance(e, language.Index):
        return _grid(scope, e.name)
    if isinstance(e, language.Access):
        return _access(scope, e)
    if isinstance(e, language.Reduction):
        return _reduction(scope, e)
    if isinstance(e, language.SizeOf):
        return lib.constant(scope.extent(e.index.name))
    if isinstance(e, sympy.Integer):
        return lib.constant(int(e))
    if e in (sympy.true, sympy.false):
        return lib.constant(e == sympy.true)
    if e.is_number and not e.args:
        return lib.constant(float(e))
    a = [_value(scope, x) for x in e.args]
    if type(e) in OPERATIONS:
        return OPERATIONS[type(e)](lib, *a)
    if isinstance(e, Relational):
        return RELATIONS[e.rel_op](*a)
    if isinstance(e, (sympy.Add, sympy.Mul)):
        total = a[0]
        for x in a[1:]:
            total = total + x if isinstance(e, sympy.Add) else total * x
        return total
    if isinstance(e, sympy.Pow):
        return lib.real(a[0]) ** lib.real(a[1]) if not e.exp.is_Integer or int(e.exp) < 0 else a[0] ** int(e.exp)
    name = FUNCTION_NAMES[type(e)]
    return (lib.functions.get(name) or getattr(lib.namespace, name))(*(lib.real(x) for x in a))


def _select(lib: Library, c: Array, a: Array, b: Array) -> Array:
    if lib.is_real(a) or lib.is_real(b):
        a, b = lib.real(a), lib.real(b)
    return lib.namespace.where(c, a, b)


RELATIONS: dict[str, Callable[[Array, Array], Array]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
OPERATIONS: dict[Any, Callable[..., Array]] = {
    language.Where: _select,
    language.StopGradient: lambda lib, x: lib.stop(x),
    language.FloorDivide: lambda lib, x, y: lib.floor_divide(x, y),
    language.Modulo: lambda lib, x, y: lib.namespace.remainder(x, y),
    language.Maximum: lambda lib, x, y: _select(lib, (x >= y) | (x != x), x, y),
    language.Minimum: lambda lib, x, y: _select(lib, (x <= y) | (x != x), x, y),
    language.LogicalAnd: lambda lib, x, y: lib.namespace.logical_and(x, y),
    language.LogicalOr: lambda lib, x, y: lib.namespace.logical_or(x, y),
    language.LogicalNot: lambda lib, x: lib.namespace.logical_not(x),
}  # fmt: skip


def _grid(scope: Scope, index: str) -> Array:
    if index in scope.fixed:
        return scope.lib.constant(scope.fixed[index])
    shape = [1] * len(scope.axes)
    shape[scope.axes.index(index)] = scope.extent(index)
    return scope.lib.constant(np.arange(scope.extent(index)).reshape(shape))


def _access(scope: Scope, e: Any) -> Array:
    array = scope.values[e.tensor]
    if not e.subscripts:
        return array
    lib = scope.lib
    places = [_value(scope, s) for s in e.subscripts]
    inside = lib.constant(True)
    for p, extent in zip(places, array.shape, strict=True):
        inside = inside & (p >= 0) & (p < extent)
    kept = tuple(lib.namespace.clip(p, 0, extent - 1) for p, extent in zip(places, array.shape, strict=True))
    found = lib.read(array, kept)
    outside = scope.call.tensors[e.tensor].outside
    if not lib.is_real(array):
        if outside is None:
            return found
        found = lib.real(found)
    otherwise = lib.constant(0.0 if outside is None else float(outside))
    for place, (at, value) in scope.starts.get(e.tensor, {}).items():
        others = tuple(p for k, p in enumerate(kept) if k != at)
        otherwise = lib.namespace.where(places[at] == place, lib.read(value, others) if others else value, otherwise)
    return lib.namespace.where(inside, found, otherwise)


def _reduction(scope: Scope, e: Any) -> Array:
    lib = scope.lib
    bound = tuple(i.name for i in e.indices)
    inner = scope.within((*scope.axes, *bound), scope.fixed)
    # Arrays of the outer scope have one axis fewer for each bound index: they are all made anew inside.
    body = lib.namespace.broadcast_to(_value(inner, e.body), tuple(inner.extent(i) for i in inner.axes))
    flat = body.reshape(*body.shape[: len(scope.axes)], -1)
    if e.kind == "sum":
        return flat.sum(-1)
    if e.kind == "mean":
        return lib.real(flat).mean(-1)
    first = lib.first(flat, e.kind.endswith("max"))
    return first if e.kind.startswith("arg") else lib.at(flat, first)
