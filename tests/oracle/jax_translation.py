"""An independent translation of a network's equations to JAX, differentiated by JAX itself.

Every expression is an array over the indices in scope, evaluated straight from the SymPy trees; nothing of the compiler's
calculus, programs or emitters is used. Conventions are ours: a maximum's gradient goes to the first element that attains it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
from sympy.core.relational import Relational

from bpcompile.language import symbols as language
from bpcompile.language.equation import accesses
from bpcompile.language.functions import FUNCTION_NAMES
from bpcompile.language.network import Network
from bpcompile.language.records import Call

RELATIONS = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal"}


@dataclass
class Scope:
    """The tensors of one call so far and the indices in sight, each an axis of every array."""

    jax: Any
    call: Call
    n: int
    values: dict[str, Any]
    axes: tuple[str, ...] = ()
    training: bool = True
    fixed: dict[str, int] = field(default_factory=dict)

    def extent(self, index: str) -> int:
        return self.call.extents[index] or self.n

    def grid(self, index: str) -> Any:
        if index in self.fixed:
            return self.jax.numpy.asarray(self.fixed[index])
        shape = [1] * len(self.axes)
        shape[self.axes.index(index)] = self.extent(index)
        return self.jax.numpy.arange(self.extent(index)).reshape(shape)


def loss_function(net: Network, n: int, integers: Mapping[str, Any], training: bool = True) -> Callable[[dict[str, Any]], Any]:
    """The loss as a JAX function of a dictionary of real arrays (parameters, inputs and targets)."""
    import jax

    jax.config.update("jax_enable_x64", True)

    def loss(given: dict[str, Any]) -> Any:
        values = {**integers, **given}
        for call in net.calls:
            scope = Scope(jax, call, n, {}, training=training)
            for local, name in call.resolve.items():
                if name in values:
                    scope.values[local] = values[name]
            _run_call(scope)
            values |= {call.resolve.get(k, f"{call.name}.{k}"): v for k, v in scope.values.items()}
        total = 0.0
        for weight, value in net.losses:
            total = total + weight * jax.numpy.mean(values[value.name])
        for name, info in net.parameters.items():
            l1, l2 = info.penalty
            total = total + l1 * jax.numpy.sum(jax.numpy.abs(values[name])) + l2 * jax.numpy.sum(values[name] ** 2)
        return total

    return loss


def _run_call(scope: Scope) -> None:
    equations = list(scope.call.equations)
    defined = {e.lhs.tensor for e in equations}
    recurrent = _recurrent(equations, defined)
    done: set[int] = set()
    for k, e in enumerate(equations):
        if k in done:
            continue
        if e.lhs.tensor in recurrent:
            group = [j for j, other in enumerate(equations) if other.lhs.tensor in recurrent]
            _run_recurrence(scope, [equations[j] for j in group])
            done.update(group)
        else:
            scope.values[e.lhs.tensor] = _equation(scope, e)


def _recurrent(equations: list[Any], defined: set[str]) -> set[str]:
    """Tensors that (indirectly) read themselves."""
    reads = {t: {a.tensor for e in equations if e.lhs.tensor == t for a in accesses(e.rhs)} & defined for t in defined}
    changed = True
    while changed:
        changed = False
        for t in defined:
            wider = reads[t] | {u for r in reads[t] for u in reads[r]}
            changed |= wider != reads[t]
            reads[t] = wider
    return {t for t in defined if t in reads[t]}


def _equation(scope: Scope, e: Any, fixed: Mapping[str, int] | None = None) -> Any:
    free = tuple(s.name for s in e.lhs.subscripts if isinstance(s, language.Index) and s.name not in (fixed or {}))
    inner = Scope(scope.jax, scope.call, scope.n, scope.values, free, scope.training, dict(fixed or {}))
    value = _value(inner, e.rhs)
    shape = tuple(scope.extent(i) for i in free)
    return scope.jax.numpy.broadcast_to(value, shape)


def _run_recurrence(scope: Scope, equations: list[Any]) -> None:
    """One time index, one direction, one step after another."""
    np_ = scope.jax.numpy
    time, down = _time(equations)
    starts = [e for e in equations if not any(isinstance(s, language.Index) and s.name == time for s in e.lhs.subscripts)]
    steps = [e for e in equations if e not in starts]
    for e in steps:
        shape = tuple(scope.extent(s.name) for s in e.lhs.subscripts)
        scope.values[e.lhs.tensor] = np_.zeros(shape)
    for e in starts:
        place = next(int(s) for s in e.lhs.subscripts if not isinstance(s, language.Index))
        scope.values[f"{e.lhs.tensor} at {place}"] = _equation(scope, e)
    for t in reversed(range(scope.extent(time))) if down else range(scope.extent(time)):
        for e in steps:
            value = _equation(scope, e, {time: t})
            names = [s.name for s in e.lhs.subscripts]
            where = tuple(t if i == time else slice(None) for i in names)
            scope.values[e.lhs.tensor] = scope.values[e.lhs.tensor].at[where].set(value)


def _time(equations: list[Any]) -> tuple[str, bool]:
    tensors = {e.lhs.tensor for e in equations}
    for e in equations:
        for a in accesses(e.rhs):
            if a.tensor in tensors:
                for s in a.subscripts:
                    if isinstance(s, sympy.Add) and s.free_symbols:
                        index = next(i for i in s.free_symbols if isinstance(i, language.Index))
                        return index.name, int(sympy.expand(s - index)) > 0
    raise AssertionError("no step")


def _value(scope: Scope, e: Any) -> Any:
    np_ = scope.jax.numpy
    if e == language.TRAINING:
        return np_.asarray(scope.training)
    if isinstance(e, language.Index):
        return scope.grid(e.name)
    if isinstance(e, language.Access):
        return _access(scope, e)
    if isinstance(e, language.Reduction):
        return _reduction(scope, e)
    if isinstance(e, language.SizeOf):
        return scope.extent(e.index.name)
    if isinstance(e, sympy.Integer):
        return int(e)
    if isinstance(e, sympy.core.numbers.NaN) or e.is_number:
        return int(e) if e.is_integer else float(e)
    a = [_value(scope, x) for x in e.args]
    if isinstance(e, language.Where):
        return _where(scope, a)
    simple: dict[Any, Callable[..., Any]] = {
        language.StopGradient: scope.jax.lax.stop_gradient,
        language.FloorDivide: lambda x, y: x // y,
        language.Modulo: lambda x, y: x % y,
        language.Maximum: lambda x, y: np_.where((x >= y) | np_.isnan(x), x, y),
        language.Minimum: lambda x, y: np_.where((x <= y) | np_.isnan(x), x, y),
        language.LogicalAnd: np_.logical_and,
        language.LogicalOr: np_.logical_or,
        language.LogicalNot: np_.logical_not,
    }
    if type(e) in simple:
        return simple[type(e)](*a)
    if isinstance(e, Relational):
        return getattr(np_, RELATIONS[e.rel_op])(*a)
    if isinstance(e, (sympy.Add, sympy.Mul)):
        total = a[0]
        for x in a[1:]:
            total = total + x if isinstance(e, sympy.Add) else total * x
        return total
    if isinstance(e, sympy.Pow):
        return a[0] ** a[1] if not isinstance(a[1], int) or a[1] >= 0 else 1 / a[0] ** -a[1]
    return _function(scope, FUNCTION_NAMES[type(e)])(*a)


def _where(scope: Scope, a: list[Any]) -> Any:
    """Selection whose other branch gives no gradient even where it is NaN."""
    np_ = scope.jax.numpy
    return np_.where(a[0], a[1], a[2])


def _function(scope: Scope, name: str) -> Callable[..., Any]:
    np_, special = scope.jax.numpy, scope.jax.scipy.special
    table = {
        "sigmoid": scope.jax.nn.sigmoid, "softplus": scope.jax.nn.softplus, "relu": lambda x: np_.where(x > 0, x, 0.0),
        "asin": np_.arcsin, "acos": np_.arccos, "atan": np_.arctan, "atan2": np_.arctan2, "asinh": np_.arcsinh,
        "acosh": np_.arccosh, "atanh": np_.arctanh, "erf": special.erf, "erfc": special.erfc, "lgamma": special.gammaln,
        "gamma": lambda x: np_.exp(special.gammaln(x)), "digamma": special.digamma,
    }  # fmt: skip
    return table.get(name) or getattr(np_, name)


def _access(scope: Scope, e: Any) -> Any:
    np_ = scope.jax.numpy
    array = scope.values[e.tensor]
    if not e.subscripts:
        return array
    places = [np_.asarray(_value(scope, s)) for s in e.subscripts]
    inside: Any = True
    for p, extent in zip(places, array.shape, strict=True):
        inside = inside & (p >= 0) & (p < extent)
    kept = tuple(np_.clip(p, 0, extent - 1) for p, extent in zip(places, array.shape, strict=True))
    outside: Any = scope.call.tensors[e.tensor].outside
    outside = 0.0 if outside is None else outside
    for name, value in scope.values.items():
        if name.startswith(f"{e.tensor} at "):
            outside = _at_start(scope, int(name.rsplit(" ", 1)[1]), value, e, places, outside)
    return np_.where(inside, array[kept], outside) if array.dtype.kind == "f" else array[kept]


def _at_start(scope: Scope, place: int, value: Any, e: Any, places: list[Any], otherwise: Any) -> Any:
    """The value of ``h[n, -1, j] = ...`` where the access reads there."""
    np_ = scope.jax.numpy
    shifted = [k for k, s in enumerate(e.subscripts) if isinstance(s, sympy.Add)]
    if not shifted:
        return otherwise
    dimension = shifted[0]
    others = tuple(p for k, p in enumerate(places) if k != dimension)
    return np_.where(places[dimension] == place, value[others] if others else value, otherwise)


def _reduction(scope: Scope, e: Any) -> Any:
    np_ = scope.jax.numpy
    bound = tuple(i.name for i in e.indices)
    inner = Scope(scope.jax, scope.call, scope.n, scope.values, (*scope.axes, *bound), scope.training, scope.fixed)
    body = np_.asarray(_value(inner, e.body))
    shape = tuple(scope.extent(i) for i in inner.axes)
    body = np_.broadcast_to(body, shape)
    flat = body.reshape(*shape[: len(scope.axes)], -1)
    if e.kind in ("sum", "mean"):
        return getattr(np_, e.kind)(flat, axis=-1)
    first = np_.argmax(flat, axis=-1) if e.kind.endswith("max") else np_.argmin(flat, axis=-1)
    if e.kind.startswith("arg"):
        return first
    return np_.take_along_axis(flat, first[..., None], axis=-1)[..., 0]


def value_and_grad(net: Network, arrays: Mapping[str, np.ndarray], n: int) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients with respect to every real array."""
    import jax

    integers = {k: v for k, v in arrays.items() if v.dtype.kind in "iu"}
    real = {k: jax.numpy.asarray(v) for k, v in arrays.items() if v.dtype.kind == "f"}
    loss, grads = jax.value_and_grad(loss_function(net, n, integers))(real)
    return float(loss), {k: np.asarray(g) for k, g in grads.items()}
