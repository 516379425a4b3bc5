"""A schedule computes what its program says, in the memory that it lays out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bpcompile.nodes.statements import Program
from bpcompile.program import contract
from bpcompile.program.memory import place
from bpcompile.program.schedule import flat_offsets, schedule
from bpcompile.program.schedule_types import Contraction, Nest, Place, Schedule
from tests.program import networks
from tests.program.interpret import random_inputs, run_program, run_schedule


def assert_same(program: Program, scheduled: Schedule, n: int = 3) -> None:
    arrays = random_inputs(program, n)
    expected = run_program(program, arrays, n)
    got = run_schedule(scheduled, arrays, n)
    assert "loss" in got and len(got) > 1
    for name, value in got.items():
        assert np.isfinite(expected[name]).all(), name
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.fixture(params=[False, True], ids=["nests", "contractions"])
def contractions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Small networks with every sum a plain loop, and with every one that can be a contraction."""
    if request.param:
        monkeypatch.setattr(contract, "MINIMUM_PRODUCTS", 1)
        monkeypatch.setattr(contract, "MINIMUM_SIDE", 1)
    return bool(request.param)


@pytest.mark.parametrize("name", networks.ALL)
def test_schedule_computes_the_program(name: str, contractions: bool) -> None:
    program = networks.ALL[name]()
    scheduled = schedule(program)
    kernels = [k for step in scheduled.steps for k in getattr(step, "body", (step,))]
    assert any(isinstance(k, Contraction) for k in kernels) == contractions
    assert_same(program, scheduled)


def test_softmax_rows_are_one_kernel() -> None:
    scheduled = schedule(networks.dense())
    rows = [k for k in scheduled.steps if isinstance(k, Nest) and any(s.target == "m" for s in k.statements)]
    assert [{"m", "e", "s", "l", "z2_bar"} <= {s.target for s in k.statements} for k in rows] == [True]


def test_activation_rides_in_the_epilogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MINIMUM_PRODUCTS", 1)
    monkeypatch.setattr(contract, "MINIMUM_SIDE", 1)
    first = schedule(networks.dense()).steps[0]
    assert isinstance(first, Contraction)
    assert [s.target for s in first.epilogue] == ["z1", "a1"]
    assert first.local == {"s1"}


def test_overlapping_places_are_noticed() -> None:
    """The interpreter can fail: two tensors forced onto the same memory."""
    program = networks.dense()
    scheduled = schedule(program)
    places = dict(scheduled.places)
    places["a1"] = Place("batch", places["z1_bar"].offset, places["a1"].strides)
    with pytest.raises(AssertionError):
        assert_same(program, replace(scheduled, places=places))


def test_memory_is_reused_when_a_tensor_is_dead() -> None:
    program = networks.dense()
    scheduled = schedule(program)
    _, _, together = place(scheduled.program, scheduled.steps[:1], flat_offsets(program))
    assert together <= scheduled.batch_elements
