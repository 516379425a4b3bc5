"""Large temporaries are made part by part, with the same results in less memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.calculus.gradient import analyze, training
from bpcompile.nodes.access import elements
from bpcompile.nodes.statements import Program, TimeLoop
from bpcompile.program import tiles
from bpcompile.program.accumulate import settle_accumulations
from bpcompile.program.parts import assign_parts
from bpcompile.program.passes import improve
from bpcompile.program.schedule import schedule
from bpcompile.program.schedule_types import KernelLoop
from bpcompile.program.tiles import in_tiles
from bpcompile.program.verify import verify
from tests.program.build import Builder
from tests.program.interpret import random_inputs, run_program, run_schedule
from tests.program.test_schedule import assert_same
from tests.random import checks
from tests.random.choices import Seeded
from tests.random.networks import network


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tensors are large, so that small networks are tiled."""
    monkeypatch.setattr(tiles, "LARGE", 48)
    monkeypatch.setattr(tiles, "GROWTH", 2)
    monkeypatch.setattr(tiles, "TILE", 24)
    monkeypatch.setattr(tiles, "SHORTEST", 2)


def attention(steps: int, causal: bool = False, **options: Any) -> Program:
    x, y = bp.Input("x", (steps, 4)), bp.Target("y", (steps, 4))
    z = bp.MultiHeadAttention(2, causal=causal, name="a", **options)(x)
    return improve(training(analyze(bp.Network(z, loss=bp.MeanSquaredError(z, y)))))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_holds_a_part_of_the_scores(small: None, causal: bool) -> None:
    program = attention(8, causal)
    changed = in_tiles(program)
    verify(changed)
    loops = [step for step in changed.steps if isinstance(step, TimeLoop)]
    assert len(loops) == 2  # there, and back
    scores = [t for name, t in changed.tensors.items() if name.startswith(("a.score", "a.attention"))]
    assert all(len(t.shape) < 4 for t in scores if t.name in {s.target for s in changed.statements()} and 8 in t.shape[-1:])
    scheduled = schedule(program)
    assert sum(isinstance(step, KernelLoop) for step in scheduled.steps) == 2
    assert_same(program, scheduled)


def test_memory_grows_with_the_steps_and_not_with_their_square() -> None:
    def arena(steps: int, large: int) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tiles, "LARGE", large)
            return schedule(attention(steps)).arena_elements(1)

    whole, parts = arena(4096, 1 << 60), arena(4096, 1 << 19)
    assert parts < whole / 40
    assert arena(8192, 1 << 19) < 2.2 * parts


def test_dropped_attention_weights_are_drawn_alike(small: None) -> None:
    program = attention(8, dropout=0.5)
    changed = in_tiles(program)
    assert any(isinstance(step, TimeLoop) for step in changed.steps)
    arrays = random_inputs(program, 2)
    expected, got = run_program(program, arrays, 2), run_program(changed, arrays, 2)
    for name, t in program.tensors.items():
        if t.role in ("gradient", "loss"):
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def pairs(text: str, **roles: str) -> Program:
    """A program over pairs of 8 points."""
    b = Builder({"n": None, "i": 8, "j": 8, "k": 8, "d": 3})
    return b.program(b.lines(text), {"x": "input", "w": "input", "y": "output", "z": "output", **roles})


def loops_of(program: Program) -> int:
    """The number of loops that tiling makes; checks that the program still computes the same."""
    changed = in_tiles(program)
    verify(changed)
    arrays = random_inputs(program, 2)
    expected, got = run_program(program, arrays, 2), run_program(changed, arrays, 2)
    for name in ("y", "z"):
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-12, err_msg=name)
    assert_same_schedule(program, arrays)
    return sum(isinstance(step, TimeLoop) for step in changed.steps)


def assert_same_schedule(program: Program, arrays: dict[str, Any]) -> None:
    expected, got = run_program(program, arrays, 2), run_schedule(schedule(program), arrays, 2)
    for name in ("y", "z"):
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_distances_of_all_pairs(small: None) -> None:
    assert loops_of(pairs("""
        p[n,i,j] = sum((x[n,i,d] - x[n,j,d])**2, d)
        y[n,i] = max(p[n,i,j], j)
        q[n,i,j] = exp(-p[n,i,j])
        z[n,i] = sum(q[n,i,j]*w[n,j], j)
    """)) == 1  # fmt: skip


def test_a_sum_over_the_parts_is_read_after_the_loop_only(small: None) -> None:
    """``s`` is complete when all parts are done: what reads it together with the pairs needs a second loop."""
    assert loops_of(pairs("""
        p[n,i,j] = sum(x[n,i,d]*x[n,j,d], d)
        s[n,j] = sum(p[n,i,j]*w[n,i], i)
        y[n,i] = sum(p[n,i,j]*s[n,j], j)
        z[n,i] = y[n,i]*2.0
    """)) >= 1  # fmt: skip


