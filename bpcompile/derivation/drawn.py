"""Networks that are too large for one forward pass of the evaluator: each equation holds for any values of what it reads.

Parameters, inputs, sums of products and errors are drawn: an element is a function of its place, so that no array is
made. What is a function of these (activations, softmax, statistics) is computed from its own equation where it is read,
because simplified derivatives are written in terms of such values.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.calculus.differentiate import adjoint_name
from bpcompile.calculus.forward import LOSS
from bpcompile.derivation.context import Context
from bpcompile.derivation.evaluate import Evaluator, Source
from bpcompile.derivation.numeric import GIVEN, scale_of
from bpcompile.derivation.products import factors
from bpcompile.derivation.steps import adjoint, inlined, short_adjoint
from bpcompile.derivation.view import whole
from bpcompile.nodes.expressions import Axis, Expr, children_first, loads
from bpcompile.nodes.statements import Tensor

Array = NDArray[Any]


@dataclass
class Drawn(Source):
    """Numbers that depend on their place alone: integers below ``classes``, or reals away from zero."""

    shape: tuple[int, ...]
    seed: int
    classes: int = 0
    low: float = 0.2
    high: float = 0.9
    signed: bool = True

    def read(self, subscripts: Sequence[Any]) -> Any:
        """The numbers at these places; NaN outside."""
        inside: Any = True
        flat = np.asarray(self.seed, dtype=np.uint64)
        for s, extent in zip(subscripts, self.shape, strict=True):
            here = np.asarray(s)
            if np.any(here < 0) or np.any(here >= extent):
                inside = np.logical_and(inside, np.logical_and(here >= 0, here < extent))
            with np.errstate(over="ignore"):
                flat = _mixed(flat * np.uint64(0x9E3779B97F4A7C15) + np.clip(here, 0, extent - 1).astype(np.uint64))
        flat = _mixed(flat)
        if self.classes:
            return np.where(inside, (flat % np.uint64(self.classes)).astype(np.int64), 0)
        unit = (flat >> np.uint64(11)).astype(float) * 2.0**-53
        value = self.low + (self.high - self.low) * unit
        signs = np.where(flat & np.uint64(1), 1.0, -1.0) if self.signed else 1.0
        return np.where(inside, value * signs, np.nan) if inside is not True else value * signs


def _mixed(x: Any) -> Any:
    """A finalizer of Vigna's splitmix64."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        return x ^ (x >> np.uint64(27))


FEW: Final = 65_536
"""Tensors with a sum in their formula that have at most so many elements are computed once."""

UNROLLED: Final = 3
"""How many steps of a recursion are written out, and computed."""

BLOCK: Final = 32


@dataclass
class Defined(Source):
    """A tensor computed from its formula where it is read."""

    shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    tree: Expr
    values: Evaluator
    stored: Array | None = None

    def __post_init__(self) -> None:
        self.is_small = prod(self.shape) <= FEW and any(x.op == "reduce" for x in children_first(self.tree))

    def store(self) -> Array:
        """All elements, a few at a time."""
        if self.stored is None:
            found = np.empty(self.shape, dtype=np.int64 if self.tree.kind == "int" else float)
            *outer, last = self.shape or (1,)
            for place in np.ndindex(*outer):
                for start in range(0, last, BLOCK):
                    part = [*(np.array([p]) for p in place), np.arange(start, min(start + BLOCK, last))]
                    some = dict(zip(self.axes, part, strict=False))
                    at = (*place, slice(start, start + BLOCK)) if self.shape else ()
                    found[at] = self.values.over(self.tree, self.axes, None, some).reshape(found[at].shape)
            self.stored = found
        return self.stored

    def read(self, subscripts: Sequence[Any]) -> Any:
        """The values at these places; NaN outside."""
        if self.is_small and prod(np.broadcast_shapes(*(np.shape(s) for s in subscripts))) > BLOCK:
            return self.values.element(self.store(), list(subscripts))
        env: dict[Axis, Any] = {}
        outside: Any = False
        for a, s, extent in zip(self.axes, subscripts, self.shape, strict=True):
            here = np.asarray(s)
            if np.any(here < 0) or np.any(here >= extent):
                outside = np.logical_or(outside, np.logical_or(here < 0, here >= extent))
            env[a] = np.clip(here, 0, extent - 1)
        value = self.values.value(self.tree, env)
        if outside is False:
            return value
        return np.where(outside, 0 if self.tree.kind == "int" else np.nan, value)


