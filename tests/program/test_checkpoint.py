"""Recomputation gives the same gradients in less memory."""

from __future__ import annotations

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.calculus.gradient import analyze, training
from bpcompile.program.checkpoint import checkpoint
from bpcompile.program.passes import improve
from bpcompile.program.schedule import schedule
from bpcompile.program.verify import verify


def deep(layers: int = 16, width: int = 8) -> bp.Network:
    x, y = bp.Input("x", (width,)), bp.Target("y", (width,))
    h = x
    for k in range(layers):
        h = bp.Dropout(0.2, name=f"drop{k}")(bp.Dense(width, activation="tanh", name=f"dense{k}")(h))
    return bp.Network(h, loss=bp.MeanSquaredError(h, y))


def test_memory_shrinks_to_the_square_root() -> None:
    program = improve(training(analyze(deep(32, 32))))
    elements = {}
    for every in (8, 1000):
        changed = checkpoint(program, every)
        verify(changed)
        elements[every] = schedule(changed).batch_elements
    assert elements[8] < 0.25 * elements[1000]
    assert elements[1000] == schedule(program).batch_elements


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_the_same_gradients(backend: str) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    results = []
    for every in (None, 6):
        model = bp.compile(deep(), backend=backend, dtype="float64", checkpoint=every)
        results.append(model.value_and_grad(model.init(seed=0), x=X, y=Y, key=3))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-14)
    for name, gradient in results[0][1].items():
        np.testing.assert_allclose(gradient, results[1][1][name], rtol=1e-12, atol=1e-16)


def test_a_wrong_number_gets_a_sentence() -> None:
    with pytest.raises(bp.BPCompileError, match="checkpoint"):
        bp.compile(deep(2), checkpoint=0)
