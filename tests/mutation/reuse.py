"""The passes that decide what is kept, for how long, and in which order: broken on purpose, a stale value each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bpcompile import driver
from bpcompile.emit.c import module
from bpcompile.nodes.access import reads
from bpcompile.nodes.expressions import axis, const, substitute
from bpcompile.nodes.statements import Statement
from bpcompile.program import contract, memory, panels, portions, schedule, tile_loops, tile_text, tiles, unroll
from bpcompile.program.schedule_types import BatchLoop, Contraction, KernelLoop
from tests.mutation.mutants import Mutant, Patch

IN_PORTIONS = ((portions, "PORTION", 2000), (portions, "LEAST_KERNELS", 1), (portions, "WEIGHT", 1e9))
IN_TILES = ((tiles, "LARGE", 48), (tiles, "GROWTH", 2), (tiles, "TILE", 24), (tiles, "SHORTEST", 2))
IN_CONTRACTIONS = ((contract, "MINIMUM_PRODUCTS", 1), (contract, "MINIMUM_SIDE", 2))
ON_THREADS = ((module, "THRESHOLD", 1),)


def _instead(owner: Any, name: str, value: Any) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(owner, name, value)


def _changed(owner: Any, name: str, change: Callable[..., Any]) -> Callable[[Patch], None]:
    """Let a function's result pass through another one, which gets the arguments as well."""

    def apply(patch: Patch) -> None:
        original = getattr(owner, name)
        patch.setattr(owner, name, lambda *a, **k: change(original(*a, **k), *a, **k))

    return apply


# --- portions of the batch, parts of large temporaries --------------------------------------------------------------------


def _sums_start_anew(s: Statement, placed: tile_loops.Placed, *_: Any) -> Statement:
    return dataclasses.replace(s, accumulate=placed.statement.accumulate)


def _first_part_alone(s: Statement, _placed: Any, lines: Sequence[tile_loops.Line], _homes: Any) -> Statement:
    return dataclasses.replace(s, body=substitute(s.body, {axis(line.loop): const(0) for line in lines if line.loop}))


def _all_alone(homes: Mapping[str, tuple[bool, Any]], *_: Any) -> dict[str, tuple[bool, Any]]:
    return {name: (True, dims) for name, (_, dims) in homes.items()}


def _halos_one_short(steps: Sequence[Any], *_: Any) -> tuple[Any, ...]:
    def shorter(kernel: Any) -> Any:
        if not isinstance(kernel, Contraction) or kernel.halo is None:
            return kernel
        return dataclasses.replace(kernel, halo=dataclasses.replace(kernel.halo, low=kernel.halo.low + 1))

    loops = KernelLoop | BatchLoop
    return tuple(dataclasses.replace(s, body=tuple(map(shorter, s.body))) if isinstance(s, loops) else shorter(s) for s in steps)


# --- order, memory, copies of a layer -------------------------------------------------------------------------------------


def _gradient_before_its_operand(program: Any, *_: Any) -> Any:
    steps = list(program.steps)
    for k in range(1, len(steps)):
        before, s = steps[k - 1], steps[k]
        plain = isinstance(s, Statement) and isinstance(before, Statement)
        if plain and program.tensors[s.target].role == "gradient" and before.target in reads(s) and not before.accumulate:
            steps[k - 1 : k + 1] = [s, before]
            return program.with_steps(tuple(steps))
    return program


def _given_away_early(live: dict[str, tuple[int, int]], *_: Any) -> dict[str, tuple[int, int]]:
    return {name: (first, max(first, last - 2)) for name, (first, last) in live.items()}


def _two_copies_back(patch: Patch) -> None:
    original = unroll._renaming

    def further(bases: Any, periods: Any, places: Mapping[int, int]) -> Any:
        return original(bases, periods, {p: max(0, k - (p == unroll.FIRST)) for p, k in places.items()})

    patch.setattr(unroll, "_renaming", further)


def _neighbours_adjoint(patch: Patch) -> None:
    original = unroll._renaming

    def nearer(bases: Any, periods: Any, places: Mapping[int, int]) -> Any:
        middle = places[unroll.MIDDLE]
        return original(bases, periods, {p: middle if p == unroll.LAST and len(places) == 3 else k for p, k in places.items()})

    patch.setattr(unroll, "_renaming", nearer)


# --- threads --------------------------------------------------------------------------------------------------------------


def _text_everywhere(pattern: str, replacement: str) -> Callable[[Patch], None]:
    def change(made: Any, *_: Any) -> Any:
        text, count = re.subn(pattern, replacement, made.c_text)
        assert count, f"nothing to change: {pattern}"
        return dataclasses.replace(made, c_text=text)

    return _changed(driver, "emit_module", change)


REUSE = [
    Mutant("portions: a sum over the batch keeps the last portion alone", "images",
           _instead(portions, "_growing", lambda kernel, tensors: kernel), "c", IN_PORTIONS),
    Mutant("portions: what is summed over all of them is read before", "images",
           _instead(portions._Part, "precedes", lambda self, s: False), "c", IN_PORTIONS),
    Mutant("portions: the last, shorter one left out", "images",
           _text_everywhere(r"first < n; first \+=", "first < n - 1; first +="), "c", IN_PORTIONS),
    Mutant("tiles: a sum over the parts starts anew with each", "attention", _changed(tile_text, "_placed", _sums_start_anew), "c", IN_TILES),
    Mutant("tiles: every part computes the first one", "attention", _changed(tile_text, "_placed", _first_part_alone), "c", IN_TILES),
    Mutant("tiles: one part kept of what a later loop reads", "attention", _changed(tile_text, "_homes", _all_alone), "c", IN_TILES),
    Mutant("tiles: a sum over the parts read before it is complete", "pairs",
           _instead(tile_loops._Open, "fits", lambda self, s, along: True), "c", IN_TILES),
    Mutant("panels: packed once of what the loop changes", "mixed pairs",
           _instead(panels, "kernel_statements", lambda kernel: ()), "c", (*IN_TILES, (tiles, "TILE", 64), *IN_CONTRACTIONS)),
    Mutant("halos: one product left out that is not zero", "padded", _changed(schedule, "with_halos", _halos_one_short), "c", IN_CONTRACTIONS),
    Mutant("arrange: a gradient before its operand", "dense", _changed(driver, "improve", _gradient_before_its_operand), "c"),
    Mutant("memory: given away while it is read", "images", _changed(memory, "_liveness", _given_away_early), "c"),
    Mutant("memory: a scatter onto what was not cleared", "embedding", _instead(schedule, "_with_clears", lambda program, steps: steps), "c"),
    Mutant("unroll: copies of a layer in the forward order on the way back", "deep", _instead(unroll, "_order", lambda before, after: 1), "c"),
    Mutant("unroll: a copy reads what the one before the last made", "deep", _two_copies_back),
    Mutant("unroll: a copy takes its own adjoint for the next one's", "deep", _neighbours_adjoint, "c"),
    Mutant("threads: the last row of each part is left out", "wide",
           _text_everywhere(r"(bp_begin\(a->units, a->tasks, index \+ 1\))\)", r"\1 - 1)"), "c", ON_THREADS, 2),
    Mutant("threads: each part begins one row late", "wide",
           _text_everywhere(r"(bp_begin\(a->units, a->tasks, index\))", r"\1 + 1"), "c", ON_THREADS, 2),
    Mutant("threads: the last part is left out", "wide", _text_everywhere(r"&all, all\.tasks\)", "&all, all.tasks - 1)"), "c", ON_THREADS, 2),
]  # fmt: skip
