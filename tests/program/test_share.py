"""Sharing keeps values, and computes each once."""

from __future__ import annotations

import numpy as np
import pytest

from bpcompile.nodes.statements import Program
from bpcompile.program.share import share
from bpcompile.program.verify import verify
from tests.program import networks
from tests.program.build import Builder
from tests.program.interpret import random_inputs, run_program


def assert_equal_values(before: Program, after: Program, n: int = 2) -> None:
    verify(after)
    arrays = random_inputs(before, n)
    expected, got = run_program(before, arrays, n), run_program(after, arrays, n)
    for name, t in after.tensors.items():
        if t.role in ("output", "loss", "gradient"):
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", networks.ALL)
def test_values_stay(name: str) -> None:
    program = networks.ALL[name]()
    assert_equal_values(program, share(program))


def test_backward_reads_what_forward_has_stored() -> None:
    """``a*(1 - sigmoid(z))`` becomes ``a*(1 - a)``, across different index names."""
    text = {s.target: str(s) for s in share(networks.dense()).statements()}
    assert text["z1_bar"] == "z1_bar[n, j] += a1_bar[n, j]*a1[n, j]*(1 - a1[n, j])"
    b = Builder({"n": None, "j": 4, "k": 4})
    program = b.program(
        b.lines("a[n,j] = sigmoid(z[n,j])\ny[n,k] = a[n,k]*(1 - sigmoid(z[n,k]))"), {"z": "input", "y": "output"}
    )
    assert [str(s) for s in share(program).statements()][1] == "y[n, k] = a[n, k]*(1 - a[n, k])"


def test_equal_reductions_are_one() -> None:
    b = Builder({"n": None, "i": 3, "j": 4, "p": 3, "q": 4})
    program = b.program(
        b.lines("""
            u[n,j] = sum(W[j,i]*x[n,i], i)
            v[n,q] = sum(x[n,p]*W[q,p], p)
            y[n,j] = u[n,j]*v[n,j]
        """),
        {"x": "input", "W": "parameter", "y": "output"},
    )
    shared = share(program)
    assert [s.target for s in shared.statements()] == ["u", "y"]
    assert str(shared.steps[-1]) == "y[n, j] = u[n, j]*u[n, j]"
    assert_equal_values(program, shared)


def test_a_square_is_not_a_transposed_square() -> None:
    """Extents agree, and yet the axes stand in another order."""
    b = Builder({"n": None, "i": 3, "j": 3})
    program = b.program(
        b.lines("u[n,i,j] = exp(x[n,i,j])\nv[n,i,j] = exp(x[n,j,i])\ny[n,i,j] = u[n,i,j] - v[n,i,j]"),
        {"x": "input", "y": "output"},
    )
    shared = share(program)
    assert str(shared.steps[-1]) in ("y[n, i, j] = u[n, i, j] - u[n, j, i]",)
    assert_equal_values(program, shared)


def test_a_value_is_not_shared_across_a_write() -> None:
    b = Builder({"n": None, "i": 3})
    program = b.program(
        b.lines("""
            g[n,i] = x[n,i]
            u[n,i] = exp(g[n,i])
            g[n,i] += x[n,i]
            y[n,i] = exp(g[n,i]) + u[n,i]
        """),
        {"x": "input", "y": "output"},
    )
    shared = share(program)
    assert "exp(g[n, i])" in str(shared.steps[-1])
    assert_equal_values(program, shared)


def test_one_iteration_of_a_time_loop_shares_with_itself_only() -> None:
    b = Builder({"n": None, "t": 3, "j": 2})
    program = b.program(
        [b.loop("t", False, """
            r[n,j] = exp(x[n,t,j])*2.0
            s[n,j] = exp(x[n,t,j])*2.0 + where(1 <= t, h[n,t-1,j], 0)
            h[n,t,j] = s[n,j] + r[n,j]
        """), *b.lines("y[n,t,j] = h[n,t,j] + exp(x[n,t,j])*2.0")],
        {"x": "input", "y": "output"},
    )  # fmt: skip
    shared = share(program)
    lines = str(shared).splitlines()
    assert "s[n, j] = r[n, j] + where" in lines[2]
    assert "exp" in lines[-1]
    assert_equal_values(program, shared)
