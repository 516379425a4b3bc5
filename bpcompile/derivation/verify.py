"""The check of a derivation: every printed tree evaluated, against differences and against the generated code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.derivation.abstract import abstract_context
from bpcompile.derivation.abstract_world import AbstractWorld
from bpcompile.derivation.checks import Check, Row, compared
from bpcompile.derivation.context import Context, batch_context, with_inputs
from bpcompile.derivation.document import Equation
from bpcompile.derivation.drawn import DrawnWorld
from bpcompile.derivation.exact import Exact
from bpcompile.derivation.numeric import GIVEN, World, random_data, random_world
from bpcompile.derivation.sampled import Sampled
from bpcompile.derivation.view import whole
from bpcompile.nodes.expressions import children_first
from bpcompile.nodes.statements import Statement

__all__ = ["Check", "Row", "verify"]

Array = NDArray[Any]
Progress = Callable[[int, int], None]

MOST_WORK: Final = 60_000
"""How many terms a forward pass may have for its equations to be checked by differences of the cost."""

MOST_FORWARD: Final = 1_000_000_000
"""How many terms a forward pass may have to be computed by the evaluator, and by the generated code beside it."""

MOST_NUMBERS: Final = 50_000_000
"""How many numbers may be given for that; some ten arrays of this size are in memory at once."""

MOST_ELEMENTS: Final = 100_000_000
"""How many elements a tensor may have for equations to be evaluated at all: some read the whole of it."""


def verify(context: Context, equations: Iterable[Equation], seed: int = 0, progress: Progress | None = None) -> Check:
    """Check the equations of a derivation on random data.

    Parameters
    ----------
    context : Context
        Whose equations they are.
    equations : iterable of Equation
        As printed.
    seed : int
        Of the data, and of the sample of elements.
    progress : callable, optional
        Called with how many equations are done, and how many there are.
    """
    listed = [e for e in equations if e.claim.kind != "none" and any(x.tree is not None for x in e.lines)]
    rows: list[Row] = []
    notes: dict[str, None] = {}
    worlds: dict[str, _World] = {}
    models: dict[tuple[str, ...], Any] = {}
    for k, e in enumerate(listed):
        if progress is not None:
            progress(k, len(listed))
        if e.world not in worlds:
            worlds[e.world], found = _world(context, e.world, seed, models)
            notes |= dict.fromkeys(found)
        rows.append(worlds[e.world].row(e))
    if progress is not None:
        progress(len(listed), len(listed))
    return Check(tuple(rows), tuple(notes))


@dataclass
class _World:
    """How equations of one kind are checked: at all elements where that is quick, at a sample of them, or not at all."""

    exact: Exact | None
    sampled: Sampled | None

    def row(self, e: Equation) -> Row:
        if self.exact is not None and (self.sampled is None or self.exact.takes(e)):
            return self.exact.row(e)
        if self.sampled is None:
            return compared(e, [], np.full((), np.nan), None, skipped=sum(x.tree is not None for x in e.lines))
        return self.sampled.row(e)


def _world(
    context: Context, kind: str, seed: int, models: dict[tuple[str, ...], Any]
) -> tuple[_World, tuple[str, ...]]:
    if kind == "abstract":
        general = abstract_context(context.options)
        world: World = AbstractWorld(general, seed)
        world.values.arrays |= world.adjoints()
        return _World(Exact(general, world, {}, seed), None), ()
    here = batch_context(context) if kind == "batch" else with_inputs(context) if kind == "inputs" else context
    largest = max(prod(e or 1 for e in t.shape) for t in here.view.tensors.values())
    if largest > MOST_ELEMENTS:
        return _World(None, None), (f"A tensor of this network has {largest:,} elements: no equation was evaluated.",)
    work = sum(terms_of(s) for s in here.forward.values())
    numbers = sum(prod(e or 1 for e in t.shape) for t in here.view.tensors.values() if t.role in GIVEN)
    if work > MOST_FORWARD or numbers > MOST_NUMBERS:
        note = (
            f"One forward pass of this network has {work:,} terms, and {numbers:,} numbers are given to it. So there is none"
            " here: every equation was checked on its own, with values drawn for what it reads, and with differences of the"
            " equations that read its tensor. For an equation that holds for any values, that is enough; the generated code was"
            " not compared."
        )
        return _World(None, Sampled(here, DrawnWorld(here, 2, seed), {}, seed)), (note,)
    data = random_data(here, seed, 3)
    world = random_world(here, seed, 3, data)
    world.values.arrays |= world.adjoints()
    asked = context.inputs or here
    inputs = tuple(t.of for t in asked.program.tensors.values() if t.role == "gradient" and t.of in asked.network_inputs)
    if inputs not in models:
        models[inputs] = _compiled(here, inputs)
    gradients, notes = generated_gradients(here, data, models[inputs])
    sampled = Sampled(here, world, gradients, seed)
    return _World(Exact(here, world, gradients, seed) if work <= MOST_WORK else None, sampled), notes


def _compiled(context: Context, inputs: tuple[str, ...]) -> Any:
    """The generated NumPy code, with the gradients of these inputs too; None where its random draws would be its own."""
    from bpcompile.driver import compile as compiled

    if context.network is None or any(".draw" in name for name in context.stable):
        return None
    return compiled(context.network, backend="numpy", dtype="float64", wrt=("parameters", *inputs))


def generated_gradients(
    context: Context, data: Mapping[str, Array], model: Any
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Gradients by the generated code, on the same data."""
    if model is None or context.network is None:
        return {}, ("The network draws random numbers, so the generated code is not compared; its draws are its own.",)
    parameters = {name: data[name] for name in context.network.parameters}
    rest: dict[str, Any] = {name: a for name, a in data.items() if name in context.network_inputs}
    state = model.init_state()
    for name in context.network.states:
        state[name][...] = data[name]
    _, grads = model.value_and_grad(parameters, state=state, **rest)
    wanted = [t.of for t in context.program.tensors.values() if t.role == "gradient"]
    return {name: np.asarray(grads[name], dtype=float) for name in wanted}, ()


def terms_of(s: Statement) -> int:
    """How many terms an equation has in all, over all its indices."""
    axes = {*s.axes, *(a for e in children_first(whole(s)) if e.op == "reduce" for a in e.value[1])}
    return prod(1 if a.extent is None else a.extent for a in axes)
