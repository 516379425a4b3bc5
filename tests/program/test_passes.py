"""The remaining passes: values stay, and each does what it says."""

from __future__ import annotations

import pytest

from bpcompile.cost import operations
from bpcompile.program import contract
from bpcompile.program.arrange import gradients_early
from bpcompile.program.chain import chain_sums
from bpcompile.program.common import name_common
from bpcompile.program.momentary import drop_time
from bpcompile.program.passes import improve
from bpcompile.program.schedule import schedule
from bpcompile.program.share import share
from bpcompile.program.verify import verify
from tests.program import networks
from tests.program.build import Builder
from tests.program.test_schedule import assert_same
from tests.program.test_share import assert_equal_values


@pytest.mark.parametrize("name", networks.ALL)
def test_all_passes_keep_the_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MINIMUM_PRODUCTS", 1)
    monkeypatch.setattr(contract, "MINIMUM_SIDE", 2)
    program = networks.ALL[name]()
    improved = improve(program)
    verify(improved)
    assert_equal_values(program, improved)
    assert_same(program, schedule(improved))


def test_repeated_exponentials_are_stored_once() -> None:
    b = Builder({"n": None, "k": 5, "j": 5})
    program = b.program(
        b.lines("s[n] = sum(exp(x[n,k]), k)\ny[n,j] = exp(x[n,j])/s[n]"), {"x": "input", "y": "output"}
    )
    shared = share(name_common(program))
    assert str(shared).count("exp(") == 1
    assert_equal_values(program, shared)


def test_roots_leave_the_loops_that_do_not_change_them() -> None:
    b = Builder({"n": None, "k": 16})
    program = b.program(
        b.lines("s[n] = sum(x[n,k], k)\ny[n,k] = x[n,k]/sqrt(s[n]*s[n] + 1.0)"), {"x": "input", "y": "output"}
    )
    shared = share(name_common(program))
    assert [s.axes for s in shared.statements() if "sqrt(" in str(s)] == [(b.axes["n"],)]
    assert_equal_values(program, shared)


def test_sums_that_are_added_accumulate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MINIMUM_PRODUCTS", 1)
    b = Builder({"n": None, "i": 8, "j": 8, "k": 8})
    program = b.program(
        b.lines("""
            s[n,j] = sum(W[j,i]*x[n,i], i)
            r[n,k] = sum(U[k,i]*z[n,i], i)
            y[n,j] = s[n,j] - x[n,j] + r[n,j]
        """),
        {"x": "input", "z": "input", "W": "parameter", "U": "parameter", "y": "output"},
    )
    chained = chain_sums(program)
    assert [str(s) for s in chained.statements()][1:] == [
        "s[n, k] += sum(U[k, i]*z[n, i], i)", "y[n, j] = s[n, j] - x[n, j]"]  # fmt: skip
    assert_equal_values(program, chained)


def test_what_lives_for_one_step_has_no_time_axis() -> None:
    b = Builder({"n": None, "t": 4, "j": 3})
    program = b.program(
        [b.loop("t", False, """
            u[n,t,j] = tanh(x[n,t,j])
            v[n,t,j] = u[n,t,j] + where(1 <= t, v[n,t-1,j], 0)
        """), *b.lines("y[n,t,j] = v[n,t,j]")],
        {"x": "input", "y": "output"},
    )  # fmt: skip
    shrunk = drop_time(program)
    assert shrunk.tensors["u"].shape == (None, 3)
    assert shrunk.tensors["v"].shape == (None, 4, 3)
    assert_equal_values(program, shrunk)


def test_gradients_follow_their_errors() -> None:
    order = [s.target for s in gradients_early(networks.dense()).statements()]
    assert order.index("b2_bar") < order.index("a1_bar")
    assert order[-1] in ("W1_bar", "x_bar", "b1_bar")


def test_the_terms_of_a_gradient_follow_their_errors_in_order() -> None:
    b = Builder({"n": None, "j": 4, "k": 8})
    program = b.program(
        b.lines("""
            q_bar[n,j] = 2*x[n,j]
            v_bar[n,j] = q_bar[n,j]*x[n,j]
            x_bar[n,j] = v_bar[n,j] + q_bar[n,j]
            W_bar[j] += sum(q_bar[n,j], n)
            W_bar[j+4] += sum(v_bar[n,j], n)
        """, "backward"),
        {"x": "input", "W": "parameter", "W_bar": "gradient:W", "x_bar": "gradient:x"},
    )  # fmt: skip
    assert [s.target for s in gradients_early(program).statements()] == [
        "q_bar", "W_bar", "v_bar", "x_bar", "W_bar",
    ]  # fmt: skip
    late, early = program.steps[4], program.steps[3]
    turned = gradients_early(program.with_steps((*program.steps[:3], late, early)))
    assert [s for s in turned.statements() if s.target == "W_bar"] == [late, early]


def test_operations_are_counted() -> None:
    b = Builder({"n": None, "i": 5, "j": 4})
    program = b.program(
        b.lines("s[n,j] = sum(W[j,i]*x[n,i], i)\ny[n,j] = tanh(s[n,j] + b[j])")
        + b.lines("W_bar[j,i] = sum(y[n,j]*x[n,i], n)", "backward"),
        {"x": "input", "W": "parameter", "b": "parameter", "y": "output", "W_bar": "gradient:W"},
    )
    assert operations(program, "forward") == 4 * 5 * 2 + 4 * 2
    assert operations(program, "backward") == 2 * 20
    assert operations(program) == operations(program, "forward") + operations(program, "backward")


def test_sharing_lowers_the_count() -> None:
    program = networks.dense()
    assert operations(share(program), "backward") < operations(program, "backward")
