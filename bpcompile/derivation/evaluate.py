"""The value of a printed tree: an evaluator of its own, which shares no code with the generated programs.

Index formulas are evaluated over grids of their axes, matrix forms as matrices. A load that leaves its tensor is NaN, so
that a missing guard shows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.derivation.contraction import TooManyTerms, summed
from bpcompile.derivation.functions import FUNCTIONS
from bpcompile.nodes.expressions import Axis, Expr

Array = NDArray[Any]
Env = Mapping[Axis, Any]

_MATRIX_OPS: Final = frozenset({
    "matrix", "transpose", "matmul", "hadamard", "hadamard_quotient", "scaled", "ones", "onehot", "onehot_row", "diagonal",
    "indicator", "sum_of",
})  # fmt: skip


MOST_TERMS: Final = 400_000_000
"""How many terms a sum may have, over all values of the free indices."""

_REDUCERS: Final[dict[str, Callable[..., Any]]] = {
    "sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "argmax": np.argmax, "argmin": np.argmin,
}  # fmt: skip


class Source(ABC):
    """A tensor whose elements are found when they are read.

    Attributes
    ----------
    shape : tuple of int
        As of an array.
    """

    shape: tuple[int, ...]

    @abstractmethod
    def read(self, subscripts: Sequence[Any]) -> Any:
        """The elements at subscripts that broadcast against each other."""


@dataclass
class Evaluator:
    """Values of tensors, and what else a formula may ask for.

    Attributes
    ----------
    arrays : dict of str to array or Source
        Tensors by name, in the shapes that the view shows.
    extents : mapping of str to int
        Extents that the axes themselves do not know: of the batch, of abstract axes.
    unspecified : mapping of str to callable
        Functions that only have a name: ``(argument, order)`` to values.
    partial : callable, optional
        ``(upper, lower)`` to the array of derivatives of one tensor's equation by another tensor.
    held : dict of Expr to array, or None
        Values of ``stop_gradient`` that are held fixed while something else is moved.
    limit : int
        How many terms a sum may have.
    """

    arrays: dict[str, Any]
    extents: Mapping[str, int] = field(default_factory=dict)
    unspecified: Mapping[str, Callable[[Any, int], Any]] = field(default_factory=dict)
    partial: Callable[[str, str], Array] | None = None
    gradient_of_cost: Callable[[], Array] | None = None
    held: dict[tuple[Expr, int], Array] | None = None
    moving: bool = False
    limit: int = MOST_TERMS
    flags: Mapping[str, bool] = field(default_factory=lambda: {"training": True})

    def extent(self, a: Axis) -> int:
        """How many values an axis has here."""
        return self.extents.get(a.name, self.extents["n"]) if a.extent is None else a.extent

    def over(self, e: Expr, axes: Sequence[Axis], fixed: Env | None = None, some: Mapping[Axis, Array] | None = None) -> Array:
        """An index formula for all values of its axes, or for some values of some of them."""
        env: dict[Axis, Any] = dict(fixed or {})
        along = [(some or {}).get(a) for a in axes]
        values = [self._places(self.extent(a)) if v is None else v for a, v in zip(axes, along, strict=True)]
        for k, (a, v) in enumerate(zip(axes, values, strict=True)):
            env[a] = v.reshape([-1] + [1] * (len(axes) - 1 - k))
        with np.errstate(all="ignore"):
            value = self.value(e, env)
        return np.array(np.broadcast_to(value, tuple(len(v) for v in values)))

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
                return self.element(self.arrays[e.value[0]], [self.value(a, env) for a in e.args])
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
                return self.element(self.partial(upper, lower), [self.value(a, env) for a in e.args])
            case "unspecified":
                return self._unspecified(e, env)
            case "draw":
                raise NotImplementedError("a random draw has no value of its own; its tensor is given")
        return FUNCTIONS[e.op](*(self.value(a, env) for a in e.args))

    def element(self, array: Any, subscripts: list[Any]) -> Any:
        """The elements of a tensor at subscripts that broadcast; NaN (0 for integers) outside."""
        if isinstance(array, Source):
            return array.read(subscripts)
        if not subscripts:
            return array[()]
        places = [np.asarray(s) for s in subscripts]
        inside: Any = True
        for k, (s, extent) in enumerate(zip(places, array.shape, strict=True)):
            if s.size and (s.min() < 0 or s.max() >= extent):
                inside = np.logical_and(inside, np.logical_and(s >= 0, s < extent))
                places[k] = np.clip(s, 0, extent - 1)
        values = array[tuple(places)]
        return values if inside is True else np.where(inside, values, math.nan if array.dtype.kind == "f" else 0)

    def _reduced(self, e: Expr, env: Env) -> Any:
        kind, axes = e.value
        if kind in ("sum", "mean") and e.args[0].kind == "real":
            total = summed(e.args[0], axes, env, self.value, self.extent, self.limit)
            return total if kind == "sum" else total / prod(map(self.extent, axes))
        rank = max((np.ndim(v) for v in env.values()), default=0)
        inner = dict(env)
        for k, a in enumerate(axes):
            inner[a] = self._places(self.extent(a)).reshape([-1] + [1] * (rank + len(axes) - 1 - k))
        body = np.asarray(self.value(e.args[0], inner))
        shape = [self.extent(a) for a in axes]
        if prod(shape) * max(1, body.size) > self.limit and body.ndim < rank + len(axes):
            raise TooManyTerms("A reduction is too large to be evaluated.")
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
            return self.element(self.gradient_of_cost(), [self.value(e.args[0].args[-1], env)])
        return self.unspecified[name](self.value(e.args[0], env), order)

    # --- matrices -------------------------------------------------------------------------------------------------------------

    def matrix(self, e: Expr, env: Env, rows: Array | None = None, columns: Array | None = None) -> Array:
        """The value of a matrix form, as a matrix (numbers are 1 x 1), or of some of its rows and columns.

        Where the rows or columns of a part are one, they stand for all.
        """
        with np.errstate(all="ignore"):
            return self._matrix(e, env, rows, columns)

    def _matrix(self, e: Expr, env: Env, rows: Array | None, columns: Array | None) -> Array:
        cost = self.gradient_of_cost
        if e.op == "unspecified" and cost is not None and e.value[0] not in self.unspecified:
            is_row = _has_matrix(e) and len(self._matrix(e.args[0], env, None, None)) == 1
            return cost().reshape((1, -1) if is_row else (-1, 1))
        if not _has_matrix(e):
            return np.asarray(self.value(e, env), dtype=float).reshape(1, 1)
        match e.op:
            case "matrix":
                return self._symbol(e, env, rows, columns)
            case "ones":
                shape = [self._count(a, s) for a, s in zip(e.value, (rows, columns), strict=True)]
                if prod(shape) > self.limit:
                    raise TooManyTerms(f"A matrix of {prod(shape):,} ones is too large to be evaluated.")
                return np.ones(shape)
            case "onehot":
                places = self._places(self.extent(e.value)) if rows is None else rows
                return np.asarray(places == self._integer(e.args[0], env), dtype=float).reshape(-1, 1)
            case "onehot_row":
                places = self._places(self.extent(e.value)) if columns is None else columns
                return np.asarray(places == self._integer(e.args[0], env), dtype=float).reshape(1, -1)
            case "sum_of":
                times = (np.asarray(k) for k in range(self.extent(e.value)))
                return np.asarray(np.sum([self._matrix(e.args[0], {**env, e.value: k}, rows, columns) for k in times], axis=0))
            case "where":
                return np.where(self.value(e.args[0], env), self._matrix(e.args[1], env, rows, columns), 0.0)
            case "transpose":
                return self._matrix(e.args[0], env, columns, rows).T
            case "matmul":
                return self._matrix(e.args[0], env, rows, None) @ self._matrix(e.args[1], env, None, columns)
            case "scaled":
                return self._matrix(e.args[0], env, None, None) * self._matrix(e.args[1], env, rows, columns)
            case "diagonal":
                return self._diagonal(e.args[0], env, rows, columns)
        args = [self._matrix(a, env, rows, columns) for a in e.args]
        match e.op:
            case "hadamard":
                return args[0] * args[1]
            case "hadamard_quotient":
                return args[0] / args[1]
            case "indicator":
                return args[0].astype(float)
            case "unspecified":
                return np.asarray(self.unspecified[e.value[0]](args[0], e.value[1]))
            case "stop":
                return args[0]
        return np.asarray(FUNCTIONS[e.op](*args))

    def _places(self, extent: int) -> Array:
        """All values of an index, if there are not too many."""
        if extent > self.limit:
            raise TooManyTerms(f"An index of {extent:,} values has too many to be evaluated.")
        return np.arange(extent)

    def _count(self, a: Axis | None, some: Array | None) -> int:
        if a is None:
            return 1
        return self.extent(a) if some is None else len(some)

    def _diagonal(self, e: Expr, env: Env, rows: Array | None, columns: Array | None) -> Array:
        if rows is None and columns is None:
            return np.diag(self._matrix(e, env, None, None)[:, 0])
        if rows is None:
            return self._diagonal(e, env, columns, None).T
        values = self._matrix(e, env, rows, None)
        places = np.arange(self._length(e, env)) if columns is None else columns
        return np.where(rows.reshape(-1, 1) == places, values, 0.0)

    def _length(self, e: Expr, env: Env) -> int:
        return len(self._matrix(e, env, None, None))

    def _integer(self, e: Expr, env: Env) -> int:
        """A subscript."""
        value = self._matrix(e, env, None, None) if _has_matrix(e) else np.asarray(self.value(e, env))
        return int(value.item())

    def _symbol(self, e: Expr, env: Env, rows: Array | None, columns: Array | None) -> Array:
        tensor, _, how = e.value
        array = self.arrays[tensor]
        fixed = iter(self._integer(a, env) for a in e.args)
        size = {h: extent for h, extent in zip(how, array.shape, strict=True) if h != "f"}
        asked = {"r": rows, "c": columns}
        along: dict[str, Array] = {h: self._places(n) if (some := asked[h]) is None else some for h, n in size.items()}
        places = {"r": along.get("r", np.zeros(1, int)).reshape(-1, 1), "c": along.get("c", np.zeros(1, int))}
        value = self.element(array, [np.asarray(next(fixed)) if h == "f" else places[h] for h in how])
        shape = len(along.get("r", "1")), len(along.get("c", "1"))
        return np.asarray(np.broadcast_to(value, shape), dtype=float)


def _has_matrix(e: Expr) -> bool:
    return e.op in _MATRIX_OPS or any(_has_matrix(a) for a in e.args)