class DrawnWorld:
    """Values for all tensors of a network, none of them stored.

    Attributes
    ----------
    context : Context
        Whose trees are evaluated.
    values : Evaluator
        With every tensor; for adjoints, call `enter` first.
    """

    def __init__(self, context: Context, n: int, seed: int) -> None:
        self.context, self.n, self.seed = context, n, seed
        self.values = Evaluator({}, {"n": n}, held={})
        for name, t in context.view.tensors.items():
            if not name.endswith(".bar"):
                self.values.arrays[name] = self._drawn(name, t)
        for name, (axes, tree) in computed(context).items():
            self.values.arrays[name] = Defined(self._shape(name), axes, tree, self.values)
        self.bars = {adjoint_name(t): self._drawn(adjoint_name(t), context.tensor(t)) for t in context.collected}
        self.inner = Evaluator({**self.values.arrays, **self.bars}, {"n": n}, held={})

    def enter(self, tensor: str, recursive: bool = False) -> None:
        """Make the adjoints ready for the equation of one tensor: short ones are put in there, so they are computed.

        Of a recursion that is unrolled, the tensor's own adjoint is computed from it.
        """
        self.values.arrays |= self.bars
        own = adjoint(self.context, tensor)
        asked = () if own is None or own.simplified is None else loads(own.simplified)
        for name in dict.fromkeys(x.value[0] for x in asked if x.value[0].endswith(".bar")):
            other = name.removesuffix(".bar")
            known = None if other == tensor else short_adjoint(self.context, other)
            if known is not None and known.simplified is not None:
                source = self.values if recursive else self.inner
                self.values.arrays[name] = Defined(self._shape(other), known.axes, known.simplified, source)
        for y in self.context.collected:
            found = adjoint(self.context, y) if not self.context.has_adjoint(y) and y != LOSS else None
            if found is not None and found.simplified is not None:
                self.values.arrays[adjoint_name(y)] = Defined(self._shape(y), found.axes, found.simplified, self.values)
        if recursive and own is not None and own.simplified is not None:
            tree, values = inlined(self.context, own.simplified, tensor), self.inner
            for _ in range(UNROLLED):
                again = Defined(self._shape(tensor), own.axes, tree, values)
                values = Evaluator({**self.values.arrays, adjoint_name(tensor): again}, {"n": self.n}, held={})
            self.values.arrays[adjoint_name(tensor)] = again

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.n if e is None else e for e in self.context.view.shape(name))

    def _drawn(self, name: str, t: Tensor) -> Drawn:
        seed = zlib.crc32(f"{self.seed} {name}".encode())
        shape = self._shape(name.removesuffix(".bar"))
        if name.rpartition(".")[2].startswith("draw"):
            return Drawn(shape, seed, 2)
        if t.kind == "int" and not name.endswith(".bar"):
            return Drawn(shape, seed, t.classes or 2)
        positive = t.role in ("target", "state") and not name.endswith(".bar")
        scale = scale_of(shape) if t.role == "parameter" and not name.endswith(".bar") else 1.0
        return Drawn(shape, seed, low=0.2 * scale, high=0.9 * scale, signed=not positive)

def computed(context: Context) -> dict[str, tuple[tuple[Axis, ...], Expr]]:
    """The tensors that are computed from their equations, with these: no sums of products, no draws, no recursion."""
    found: dict[str, tuple[tuple[Axis, ...], Expr]] = {}
    for name, s in context.stable.items():
        tree = context.view.tree(whole(s))
        parts = children_first(tree)
        if s.plain and context.tensor(name).role not in GIVEN and not any(_contracts(e) or e.op == "draw" for e in parts):
            found[name] = (context.view.axes(s.axes), tree)
    while (circle := _circle({name: [x.value[0] for x in loads(tree)] for name, (_, tree) in found.items()})) is not None:
        del found[circle]
    return found


def _circle(reads: Mapping[str, Sequence[str]]) -> str | None:
    """A tensor that depends on itself, through others perhaps; None where there is none."""
    done: set[str] = set()
    for root in reads:
        path: list[str] = []
        stack = [(root, iter(reads[root]))] if root not in done else []
        while stack:
            name, rest = stack[-1]
            if len(path) < len(stack):
                path.append(name)
            following = next((r for r in rest if r in reads and r not in done), None)
            if following is None:
                done.add(name)
                stack.pop()
                path.pop()
            elif following in path:
                return following
            else:
                stack.append((following, iter(reads[following])))
    return None


def _contracts(e: Expr) -> bool:
    """Whether a formula is a sum of products of two tensors."""
    if e.op != "reduce" or e.value[0] != "sum":
        return False
    parts = factors(e.args[0])
    return len({x.value[0] for p in parts for x in loads(p)}) > 1 and len([p for p in parts if loads(p)]) > 1
