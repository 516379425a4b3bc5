"""What nobody needs is left out."""

from __future__ import annotations

import numpy as np

from bpcompile.program.dead import restrict, specialize, without_dead
from bpcompile.program.verify import verify
from tests.program import networks
from tests.program.build import Builder
from tests.program.interpret import random_inputs, run_program


def test_restriction_keeps_the_way_to_the_outputs() -> None:
    program = networks.dense()
    small = restrict(program, ["z2"])
    verify(small)
    assert [s.target for s in small.statements()] == ["s1", "z1", "a1", "s2", "z2"]
    assert list(small.tensors)[:2] == ["x", "y"]
    arrays = random_inputs(program, 2)
    np.testing.assert_array_equal(run_program(small, arrays, 2)["z2"], run_program(program, arrays, 2)["z2"])


def test_a_time_loop_keeps_its_cycle() -> None:
    program = networks.recurrent()
    assert len(list(without_dead(program).statements())) == len(list(program.statements()))
    assert [s.target for s in restrict(program, ["h"]).statements()] == ["g", "r", "h"]


def test_prediction_drops_the_training_branch() -> None:
    b = Builder({"n": None, "i": 3})
    program = b.program(
        b.lines("m[n,i] = where(x[n,i] < 0.5, 0.0, 2.0)\ny[n,i] = where(training, m[n,i]*x[n,i], x[n,i])"),
        {"x": "input", "y": "output"},
    )
    predicting = specialize(program, training=False)
    assert [str(s) for s in predicting.statements()] == ["y[n, i] = x[n, i]"]
    assert "m" not in predicting.tensors
    assert [s.target for s in specialize(program, training=True).statements()] == ["m", "y"]
