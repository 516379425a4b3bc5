"""Statements in pieces, and slopes stored by the forward phase: values stay, and the text says what is gained."""

from __future__ import annotations

import pytest

from bpcompile.nodes.expressions import const, load, node
from bpcompile.nodes.statements import Program
from bpcompile.program.early import slopes_early
from bpcompile.program.pieces import in_pieces
from bpcompile.program.product import without_factor
from bpcompile.program.schedule import schedule
from bpcompile.program.schedule_types import Nest
from bpcompile.program.share import share
from bpcompile.program.verify import verify
from tests.program.build import Builder
from tests.program.test_schedule import assert_same
from tests.program.test_share import assert_equal_values


def _gates(low: int) -> Program:
    b = Builder({"n": None, "g": low + 16, "k": low, "l": 16})
    return b.program(
        b.lines(f"""
            a[n,k] = 2*x[n,k]
            b[n,l] = a[n,l] + 1
            z[n,g] = where(g < {low}, a[n,g]*x[n,g], 0) + where(g >= {low}, b[n,g - {low}], 0)
            loss = sum(z[n,g], n, g)
        """),
        {"x": "input", "z": "output", "loss": "loss"},
    )


def test_conditions_on_an_axis_become_pieces() -> None:
    program = _gates(16)
    divided = in_pieces(program)
    verify(divided)
    assert [str(s) for s in divided.statements()][2:4] == ["z[n, g] = a[n, g]*x[n, g]", "z[n, g + 16] = b[n, g]"]
    assert_equal_values(program, divided)
    assert_same(program, schedule(divided))


def test_pieces_join_the_loops_of_their_operands() -> None:
    step = schedule(in_pieces(_gates(16))).steps[0]
    assert isinstance(step, Nest)
    assert len(step.statements) == 4
    assert step.local == {"a", "b"}


def test_short_pieces_stay_together() -> None:
    program = _gates(15)
    assert in_pieces(program) is program


def _activation(more: str = "") -> Program:
    b = Builder({"n": None, "j": 3})
    forward = b.lines("z[n,j] = 2*x[n,j] + 1\na[n,j] = z[n,j]*tanh(z[n,j])")
    backward = b.lines(f"""
        y[n,j] = 3*w[n,j]
        z_bar[n,j] = y[n,j]*(tanh(z[n,j]) + z[n,j]*(1 - tanh(z[n,j])*tanh(z[n,j]))){more}
        x_bar[n,j] = 2*z_bar[n,j]
    """, "backward")
    return b.program(forward + backward, {"x": "input", "w": "input", "a": "output", "x_bar": "gradient:x"})


def test_a_slope_replaces_what_it_is_the_slope_at() -> None:
    program = share(_activation())
    early = slopes_early(program)
    verify(early)
    phases = {s.target: s.origin.phase for s in early.statements() if "tanh" in str(s)}
    assert phases == {"z_slope": "forward", "a": "forward"}
    assert "z[" not in " ".join(str(s.body) for s in early.statements() if s.origin.phase == "backward")
    assert_equal_values(program, early)


def _terms(second: str) -> Program:
    b = Builder({"n": None, "j": 3})
    forward = b.lines("z[n,j] = 2*x[n,j] + 1\na[n,j] = z[n,j]*tanh(z[n,j])")
    backward = b.lines(f"""
        y[n,j] = 3*w[n,j]
        z_bar[n,j] = y[n,j]*tanh(z[n,j]) + {second}
        x_bar[n,j] = 2*z_bar[n,j]
    """, "backward")
    return share(b.program(forward + backward, {"x": "input", "w": "input", "a": "output", "x_bar": "gradient:x"}))


@pytest.mark.parametrize("second", ["where(z[n,j] < 2, 4*y[n,j]*(1 - tanh(z[n,j]))*z[n,j], 0.0)", "-y[n,j]/(1 + z[n,j])"])
def test_a_slope_whose_terms_have_the_factor_each(second: str) -> None:
    program = _terms(second)
    early = slopes_early(program)
    verify(early)
    assert [str(s.body) for s in early.statements() if s.target == "z_bar"] == ["y[n, j]*z_slope[n, j]"]
    assert_equal_values(program, early)


@pytest.mark.parametrize("second", ["y[n,j]*y[n,j]*tanh(z[n,j])", "4*tanh(z[n,j])", "tanh(z[n,j])/y[n,j]"])
def test_terms_with_other_factors_stay_a_sum(second: str) -> None:
    program = _terms(second)
    early = slopes_early(program)
    assert [s.body.op for s in early.statements() if s.target == "z_bar"] == ["add"]
    assert_equal_values(program, early)


def test_no_slope_where_every_term_has_a_condition() -> None:
    """``where(c, y*f(z), 0)`` is not ``y*where(c, f(z), 0)`` where ``y`` is infinite."""
    y = load("y", ())
    slope = node("tanh", (load("z", ()),))
    guarded = node("where", (node("lt", (load("z", ()), const(0.0))), node("mul", (y, slope)), const(0.0)))
    assert without_factor(guarded, y) is None
    assert without_factor(node("add", (guarded, y)), y) is not None


def test_no_slope_is_stored_where_its_argument_must_be_kept() -> None:
    program = share(_activation(" + z[n,j]"))
    assert slopes_early(program) is program
