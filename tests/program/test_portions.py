"""Kernels that go through the batch a few examples at a time."""

from __future__ import annotations

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.program import portions
from bpcompile.program.schedule import schedule
from bpcompile.program.schedule_types import BatchLoop, Schedule
from tests.program import networks
from tests.program.interpret import random_inputs, run_program, run_schedule

LOOPED = ("dense", "convolution")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops over two or so examples, however small the network is."""
    monkeypatch.setattr(portions, "PORTION", 1)
    monkeypatch.setattr(portions, "LEAST_KERNELS", 1)
    monkeypatch.setattr(portions, "WEIGHT", 1e9)


def loops(scheduled: Schedule) -> list[BatchLoop]:
    return [s for s in scheduled.steps if isinstance(s, BatchLoop)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", networks.ALL)
def test_portions_compute_the_program(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = networks.ALL[name]()
    arrays = random_inputs(program, 3)
    expected = run_program(program, arrays, 3)
    for examples in (1, 2):
        monkeypatch.setattr(portions, "PORTION", 1)
        each = max((portions._elements(s.body, program.tensors)[0] for s in loops(schedule(program))), default=1)
        monkeypatch.setattr(portions, "PORTION", each * examples)
        scheduled = schedule(program)
        assert loops(scheduled) or name not in LOOPED
        for tensor, value in run_schedule(scheduled, arrays, 3).items():
            np.testing.assert_allclose(value, expected[tensor], rtol=1e-9, atol=1e-12, err_msg=tensor)


def network() -> bp.Network:
    x, y = bp.Input("x", (2, 9, 9)), bp.Target("y", classes=3)
    h = bp.Conv2D(4, 3, padding="same", activation="relu", name="first")(x)
    h = bp.BatchNormalization(name="norm")(bp.MaxPooling2D(3, name="pool")(h))
    z = bp.Dense(3, name="last")(bp.Flatten(name="flat")(h))
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y))


@pytest.mark.parametrize("threads", [1, 2])
def test_generated_c_in_portions(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean over the batch, statistics of it and gradients of weights do not notice."""
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(7, 2, 9, 9)), generator.integers(0, 3, 7)
    whole = bp.compile(network(), dtype="float64", threads=threads)
    assert "count = n - first" not in whole.source
    for constant, value in (("PORTION", 3000), ("LEAST_KERNELS", 1), ("WEIGHT", 1e9)):
        monkeypatch.setattr(portions, constant, value)
    model = bp.compile(network(), dtype="float64", threads=threads)
    assert "count = n - first" in model.source
    params = model.init(5)
    expected, got = (m.value_and_grad(params, state=m.init_state(), x=x, y=y) for m in (whole, model))
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-13)
    for name in params:
        np.testing.assert_allclose(got[1][name], expected[1][name], rtol=1e-10, atol=1e-13, err_msg=name)
    found, plain = (m.predict(params, state=m.init_state(), x=x) for m in (model, whole))
    np.testing.assert_allclose(found, plain, rtol=1e-12, atol=1e-14)


def test_large_images_stand_in_a_loop_and_small_vectors_do_not() -> None:
    x, y = bp.Input("x", (3, 128, 128)), bp.Target("y", classes=3)
    h = bp.Conv2D(8, 3, padding="same", activation="relu")(x)
    h = bp.Conv2D(8, 3, padding="same", activation="relu")(h)
    z = bp.Dense(3)(bp.Flatten()(bp.AveragePooling2D(8)(h)))
    images = bp.compile(bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y)))
    assert "count = n - first" in images.source
    assert images.cost.arena_bytes(256) < 256 * 4 * 8 * 128 * 128  # one tensor of the whole batch
    x, y = bp.Input("x", (784,)), bp.Target("y", classes=3)
    z = bp.Dense(3)(bp.Dense(100, activation="relu")(x))
    assert "count = n - first" not in bp.compile(bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y))).source
