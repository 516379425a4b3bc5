"""An independent translation of a network's equations to PyTorch, differentiated by PyTorch itself.

Every expression is an array over the indices in scope, evaluated straight from the SymPy trees of the equations; nothing of
the compiler's calculus, programs or emitters is used. Conventions are ours: a maximum's gradient goes to the first element
that attains it. It runs a random network in some milliseconds, which is what long sweeps need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
import torch
from sympy.core.relational import Relational

from bpcompile.language import symbols as language
from bpcompile.language.equation import Equation, accesses
from bpcompile.language.functions import FUNCTION_NAMES
from bpcompile.language.network import Network
from bpcompile.language.records import Call

RELATIONS = {"<": torch.lt, "<=": torch.le, ">": torch.gt, ">=": torch.ge, "==": torch.eq, "!=": torch.ne}


@dataclass
class Scope:
    """The tensors of one call so far and the indices in sight, each an axis of every array."""

    call: Call
    n: int
    values: dict[str, Any]
    starts: dict[str, dict[int, tuple[int, Any]]] = field(default_factory=dict)
    axes: tuple[str, ...] = ()
    training: bool = True
    fixed: dict[str, int] = field(default_factory=dict)

    def extent(self, index: str) -> int:
        found = self.call.extents[index]
        return self.n if found is None else found

    def within(self, axes: tuple[str, ...], fixed: dict[str, int]) -> Scope:
        return Scope(self.call, self.n, self.values, self.starts, axes, self.training, fixed)


@dataclass(frozen=True)
class Result:
    """Loss, gradients by name, the states after the call and every tensor's value."""

    loss: float
    grads: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    values: dict[str, np.ndarray]


def value_and_grad(net: Network, arrays: Mapping[str, np.ndarray], n: int, training: bool = True) -> Result:
    """Loss and gradients with respect to every parameter and real input."""
    leaves = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in arrays.items()
              if v.dtype.kind == "f" and k not in net.states}  # fmt: skip
    values: dict[str, Any] = {k: torch.tensor(v) for k, v in arrays.items() if k not in leaves} | leaves
    after: dict[str, Any] = {}
    for call in net.calls:
        scope = Scope(call, n, {}, training=training)
        for local, name in call.resolve.items():
            if name in values:
                scope.values[local] = values[name]
        moved = _run_call(scope)
        after |= {call.resolve[k]: v for k, v in moved.items()}
        values |= {call.resolve[k]: v for k, v in scope.values.items() if k not in call.layer.state}
    total: Any = torch.tensor(0.0, dtype=torch.float64)
    for weight, value in net.losses:
        total = total + weight * torch.mean(values[value.name])
    for name, info in net.parameters.items():
        l1, l2 = info.penalty
        total = total + l1 * torch.sum(torch.abs(values[name])) + l2 * torch.sum(values[name] ** 2)
    grads: Any = [None] * len(leaves)
    if total.requires_grad:
        grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    found = {k: np.zeros(v.shape) if g is None else g.numpy() for (k, v), g in zip(leaves.items(), grads, strict=True)}
    plain = {k: v.detach().numpy() for k, v in values.items()}
    return Result(float(total), found, {k: v.detach().numpy() for k, v in after.items()}, plain)


def _run_call(scope: Scope) -> dict[str, Any]:
    """Run the equations; give the next values of states."""
    equations = list(scope.call.equations)
    groups = _groups(equations, set(scope.call.layer.state))
    after: dict[str, Any] = {}
    for group in groups:
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


def _equation(scope: Scope, e: Equation, fixed: dict[str, int] | None = None) -> Any:
    free = tuple(s.name for s in e.lhs.subscripts if isinstance(s, language.Index) and s.name not in (fixed or {}))
    value = torch.as_tensor(_value(scope.within(free, fixed or {}), e.rhs))
    if value.dtype == torch.float32:
        value = value.double()
    return torch.broadcast_to(value, tuple(scope.extent(i) for i in free))


def _run_recurrence(scope: Scope, equations: list[Equation]) -> None:
    """One time index, one direction, one step after another."""
    time, down = _time(equations)
    starts = [e for e in equations if not any(isinstance(s, language.Index) and s.name == time for s in e.lhs.subscripts)]
    steps = [e for e in equations if e not in starts]
    shapes = {e.lhs.tensor: [s.name for s in e.lhs.subscripts] for e in steps}
    for e in steps:
        scope.values[e.lhs.tensor] = torch.zeros(tuple(scope.extent(i) for i in shapes[e.lhs.tensor]), dtype=torch.float64)
    for e in starts:
        at = next(k for k, s in enumerate(e.lhs.subscripts) if not isinstance(s, language.Index))
        scope.starts.setdefault(e.lhs.tensor, {})[int(e.lhs.subscripts[at])] = (at, _equation(scope, e))
    order = range(scope.extent(time))
    for t in reversed(order) if down else order:
        for e in steps:
            value = _equation(scope, e, {time: t})
            at = shapes[e.lhs.tensor].index(time)
            whole = scope.values[e.lhs.tensor].clone()
            whole.select(at, t).copy_(value)
            scope.values[e.lhs.tensor] = whole


def _time(equations: list[Equation]) -> tuple[str, bool]:
    tensors = {e.lhs.tensor for e in equations}
    for e in equations:
        lhs = [s.name if isinstance(s, language.Index) else "" for s in e.lhs.subscripts]
        for a in accesses(e.rhs):
            if a.tensor not in tensors:
                continue
            for own, s in zip(next([getattr(x, "name", "") for x in o.lhs.subscripts] for o in equations
                                   if o.lhs.tensor == a.tensor), a.subscripts, strict=True):  # fmt: skip
                inside = [i.name for i in s.free_symbols if isinstance(i, language.Index)]
                if inside == [own] and own in lhs and isinstance(s, sympy.Add):
                    index = next(i for i in s.free_symbols if isinstance(i, language.Index))
                    if sympy.simplify(s - index).is_Integer and _steps_everywhere(equations, tensors, own):
                        return own, int(sympy.simplify(s - index)) > 0
    raise AssertionError("no step")


