"""The check of a derivation: every printed tree evaluated, against differences and against the generated code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.derivation.abstract import abstract_context
from bpcompile.derivation.abstract_world import AbstractWorld
from bpcompile.derivation.context import Context, batch_context, with_inputs
from bpcompile.derivation.document import Equation, Line
from bpcompile.derivation.matrix import orientation
from bpcompile.derivation.numeric import World, random_data, random_world
from bpcompile.derivation.places import tensor_axes
from bpcompile.derivation.view import whole
from bpcompile.nodes.expressions import Axis, Expr, children_first
from bpcompile.nodes.statements import Statement

Array = NDArray[Any]
TOLERANCE: Final = 1e-6
"""The largest error, relative to the largest value, that agreement may have."""

SMALLEST: Final = 1e-3
"""Values below this are compared absolutely."""

MOST_SAMPLES: Final = 6
MOST_JACOBIAN: Final = 4096
"""How many elements a matrix of derivatives may have to be found by differences."""

MOST_GRID: Final = 6_000_000
"""How many terms a line may have in all to be evaluated."""

MOST_WORK: Final = 60_000
"""How many terms a forward pass may have for its equations to be checked by differences."""


@dataclass(frozen=True)
class Row:
    """One equation of the document, checked.

    Attributes
    ----------
    equation : Equation
        What was printed.
    lines : int
        How many of its lines were evaluated.
    differences : float or None
        The largest error against numeric differences (for a ``value``: against the forward pass).
    generated : float or None
        The largest error against what the generated code computed, for gradients that it returns.
    magnitude : float
        The largest value that was compared.
    """

    equation: Equation
    lines: int
    differences: float | None
    generated: float | None
    magnitude: float

    @property
    def passed(self) -> bool:
        """Whether all errors are small."""
        return all(e is None or e <= TOLERANCE for e in (self.differences, self.generated))


@dataclass(frozen=True)
class Check:
    """All rows of the check."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every printed equation holds, and there was one."""
        return bool(self.rows) and all(r.passed for r in self.rows)

    @property
    def worst(self) -> float:
        """The largest error."""
        return max((e for r in self.rows for e in (r.differences, r.generated) if e is not None), default=0.0)


def verify(context: Context, equations: Iterable[Equation], seed: int = 0) -> Check:
    """Check the equations of a derivation on random data."""
    listed = list(equations)
    work = sum(_work(s) for s in context.forward.values())
    if work > MOST_WORK:
        return Check((), (f"One forward pass takes {work:,} terms: too many to evaluate every equation by differences here.",))
    rows: list[Row] = []
    notes: tuple[str, ...] = ()
    checkers: dict[str, _Checker] = {}
    for e in listed:
        if e.claim.kind == "none":
            continue
        if e.world not in checkers:
            checkers[e.world], found = _checker(context, e.world, seed)
            notes = tuple(dict.fromkeys((*notes, *found)))
        row = checkers[e.world].row(e)
        if row is not None:
            rows.append(row)
    return Check(tuple(rows), notes)


def _checker(context: Context, kind: str, seed: int) -> tuple[_Checker, tuple[str, ...]]:
    """The world in which equations of one kind are checked."""
    if kind == "abstract":
        general = abstract_context(context.options)
        world: World = AbstractWorld(general, seed)
        world.values.arrays |= world.adjoints()
        return _Checker(general, world, {}, seed), ()
    here = batch_context(context) if kind == "batch" else with_inputs(context) if kind == "inputs" else context
    data = random_data(here, seed, 3)
    world = random_world(here, seed, 3, data)
    world.values.arrays |= world.adjoints()
    gradients, notes = generated_gradients(here, data)
    return _Checker(here, world, gradients, seed), notes


