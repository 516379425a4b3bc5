"""Sums of products become contractions, with the same values."""

from __future__ import annotations

import pytest

from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Program, Tensor
from bpcompile.program import contract
from bpcompile.program.accumulate import settle_accumulations
from bpcompile.program.contract import as_contraction
from bpcompile.program.factor import factor
from bpcompile.program.order import best_order
from bpcompile.program.schedule import schedule
from bpcompile.program.share import share
from bpcompile.program.verify import verify
from tests.program import networks
from tests.program.build import Builder
from tests.program.test_schedule import assert_same
from tests.program.test_share import assert_equal_values


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MINIMUM_PRODUCTS", 1)
    monkeypatch.setattr(contract, "MINIMUM_SIDE", 2)
    monkeypatch.setattr("bpcompile.program.factor.REUSE", 1)


def prepared(program: Program) -> Program:
    return share(factor(share(settle_accumulations(program))))


def contractions(program: Program) -> list[str]:
    return [s.target for s in program.statements() if as_contraction(s, program.tensors)]


@pytest.mark.parametrize("name", networks.ALL)
def test_values_stay(name: str) -> None:
    program = networks.ALL[name]()
    rewritten = prepared(program)
    verify(rewritten)
    assert_equal_values(program, rewritten)
    assert_same(program, schedule(rewritten))


def test_convolutions_read_padded_copies() -> None:
    """One copy of x with a halo serves the output and the weight gradient; the error has one of its own."""
    program = prepared(networks.convolution())
    padded = [n for n in program.tensors if n.endswith("padded")]
    assert padded == ["x_padded", "z_bar_padded"]
    assert program.tensors["x_padded"].shape == (None, 2, 6, 7)
    assert {"s", "K_bar", "x_bar"} <= set(contractions(program))


def test_windows_of_a_flat_tensor_read_padded_copies_that_are_not_flat() -> None:
    """The gradient of an image whose convolution is flattened: ``36*o + 6*(h - p) + (w - q)`` is a place in three dimensions."""
    axes = {"n": None, "o": 3, "c": 2, "h": 8, "w": 8, "p": 3, "q": 3}
    build = Builder(axes)
    s = build.statement(
        "d[n,c,h,w] = sum(where(p <= h and h - p < 6 and q <= w and w - q < 6, g[n,36*o + 6*h - 6*p + w - q]*K[o,c,p,q], 0.0), o, p, q)"
    )
    shapes = {"g": (None, 108), "K": (3, 2, 3, 3), "d": (None, 2, 8, 8)}
    roles = {"g": "input", "K": "parameter", "d": "output"}
    program = Program("flat", {k: Tensor(k, shape, role=roles[k]) for k, shape in shapes.items()}, (s,), ("d",))
    after = prepared(program)
    assert contractions(after) == ["d"]
    assert after.tensors["g_padded"].shape == (None, 3, 10, 10)
    assert_equal_values(program, after)


def test_what_is_left_of_a_flat_window_is_a_window() -> None:
    """Rows have a guard, columns have none: ``w + q`` is found by the factor that both have."""
    build = Builder({"n": None, "o": 3, "c": 2, "h": 8, "w": 4, "p": 3, "q": 3})
    s = build.statement(
        "d[n,c,h,w] = sum(where(p <= h and h - p < 6, g[n,36*o + 6*h - 6*p + w + q]*K[o,c,p,q], 0.0), o, p, q)"
    )
    shapes = {"g": (None, 108), "K": (3, 2, 3, 3), "d": (None, 2, 8, 4)}
    roles = {"g": "input", "K": "parameter", "d": "output"}
    program = Program("flat", {k: Tensor(k, shape, role=roles[k]) for k, shape in shapes.items()}, (s,), ("d",))
    after = prepared(program)
    assert contractions(after) == ["d"]
    assert after.tensors["g_padded"].shape == (None, 3, 10, 6)
    assert_equal_values(program, after)


def test_the_recurrent_product_is_a_contraction() -> None:
    program = prepared(networks.recurrent())
    assert {"g", "r", "q", "U_bar", "W_bar", "x_bar"} <= set(contractions(program))


def test_bilinear_forms_are_two_contractions() -> None:
    b = Builder({"n": None, "j": 6, "k": 7, "l": 8})
    program = b.program(
        b.lines("y[n,j] = sum(A[j,k,l]*x[n,k]*x[n,l], k, l)"),
        {"x": "input", "A": "parameter", "y": "output"}, x=Tensor("x", (None, 8), "input"),
    )  # fmt: skip
    rewritten = prepared(program)
    assert len(list(rewritten.statements())) == 2
    assert_equal_values(program, rewritten)


def test_factors_leave_the_sum() -> None:
    b = Builder({"n": None, "i": 8, "j": 8})
    program = b.program(
        b.lines("y[n,j] = sum(-W[j,i]*x[n,i]/s[n], i)"),
        {"x": "input", "s": "input", "W": "parameter", "y": "output"},
    )
    rewritten = prepared(program)
    assert [str(s) for s in rewritten.statements()] == [
        "y_sum[n, j] = sum(W[j, i]*x[n, i], i)", "y[n, j] = -(y_sum[n, j]/s[n])"]  # fmt: skip
    assert_equal_values(program, rewritten)


def test_a_sum_of_two_products_is_two_sums() -> None:
    b = Builder({"n": None, "i": 8, "j": 8})
    program = b.program(
        b.lines("y[n,j] = sum(W[j,i]*x[n,i] - U[j,i]*z[n,i], i)"),
        {"x": "input", "z": "input", "W": "parameter", "U": "parameter", "y": "output"},
    )
    rewritten = prepared(program)
    assert len(contractions(rewritten)) == 2
    assert_equal_values(program, rewritten)


def test_the_cheapest_order_is_found() -> None:
    a, b, c, d = (Axis(name, e) for name, e in [("a", 10), ("b", 100), ("c", 5), ("d", 50)])
    found = best_order([frozenset((a, b)), frozenset((b, c)), frozenset((c, d))], frozenset((b, c)))
    assert found is not None
    cost, tree = found
    assert cost == pytest.approx(0.1 * (10 * 100 * 5 + 10 * 5 * 50))
    assert {tree.left.leaf, tree.right.leaf} >= {2}  # type: ignore[union-attr]


def test_rotations_read_copies_that_go_on_with_the_beginning() -> None:
    b = Builder({"n": None, "j": 4, "t": 6, "k": 3})
    program = b.program(
        b.lines("y[n,j,t] = sum(W[j,k]*x[n,(t+k) % 6], k)"),
        {"x": "input", "W": "parameter", "y": "output"}, x=Tensor("x", (None, 6), "input"),
    )  # fmt: skip
    rewritten = prepared(program)
    assert rewritten.tensors["x_padded"].shape == (None, 8)
    assert contractions(rewritten) == ["y"]
    assert_equal_values(program, rewritten)