def _steps_everywhere(equations: list[Equation], tensors: set[str], index: str) -> bool:
    """Whether every read inside of the cycle is at this index plus a constant."""
    at = {e.lhs.tensor: [getattr(s, "name", "") for s in e.lhs.subscripts].index(index) for e in equations
          if index in [getattr(s, "name", "") for s in e.lhs.subscripts]}  # fmt: skip
    reads = [a for e in equations for a in accesses(e.rhs) if a.tensor in tensors]
    return all(a.tensor in at and sympy.simplify(a.subscripts[at[a.tensor]] - language.Index(index)).is_Integer for a in reads)


def _value(scope: Scope, e: Any) -> Any:
    if e == language.TRAINING:
        return torch.tensor(scope.training)
    if isinstance(e, language.Index):
        return _grid(scope, e.name)
    if isinstance(e, language.Access):
        return _access(scope, e)
    if isinstance(e, language.Reduction):
        return _reduction(scope, e)
    if isinstance(e, language.SizeOf):
        return torch.tensor(scope.extent(e.index.name))
    if isinstance(e, sympy.Integer):
        return torch.tensor(int(e))
    if e in (sympy.true, sympy.false):
        return torch.tensor(e == sympy.true)
    if e.is_number and not e.args:
        return torch.tensor(float(e), dtype=torch.float64)
    a = [_value(scope, x) for x in e.args]
    if type(e) in OPERATIONS:
        return OPERATIONS[type(e)](*a)
    if isinstance(e, Relational):
        return RELATIONS[e.rel_op](*a)
    if isinstance(e, (sympy.Add, sympy.Mul)):
        total = a[0]
        for x in a[1:]:
            total = total + x if isinstance(e, sympy.Add) else total * x
        return total
    if isinstance(e, sympy.Pow):
        return _real(a[0]) ** a[1] if not e.exp.is_Integer or int(e.exp) < 0 else a[0] ** int(e.exp)
    name = FUNCTION_NAMES[type(e)]
    return (FUNCTIONS.get(name) or getattr(torch, name))(*(_real(x) for x in a))


def _real(x: Any) -> Any:
    return x if x.dtype == torch.float64 else x.double()


def _select(c: Any, a: Any, b: Any) -> Any:
    return torch.where(c, _real(a), _real(b)) if torch.float64 in (a.dtype, b.dtype) else torch.where(c, a, b)


OPERATIONS: dict[Any, Callable[..., Any]] = {
    language.Where: _select,
    language.StopGradient: lambda x: x.detach(),
    language.FloorDivide: lambda x, y: torch.div(x, y, rounding_mode="floor"),
    language.Modulo: torch.remainder,
    language.Maximum: lambda x, y: _select((x >= y) | torch.isnan(x), x, y),
    language.Minimum: lambda x, y: _select((x <= y) | torch.isnan(x), x, y),
    language.LogicalAnd: torch.logical_and,
    language.LogicalOr: torch.logical_or,
    language.LogicalNot: torch.logical_not,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "relu": lambda x: torch.where(x > 0, x, 0.0 * x.detach()),
    "erf": torch.special.erf,
    "erfc": torch.special.erfc,
    "lgamma": torch.lgamma,
    "gamma": lambda x: torch.exp(torch.lgamma(x)),
}


def _grid(scope: Scope, index: str) -> Any:
    if index in scope.fixed:
        return torch.tensor(scope.fixed[index])
    shape = [1] * len(scope.axes)
    shape[scope.axes.index(index)] = scope.extent(index)
    return torch.arange(scope.extent(index)).reshape(shape)


def _access(scope: Scope, e: Any) -> Any:
    array = scope.values[e.tensor]
    if not e.subscripts:
        return array
    places = [torch.as_tensor(_value(scope, s)) for s in e.subscripts]
    inside = torch.tensor(True)
    for p, extent in zip(places, array.shape, strict=True):
        inside = inside & (p >= 0) & (p < extent)
    kept = tuple(torch.clamp(p, 0, extent - 1) for p, extent in zip(places, array.shape, strict=True))
    found = array[kept]
    if array.dtype != torch.float64:
        return found
    outside: Any = scope.call.tensors[e.tensor].outside
    otherwise: Any = torch.tensor(0.0 if outside is None else float(outside), dtype=torch.float64)
    for place, (at, value) in scope.starts.get(e.tensor, {}).items():
        others = tuple(p for k, p in enumerate(kept) if k != at)
        otherwise = torch.where(places[at] == place, value[others] if others else value, otherwise)
    return torch.where(inside, found, otherwise)


def _reduction(scope: Scope, e: Any) -> Any:
    bound = tuple(i.name for i in e.indices)
    inner = scope.within((*scope.axes, *bound), scope.fixed)
    # Arrays of the outer scope have one axis fewer for each bound index: they are all made anew inside.
    body = torch.broadcast_to(torch.as_tensor(_value(inner, e.body)), tuple(inner.extent(i) for i in inner.axes))
    flat = body.reshape(*body.shape[: len(scope.axes)], -1)
    if e.kind == "sum":
        return flat.sum(-1)
    if e.kind == "mean":
        return _real(flat).mean(-1)
    plain = flat.detach().numpy()
    first = torch.as_tensor(np.argmax(plain, -1) if e.kind.endswith("max") else np.argmin(plain, -1))
    return first if e.kind.startswith("arg") else torch.take_along_dim(flat, first[..., None], -1)[..., 0]