def test_a_row_that_the_parts_need_comes_along(small: None) -> None:
    assert loops_of(pairs("""
        p[n,i,j] = sum(x[n,i,d]*x[n,j,d], d)
        m[n,i] = max(p[n,i,j], j)
        c[n,i] = m[n,i]*w[n,i]
        u[n,j] = w[n,j]*3.0
        q[n,i,j] = p[n,i,j]*c[n,i]
        y[n,i] = sum(q[n,i,j]*u[n,j], j)
        z[n,i] = c[n,i] + y[n,i]
    """)) == 1  # fmt: skip


def test_zeros_that_parts_add_to_are_set_once(small: None) -> None:
    """``q`` gets some of its elements only: it starts as zeros, and so it keeps all its parts."""
    assert loops_of(pairs("""
        p[n,i,j] = sum(x[n,i,d]*x[n,j,d], d)
        q[n,i,0] += p[n,i,0]*w[n,i]
        y[n,i] = max(p[n,i,j], j)
        z[n,i] = sum(q[n,i,j]*p[n,i,j], j)
    """)) == 1  # fmt: skip


def test_no_common_axis_but_the_examples(small: None) -> None:
    """Rows in one statement are columns in the other: parts are whole examples."""
    changed = in_tiles(pairs("""
        p[n,i,j] = sum(x[n,i,d]*x[n,j,d], d)
        q[n,i,j] = p[n,i,j]*p[n,j,i]
        y[n,i] = max(q[n,i,j], j)
        z[n,j] = max(q[n,i,j], i)
    """))  # fmt: skip
    (loop,) = (step for step in changed.steps if isinstance(step, TimeLoop))
    assert loop.axis.extent is None and not loop.outer
    assert changed.tensors["p"].shape == (8, 8)


def test_an_operand_too_large_for_the_cache_forbids_it(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "RESIDENT", 4)
    program = pairs("""
        p[n,i,j] = sum(x[n,i,d]*x[n,j,d], d)
        y[n,i] = max(p[n,i,j], j)
        z[n,i] = y[n,i]
    """)  # fmt: skip
    assert in_tiles(program) is program


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_gradients_in_c(small: None, threads: int) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(3, 24, 8)), rng.normal(size=(3, 24, 8))
    results, memory = [], []
    for tile in (96, 1 << 40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tiles, "TILE", tile)
            patch.setattr(tiles, "LARGE", 48 if tile == 96 else 1 << 60)
            x, y = bp.Input("x", (24, 8)), bp.Target("y", (24, 8))
            z = bp.MultiHeadAttention(2, causal=True, name="a")(x)
            model = bp.compile(bp.Network(z, loss=bp.MeanSquaredError(z, y)), dtype="float64", threads=threads)
        results.append(model.value_and_grad(model.init(seed=0), x=X, y=Y))
        memory.append(model.cost.arena_bytes(3))
    assert memory[0] < memory[1]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-14)
    for name, gradient in results[0][1].items():
        np.testing.assert_allclose(gradient, results[1][1][name], rtol=1e-11, atol=1e-15)


def random_program(seed: int) -> Program:
    """Loss and gradients of a random network."""
    net = checks.build(network(Seeded(seed)))
    return improve(training(analyze(net), ("parameters", *(n for n, v in net.inputs.items() if not v.integer))))


@pytest.mark.parametrize("seeds", [range(64, 70), pytest.param(range(1000, 1200), marks=pytest.mark.slow)])
def test_random_networks(seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    """With anything taken for large, programs in tiles compute what they did before."""
    tiled = 0
    for seed in seeds:
        for name, value in zip(("LARGE", "GROWTH", "TILE"), ((4, 1, 4), (8, 1, 8), (16, 2, 8))[seed % 3], strict=True):
            monkeypatch.setattr(tiles, name, value)
        monkeypatch.setattr(tiles, "SHORTEST", 2)
        try:
            program = assign_parts(settle_accumulations(random_program(seed)))
        except bp.BPCompileError:
            continue
        changed = in_tiles(program)
        if changed is program or sum(elements(t) for t in program.tensors.values()) > 1500:
            continue
        verify(changed)
        arrays = random_inputs(program, 2)
        expected, got = run_program(program, arrays, 2), run_program(changed, arrays, 2)
        for name, t in program.tensors.items():
            if t.role in ("gradient", "loss"):
                scale = np.abs(expected[name][np.isfinite(expected[name])]).max(initial=1.0)
                np.testing.assert_allclose(got[name], expected[name], rtol=1e-7, atol=1e-9 * scale, err_msg=f"{seed} {name}")
        tiled += 1
    assert tiled > len(seeds) // 10
