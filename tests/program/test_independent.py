"""Loops over time whose examples run side by side."""

from __future__ import annotations

import numpy as np
import pytest

from bpcompile.emit.c.module import ModuleSpec, emit_module
from bpcompile.program import independent
from bpcompile.program.schedule import schedule
from bpcompile.program.schedule_types import KernelLoop, Schedule
from tests.emit.c_module import Caller
from tests.program import networks
from tests.program.interpret import random_inputs, run_program


def parts(scheduled: Schedule) -> list[int]:
    return [step.examples for step in scheduled.steps if isinstance(step, KernelLoop)]


def test_both_directions_of_a_recurrence_are_divided() -> None:
    found = parts(schedule(networks.recurrent()))
    assert len(found) == 2 and all(size > 0 and size % independent.ROWS == 0 for size in found)


def test_little_work_takes_more_examples_at_a_time() -> None:
    small, large = (parts(schedule(networks.recurrent(hidden=size)))[0] for size in (5, 300))
    assert small > 1000 and large == independent.ROWS


def test_weights_beyond_a_cache_are_gone_through_once() -> None:
    assert parts(schedule(networks.recurrent(hidden=400))) == [0, 0]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 17, 32, 33])
def test_the_same_bits_for_any_number_of_threads(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(independent, "LEAST_WORK", 1)
    program = networks.recurrent()
    source = emit_module(ModuleSpec("net", "recurrent", "float64", value_and_grad=schedule(program)))
    assert source.c_text.count("bp_in_parts(value_and_grad_part") == 2
    caller = Caller(source, pool=True)
    arrays = random_inputs(program, n)
    expected = run_program(program, arrays, n)
    alone = caller.run("value_and_grad", arrays, n)
    np.testing.assert_allclose(alone["loss"], expected["loss"], rtol=1e-12)
    for threads in (2, 3, 5):
        caller.start_pool(threads)
        together = caller.run("value_and_grad", arrays, n)
        caller.stop_pool()
        assert alone["loss"] == together["loss"] and np.array_equal(alone["grads"], together["grads"])
