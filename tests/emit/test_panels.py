"""Weights of recurrent steps are packed once, before the loop over time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.calculus.gradient import analyze, training
from bpcompile.program.panels import TILES, _width
from bpcompile.program.passes import improve
from bpcompile.program.schedule import schedule
from bpcompile.program.schedule_types import Contraction, KernelLoop, Pack
from tests.program.test_schedule import assert_same


def recurrent(units: int, kind: str = "LSTM") -> bp.Network:
    x, y = bp.Input("x", (6, 5)), bp.Target("y", (units,))
    h = getattr(bp, kind)(units, name="rnn")(x)
    return bp.Network(h, loss=bp.MeanSquaredError(h, y))


def test_weights_are_packed_before_the_loop() -> None:
    program = improve(training(analyze(recurrent(40))))
    scheduled = schedule(program)
    packs = [k for k, step in enumerate(scheduled.steps) if isinstance(step, Pack)]
    loops = [k for k, step in enumerate(scheduled.steps) if isinstance(step, KernelLoop)]
    assert len(packs) == len(loops) == 2
    for pack, loop in zip(packs, loops, strict=True):
        step = scheduled.steps[loop]
        assert isinstance(step, KernelLoop)
        assert pack < loop
        assert [k.panels for k in step.body if isinstance(k, Contraction)] == [scheduled.steps[pack].panels]  # type: ignore[union-attr]


def test_panels_lie_where_nothing_else_does() -> None:
    program = improve(training(analyze(recurrent(12, "SimpleRNN"))))
    scheduled = schedule(program)
    assert any(isinstance(step, Pack) for step in scheduled.steps)
    assert_same(program, scheduled)


@pytest.mark.parametrize(("kind", "dtype"), [("LSTM", "float32"), ("GRU", "float64"), ("SimpleRNN", "float64")])
def test_the_same_gradients_as_numpy(kind: str, dtype: str) -> None:
    net = recurrent(37, kind)
    own: Any = bp.compile(net, dtype=dtype)
    assert "pack_rnn" in own.source
    other = bp.compile(net, dtype="float64", backend="numpy")
    params = other.init(seed=0)
    rng = np.random.default_rng(0)
    for n in (1, 3, 40):
        x, y = rng.normal(size=(n, 6, 5)), rng.normal(size=(n, 37))
        loss, found = own.value_and_grad(params, x=x, y=y)
        expected_loss, expected = other.value_and_grad(params, x=x, y=y)
        assert loss == pytest.approx(expected_loss, rel=1e-5 if dtype == "float32" else 1e-12)
        for name, gradient in expected.items():
            scale = np.abs(gradient).max()
            np.testing.assert_allclose(found[name], gradient, rtol=0, atol=scale * (2e-5 if dtype == "float32" else 1e-12))


def test_any_number_of_threads_gives_the_same_bits() -> None:
    net = recurrent(200)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 6, 5)), rng.normal(size=(24, 200))
    results = []
    for threads in (1, 2):
        model = bp.compile(net, threads=threads)
        results.append(model.value_and_grad(model.init(seed=0), x=x, y=y)[1])
    for name, gradient in results[0].items():
        np.testing.assert_array_equal(gradient, results[1][name])


@pytest.mark.parametrize("columns", [1, 5, 16, 47, 48, 49, 96, 112, 128, 512, 1000])
def test_panels_have_room_for_every_vector_length(columns: int) -> None:
    widest = max(_width(columns, *tile) for tile in TILES)
    for lanes, vectors in TILES:
        strips = math.ceil(columns / lanes / vectors)
        assert columns <= _width(columns, lanes, vectors) <= min(widest, strips * vectors * lanes)
