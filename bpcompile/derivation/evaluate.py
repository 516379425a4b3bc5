"""The value of a printed tree: an evaluator of its own, which shares no code with the generated programs.

Index formulas are evaluated over grids of their axes, matrix forms as matrices. A load that leaves its tensor is NaN, so
that a missing guard shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.derivation.functions import FUNCTIONS
from bpcompile.nodes.expressions import Axis, Expr

Array = NDArray[Any]
Env = Mapping[Axis, Any]

_MATRIX_OPS: Final = frozenset({
    "matrix", "transpose", "matmul", "hadamard", "hadamard_quotient", "scaled", "ones", "onehot", "diagonal", "indicator",
    "sum_of",
})  # fmt: skip


_REDUCERS: Final[dict[str, Callable[..., Any]]] = {
    "sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "argmax": np.argmax, "argmin": np.argmin,
}  # fmt: skip


@dataclass
class Evaluator:
    """Values of tensors, and what else a formula may ask for.

    Attributes
    ----------
    arrays : dict of str to array
        Tensors by name, in the shapes that the view shows.
    extents : mapping of str to int
        Extents that the axes themselves do not know: of the batch, of abstract axes.
    unspecified : mapping of str to callable
        Functions that only have a name: ``(argument, order)`` to values.
    partial : callable, optional
        ``(upper, lower)`` to the array of derivatives of one tensor's equation by another tensor.
    held : dict of Expr to array, or None
        Values of ``stop_gradient`` that are held fixed while something else is moved.
    """

    arrays: dict[str, Array]
    extents: Mapping[str, int] = field(default_factory=dict)
    unspecified: Mapping[str, Callable[[Any, int], Any]] = field(default_factory=dict)
    partial: Callable[[str, str], Array] | None = None
    gradient_of_cost: Callable[[], Array] | None = None
    held: dict[tuple[Expr, int], Array] | None = None
    moving: bool = False
    flags: Mapping[str, bool] = field(default_factory=lambda: {"training": True})

    def extent(self, a: Axis) -> int:
        """How many values an axis has here."""
        return self.extents.get(a.name, self.extents["n"]) if a.extent is None else a.extent

    def over(self, e: Expr, axes: Sequence[Axis], fixed: Env | None = None) -> Array:
        """An index formula for all values of its axes."""
        env: dict[Axis, Any] = dict(fixed or {})
        count = len(axes)
        for k, a in enumerate(axes):
            env[a] = np.arange(self.extent(a)).reshape([-1] + [1] * (count - 1 - k))
        with np.errstate(all="ignore"):
            value = self.value(e, env)
        return np.array(np.broadcast_to(value, tuple(self.extent(a) for a in axes)))

    def value(self, e: Expr, env: Env) -> Any:
        """The value of an index formula in a grid."""
        match e.op:
            case "const":
                return e.value
            case "axis":
                return env[e.value]
            case "size":
                return self.extent(e.value)
            case "flag":
                return self.flags[e.value]
            case "load":
                return self._element(self.arrays[e.value[0]], [self.value(a, env) for a in e.args])
            case "where":
                condition, a, b = (self.value(x, env) for x in e.args)
                return np.where(condition, a, b)
            case "reduce":
                return self._reduced(e, env)
            case "stop":
                return self._stopped(e, env)
            case "partial":
                upper, lower, _ = e.value
                assert self.partial is not None
                return self._element(self.partial(upper, lower), [self.value(a, env) for a in e.args])
            case "unspecified":
                return self._unspecified(e, env)
            case "draw":
                raise NotImplementedError("a random draw has no value of its own; its tensor is given")
        return FUNCTIONS[e.op](*(self.value(a, env) for a in e.args))

    def _element(self, array: Array, subscripts: list[Any]) -> Any:
        if not subscripts:
            return array[()]
        inside: Any = True
        kept = []
        for s, extent in zip(subscripts, array.shape, strict=True):
            inside = np.logical_and(inside, np.logical_and(s >= 0, s < extent))
            kept.append(np.clip(s, 0, extent - 1))
        values = array[tuple(np.broadcast_arrays(*kept))]
        if np.all(inside):
            return values
        return np.where(inside, values, math.nan if array.dtype.kind == "f" else 0)

    def _reduced(self, e: Expr, env: Env) -> Any:
        kind, axes = e.value
        rank = max((np.ndim(v) for v in env.values()), default=0)
        inner = dict(env)
        for k, a in enumerate(axes):
            inner[a] = np.arange(self.extent(a)).reshape([-1] + [1] * (rank + len(axes) - 1 - k))
        body = np.asarray(self.value(e.args[0], inner))
        shape = [self.extent(a) for a in axes]
        outer = body.shape[len(axes) :] if body.ndim == rank + len(axes) else ()
        full = np.broadcast_to(body, (*shape, *(outer or (1,) * rank)))
        flat = full.reshape(-1, *full.shape[len(axes) :])
        return _REDUCERS[kind](flat, axis=0)

    def _stopped(self, e: Expr, env: Env) -> Any:
        """A constant to the calculus: moved values do not reach it."""
        if self.held is None:
            return self.value(e.args[0], env)
        key = (e, hash(tuple(int(np.sum(v)) for v in env.values())))
        if not self.moving:
            self.held[key] = np.asarray(self.value(e.args[0], env))
        return self.held[key]

    def _unspecified(self, e: Expr, env: Env) -> Any:
        name, order = e.value
        if self.gradient_of_cost is not None and name not in self.unspecified:
            assert order == 1, "only the derivative of a cost stands in an equation"
            return self._element(self.gradient_of_cost(), [self.value(e.args[0].args[-1], env)])
        return self.unspecified[name](self.value(e.args[0], env), order)

    # --- matrices -------------------------------------------------------------------------------------------------------------

    def matrix(self, e: Expr, env: Env) -> Array:
        """The value of a matrix form, as a matrix; numbers are 1 x 1."""
        with np.errstate(all="ignore"):
            return self._matrix(e, env)

    def _matrix(self, e: Expr, env: Env) -> Array:
        if e.op not in _MATRIX_OPS and not any(_has_matrix(a) for a in e.args):
            if e.op == "unspecified" and self.gradient_of_cost is not None and e.value[0] not in self.unspecified:
                return self.gradient_of_cost().reshape(-1, 1)
            return np.asarray(self.value(e, env), dtype=float).reshape(1, 1)
        if e.op == "matrix":
            return self._symbol(e, env)
        if e.op == "ones":
            return np.ones([1 if a is None else self.extent(a) for a in e.value])
        if e.op == "onehot":
            return np.eye(self.extent(e.value))[:, [self._integer(e.args[0], env)]]
        if e.op == "unspecified" and e.value[0] not in self.unspecified and self.gradient_of_cost is not None:
            return self.gradient_of_cost().reshape(-1, 1)
        if e.op == "sum_of":
            each = [self._matrix(e.args[0], {**env, e.value: np.asarray(k)}) for k in range(self.extent(e.value))]
            return np.asarray(np.sum(each, axis=0))
        if e.op == "where":
            return np.where(self.value(e.args[0], env), self._matrix(e.args[1], env), 0.0)
        args = [self._matrix(a, env) for a in e.args]
        match e.op:
            case "transpose":
                return args[0].T
            case "matmul":
                return args[0] @ args[1]
            case "hadamard" | "scaled":
                return args[0] * args[1]
            case "hadamard_quotient":
                return args[0] / args[1]
            case "diagonal":
                return np.diag(args[0][:, 0])
            case "indicator":
                return args[0].astype(float)
            case "unspecified":
                return np.asarray(self.unspecified[e.value[0]](args[0], e.value[1]))
            case "stop":
                return args[0]
        return np.asarray(FUNCTIONS[e.op](*args))

    def _integer(self, e: Expr, env: Env) -> int:
        """A subscript."""
        value = self._matrix(e, env) if _has_matrix(e) else np.asarray(self.value(e, env))
        return int(value.item())

    def _symbol(self, e: Expr, env: Env) -> Array:
        tensor, _, how = e.value
        array = self.arrays[tensor]
        at = tuple(self._integer(a, env) for a in e.args)
        fixed = iter(at)
        place = tuple(next(fixed) if h == "f" else slice(None) for h in how)
        outside = any(isinstance(i, int) and not 0 <= i < extent for i, extent in zip(place, array.shape, strict=True))
        shape = [extent for h, extent in zip(how, array.shape, strict=True) if h != "f"]
        part = np.full(shape, np.nan) if outside else np.asarray(array[place], dtype=float)
        if part.ndim < 2:
            return part.reshape(-1, 1)
        return part if how.index("r") < how.index("c") else part.T


def _has_matrix(e: Expr) -> bool:
    return e.op in _MATRIX_OPS or any(_has_matrix(a) for a in e.args)