def generated_gradients(context: Context, data: Mapping[str, Array]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Gradients by the generated NumPy code, on the same data."""
    from bpcompile.driver import compile as compiled

    if context.network is None or any(".draw" in name for name in context.stable):
        return {}, ("The network draws random numbers, so the generated code is not compared; its draws are its own.",)
    wanted = [t.of for t in context.program.tensors.values() if t.role == "gradient"]
    inputs = [name for name in wanted if name not in context.network.parameters]
    model = compiled(context.network, backend="numpy", dtype="float64", wrt=("parameters", *inputs))
    parameters = {name: data[name] for name in context.network.parameters}
    leaves = {*context.network.inputs, *context.network.targets}
    rest: dict[str, Any] = {name: a for name, a in data.items() if name in leaves}
    state = model.init_state()
    for name in context.network.states:
        state[name][...] = data[name]
    _, grads = model.value_and_grad(parameters, state=state, **rest)
    return {name: np.asarray(grads[name], dtype=float) for name in wanted}, ()


def _work(s: Statement) -> int:
    """How many terms an equation has in all, over all its indices."""
    axes = {*s.axes, *(a for e in children_first(whole(s)) if e.op == "reduce" for a in e.value[1])}
    return prod(1 if a.extent is None else a.extent for a in axes)


@dataclass
class _Checker:
    context: Context
    world: World
    gradients: Mapping[str, Array]
    seed: int

    def row(self, e: Equation) -> Row | None:
        """The row of one equation; None for what is only said."""
        lines = [x for x in e.lines if x.tree is not None and self._fits(e, x)]
        if e.claim.kind == "none" or not lines:
            return None
        values = [self.evaluated(e, x) for x in lines]
        if e.claim.kind == "value":
            known = np.array(self.world.values.arrays[e.claim.tensor], dtype=float)
            if isinstance(self.world, AbstractWorld) and known.ndim:
                known[0] = np.nan
            return self.against(e, values, lines, known, None)
        if e.claim.kind == "local":
            if self._is_large(e.claim.tensor, e.claim.by):
                return None
            return self.against(e, values, lines, self.world.jacobian(e.claim.tensor, e.claim.by), None)
        return self.gradient(e, values, lines)

    def _is_large(self, upper: str, lower: str) -> bool:
        arrays = self.world.values.arrays
        return arrays[upper].size * arrays[lower].size > MOST_JACOBIAN

    def _fits(self, e: Equation, x: Line) -> bool:
        """Whether a line can be evaluated on the whole grid of its indices in little memory."""
        assert x.tree is not None
        if any(y.op == "partial" and self._is_large(y.value[0], y.value[1]) for y in children_first(x.tree)):
            return False
        extent = self.world.values.extent
        return x.matrix or prod(map(extent, e.axes)) * _inner_volume(x.tree, extent) <= MOST_GRID

    def gradient(self, e: Equation, values: list[Array], lines: Sequence[Line]) -> Row:
        tensor = e.claim.tensor
        index = [v for v, x in zip(values, lines, strict=True) if not x.matrix]
        if index and not self.context.time and not e.at:
            self.world.values.arrays[f"{tensor}.bar"] = index[-1]
        mask = np.full(self.world.values.arrays[tensor].shape, np.nan)
        if isinstance(self.world, AbstractWorld):
            for layer in self.world.limits(e.label):
                mask[layer] = self.world.values.arrays[f"{tensor}.bar"][layer]
            return self.against(e, values, lines, mask, None)
        fixed = dict(e.at)
        shown = self.context.view.axes(tensor_axes(self.context, tensor))
        wanted = [fixed.get(a) for a in shown]
        places = [p for p in np.ndindex(mask.shape) if all(w is None or w == i for w, i in zip(wanted, p, strict=True))]
        generator = np.random.default_rng(self.seed)
        if len(places) > MOST_SAMPLES:
            chosen = generator.choice(len(places), MOST_SAMPLES, replace=False)
            places = [places[k] for k in sorted(chosen)]
        for place in places:
            mask[place] = self.world.slope(tensor, place)
        generated = self.gradients.get(tensor)
        if generated is not None and self.context.single and self.context.tensor(tensor).shape[:1] == (None,):
            generated = generated[0]
        if fixed:
            mask = mask[tuple(slice(None) if w is None else w for w in wanted)]
        return self.against(e, values, lines, mask, generated)

    def evaluated(self, e: Equation, line: Line) -> Array:
        """The value of one line, over the axes of the equation."""
        assert line.tree is not None
        if not line.matrix:
            return self.world.values.over(line.tree, e.axes)
        return matrix_value(self.world, line, e.axes, self.context)

    def against(
        self, e: Equation, values: list[Array], lines: Sequence[Line], numeric: Array, generated: Array | None
    ) -> Row:
        known = ~np.isnan(numeric)
        magnitude = float(np.max(np.abs(numeric[np.isfinite(numeric)]), initial=0.0))
        scale = max(SMALLEST, magnitude)
        error = max(_largest(_distance(v, numeric)[known]) for v in values) / scale
        other = None if generated is None else max(_largest(_distance(v, generated)) for v in values) / scale
        return Row(e, len(lines), error, other, magnitude)


def _inner_volume(e: Expr, extent: Callable[[Axis], int]) -> int:
    """How many terms the sums of a formula have, sums within sums multiplied."""
    inner = max((_inner_volume(a, extent) for a in e.args), default=1)
    return inner * prod(map(extent, e.value[1])) if e.op == "reduce" else inner


def _distance(a: Array, b: Array) -> Array:
    """How far apart; equal infinities are not."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, np.abs(a - b))


def _largest(errors: Array) -> float:
    """The largest error; NaN counts as infinite."""
    if not errors.size:
        return 0.0
    return float(np.max(np.where(np.isnan(errors), np.inf, errors)))


def matrix_value(world: World, line: Line, axes: Sequence[Axis], context: Context) -> Array:
    """A matrix form for all values of its fixed axes, in the order of the axes."""
    assert line.tree is not None
    fixed = [a for a in axes if a.name in context.time]
    free = [a for a in axes if a not in fixed]
    layout = context.layout(fixed)
    shape = orientation(axes, layout)
    assert shape is not None
    flipped = len(free) == 2 and shape[0] != free[0]
    result = np.empty([world.values.extent(a) for a in axes])
    for place in np.ndindex(*[world.values.extent(a) for a in fixed]):
        env = {a: np.asarray(i) for a, i in zip(fixed, place, strict=True)}
        value = world.values.matrix(line.tree, env)
        value = value.T if flipped != line.turned else value
        at = tuple(place[fixed.index(a)] if a in fixed else slice(None) for a in axes)
        result[at] = value.reshape([world.values.extent(a) for a in free])
    return result
