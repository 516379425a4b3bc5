"""The check of networks of any size: each equation at a sample of elements, against differences of its readers."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.derivation.axes import apart, unshadowed
from bpcompile.derivation.checks import Row, compared
from bpcompile.derivation.context import Context
from bpcompile.derivation.contraction import TooManyTerms
from bpcompile.derivation.document import Equation, Line
from bpcompile.derivation.drawn import DrawnWorld
from bpcompile.derivation.exact import inner_volume, matrix_value
from bpcompile.derivation.local import Local, local_derivatives
from bpcompile.derivation.moving import grid, moved_slope, readers, slope
from bpcompile.derivation.numeric import World
from bpcompile.derivation.places import tensor_axes
from bpcompile.derivation.view import whole
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, children_first, substitute

Array = NDArray[Any]
Some = dict[Axis, Array]
ELEMENTS: Final = 64
"""At how many elements an equation is evaluated."""

MOVED: Final = 4
"""How many elements of a tensor are moved."""

BESIDE: Final = 8
"""How many elements are moved for a local derivative: one that is read, and others."""

LIMIT: Final = 40_000_000
"""How many terms the sums of one line may have, at all of its elements; fewer elements are taken where they have more."""


@dataclass
class Sampled:
    """Checks equations of one world."""

    context: Context
    world: World | DrawnWorld
    gradients: Mapping[str, Array]
    seed: int
    read_by: Mapping[str, Sequence[str]] = field(init=False)
    locals: dict[str, list[Local]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.read_by = readers(self.context)
        self.world.values.limit = LIMIT

    def row(self, e: Equation) -> Row:
        """The row of one equation."""
        if isinstance(self.world, DrawnWorld):
            self.world.enter(e.claim.tensor, recursive=bool(e.at))
        generator = np.random.default_rng([self.seed, zlib.crc32(e.label.encode())])
        lines = [x for x in e.lines if x.tree is not None]
        trees = [x.tree if x.matrix or x.tree is None else self.with_derivatives(x.tree) for x in lines]
        size = prod(self.world.values.extent(a) for a in e.axes)
        most = min(ELEMENTS, size)
        best: tuple[list[Array], Some, int] = ([], {}, len(lines))
        while most >= 1:
            some = self.places(e, generator, most)
            values, skipped = self.evaluated(e, lines, trees, some)
            if not best[0] or skipped < best[2]:
                best = (values, some, skipped)
            if not skipped:
                break
            most //= 8
        values, some, skipped = best
        if not values:
            return compared(e, [], np.full((), np.nan), None, size, skipped)
        try:
            known, rounding, generated = self.known(e, some, values[-1], generator)
        except TooManyTerms:
            known, rounding, generated = np.full([len(some[a]) for a in e.axes], np.nan), np.zeros(()), None
        return compared(e, values, known, generated, size, skipped, rounding)

    def evaluated(
        self, e: Equation, lines: Sequence[Line], trees: Sequence[Expr | None], some: Some
    ) -> tuple[list[Array], int]:
        """The values of the lines at a sample, and how many have too many terms."""
        values: list[Array] = []
        for x, tree in zip(lines, trees, strict=True):
            assert tree is not None
            try:
                if x.matrix:
                    values.append(matrix_value(self.world, x, e.axes, self.context, some))
                else:
                    values.append(self.world.values.over(tree, e.axes, None, some))
            except TooManyTerms:
                continue
        return values, len(lines) - len(values)

    def with_derivatives(self, e: Expr) -> Expr:
        """Partial derivatives replaced by what section 2 says of them, with their deltas."""
        result = e
        for x in [x for x in children_first(e) if x.op == "partial"]:
            upper, lower, _ = x.value
            found = next(d for d in self.local(upper) if d.lower == lower)
            axes = (*found.upper_axes, *found.lower_axes)
            tree = apart(found.with_deltas, [a for s in x.args for a in axes_of(s)])
            result = substitute(result, {x: substitute(tree, {axis(a): s for a, s in zip(axes, x.args, strict=True)})})
        return unshadowed(result)

    def local(self, target: str) -> list[Local]:
        """The local derivatives of an equation, computed once."""
        if target not in self.locals:
            self.locals[target] = local_derivatives(self.context, target)
        return self.locals[target]

    # --- which elements ---------------------------------------------------------------------------------------------

    def places(self, e: Equation, generator: np.random.Generator, most: int) -> Some:
        """Some values of each axis; of a local derivative, such that what is read is among the elements."""
        extent = self.world.values.extent
        if e.claim.kind != "local":
            return some_of(e.axes, extent, generator, most)
        count = len(self.context.view.axes(tensor_axes(self.context, e.claim.tensor)))
        upper, lower = e.axes[:count], e.axes[count:]
        some = some_of(upper, extent, generator, max(1, most // 8))
        beside: dict[Axis, list[int]] = {a: [] for a in lower}
        rest = some_of(lower, extent, generator, 1)
        for k in range(max((len(v) for v in some.values()), default=1)):
            at = {a: int(v[min(k, len(v) - 1)]) for a, v in some.items()}
            for place in [*self.read_places(e, upper, at, generator), tuple(int(rest[a][0]) for a in lower)]:
                wider = {a: list(dict.fromkeys([*beside[a], i])) for a, i in zip(lower, place, strict=True)}
                beside = wider if prod(map(len, wider.values())) <= BESIDE else beside
        some |= {a: np.union1d(some.get(a, np.empty(0, int)), np.array(v, int)) for a, v in beside.items()}
        return some

    def read_places(
        self, e: Equation, upper: Sequence[Axis], at: Mapping[Axis, int], generator: np.random.Generator
    ) -> list[tuple[int, ...]]:
        """Elements of the lower tensor that one element of the upper one reads."""
        renamed = dict(zip(self.context.view.axes(tensor_axes(self.context, e.claim.tensor)), upper, strict=True))
        shape = [self.world.values.extent(a) for a in self.context.view.axes(tensor_axes(self.context, e.claim.by))]
        found: list[tuple[int, ...]] = []
        for p in self.context.paths(e.claim.tensor):
            if p.tensor != e.claim.by:
                continue
            env: dict[Axis, Any] = {a: np.asarray(at[b]) for a, b in renamed.items()}
            env |= {a: np.asarray(generator.integers(0, self.world.values.extent(a))) for a in self.context.view.axes(p.over)}
            trees = [self.context.view.tree(i) for i in self.subscripts(e.claim.by, p.subscripts)]
            place = tuple(int(np.asarray(self.world.values.value(i, env))) for i in trees)
            found += [place] if all(0 <= i < n for i, n in zip(place, shape, strict=True)) else []
        return found

    def subscripts(self, tensor: str, subscripts: Sequence[Expr]) -> list[Expr]:
        """Those that are shown: without the batch where one example is."""
        shape = self.context.tensor(tensor).shape
        return [i for i, extent in zip(subscripts, shape, strict=True) if not (self.context.single and extent is None)]

    # --- what is known of them ----------------------------------------------------------------------------------------

    def known(
        self, e: Equation, some: Some, said: Array, generator: np.random.Generator
    ) -> tuple[Array, Array, Array | None]:
        """What the elements should be, NaN where that was not found; its rounding; and what the generated code says.

        Elements that are ``said`` to be zero are moved last, so that no agreement is one of zeros alone.
        """
        shape = tuple(len(some[a]) for a in e.axes)
        tensor = e.claim.tensor
        if e.claim.kind == "value":
            return self.forward(tensor, e.axes, some), np.zeros(()), None
        known, rounding = np.full(shape, np.nan), np.zeros(shape)
        if e.claim.kind == "local":
            return *self.jacobian(e, some, known, rounding), None
        fixed = dict(e.at)
        shown = self.context.view.axes(tensor_axes(self.context, tensor))
        shuffled = generator.permutation(prod(shape))
        order = shuffled[np.argsort(said.reshape(-1)[shuffled] == 0.0, kind="stable")][: 3 * MOVED]
        cost = self.cost_of_moving(tensor)
        for k in order:
            if np.sum(~np.isnan(known)) >= max(1, min(MOVED, LIMIT // cost)):
                break
            place = np.unravel_index(k, shape)
            at = dict(zip(e.axes, (int(some[a][i]) for a, i in zip(e.axes, place, strict=True)), strict=True))
            whole_place = tuple(fixed[a] if a in fixed else at[a] for a in shown)
            try:
                known[place], rounding[place] = slope(self.context, self.world.values, self.read_by, tensor, whole_place)
            except TooManyTerms:
                break
        generated = self.gradients.get(tensor)
        if generated is None or fixed:
            return known, rounding, None
        array = generated[0] if self.context.single and self.context.tensor(tensor).shape[:1] == (None,) else generated
        said_by_code = array[np.ix_(*[some[a] for a in e.axes])] if e.axes else array
        return known, rounding, np.asarray(said_by_code, dtype=float)

    def cost_of_moving(self, tensor: str) -> int:
        """About how many terms it takes to move one element: those of the largest reader, along one of its axes."""
        extent = self.world.values.extent
        most = 1
        for y in self.read_by.get(tensor, ()):
            s = self.context.stable[y]
            tree = self.context.view.tree(whole(s))
            widest = max((extent(a) for a in self.context.view.axes(s.axes)), default=1)
            most = max(most, widest * inner_volume(tree, extent))
        return most

    def forward(self, tensor: str, axes: Sequence[Axis], some: Some) -> Array:
        """The values of the forward pass; where there is none, of the equation as it was typed."""
        if isinstance(self.world, DrawnWorld):
            s = self.context.forward.get(tensor) or self.context.stable[tensor]
            own = self.context.view.axes(s.axes)
            named = {a: some[b] for a, b in zip(own, axes, strict=True)}
            return self.world.values.over(self.context.view.tree(whole(s)), own, None, named)
        found = self.world.values.element(self.world.values.arrays[tensor], list(grid(some, axes)))
        return np.array(np.broadcast_to(found, tuple(len(some[a]) for a in axes)), dtype=float)

    def jacobian(self, e: Equation, some: Some, known: Array, rounding: Array) -> tuple[Array, Array]:
        """Differences of one equation."""
        s = self.context.stable[e.claim.tensor]
        own = self.context.view.axes(s.axes)
        upper, lower = e.axes[: len(own)], e.axes[len(own) :]
        named = {a: some[b] for a, b in zip(own, upper, strict=True)}
        tree = self.context.view.tree(whole(s))
        for place in np.ndindex(*[len(some[a]) for a in lower]):
            at = tuple(int(some[a][i]) for a, i in zip(lower, place, strict=True))
            known[(..., *place)], rounding[(..., *place)] = moved_slope(self.world.values, tree, own, named, e.claim.by, at)
        return known, rounding


def some_of(axes: Sequence[Axis], extent: Callable[[Axis], int], generator: np.random.Generator, most: int) -> Some:
    """Distinct values of each axis, so many that their combinations are at most ``most``."""
    counts = dict.fromkeys(axes, 1)
    while True:
        open_ = [a for a in axes if counts[a] < extent(a)]
        grown = [a for a in open_ if prod(counts.values()) // counts[a] * (counts[a] + 1) <= most]
        if not grown:
            break
        counts[min(grown, key=lambda a: counts[a])] += 1
    return {a: np.sort(generator.choice(extent(a), counts[a], replace=False)) for a in axes}
