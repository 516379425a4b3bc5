"""Sums with a period become contractions, phase by phase, with the same values."""

from __future__ import annotations

import pytest

import bpcompile as bp
from bpcompile.calculus.gradient import analyze, training
from bpcompile.nodes.access import apart
from bpcompile.nodes.expressions import Axis, axis, const, node, walk_nodes
from bpcompile.nodes.statements import Program, Tensor
from bpcompile.program.accumulate import settle_accumulations
from bpcompile.program.contract import as_contraction
from bpcompile.program.passes import improve
from bpcompile.program.phases import in_phases
from bpcompile.program.schedule import schedule
from bpcompile.program.shift import shift_axes
from bpcompile.program.split import split_axes
from bpcompile.program.verify import verify
from tests.program.build import Builder
from tests.program.test_schedule import assert_same
from tests.program.test_share import assert_equal_values

LAYERS = {
    "steps of two": lambda filters: bp.Conv2D(filters, 3, strides=2, padding="same"),
    "steps of three, five wide": lambda filters: bp.Conv2D(filters, 5, strides=3, padding=2),
    "a point in steps of two": lambda filters: bp.Conv2D(filters, 1, strides=2),
    "dilated, in steps of two": lambda filters: bp.Conv2D(filters, 2, strides=2, dilation_rate=2),
    "different steps": lambda filters: bp.Conv2D(filters, (4, 3), strides=(2, 3)),
    "transposed": lambda filters: bp.Conv2DTranspose(filters, 4, strides=2, padding="same"),
    "transposed, odd": lambda filters: bp.Conv2DTranspose(filters, 3, strides=2, output_padding=1),
    "transposed, steps of three": lambda filters: bp.Conv2DTranspose(filters, 5, strides=3, padding=1),
}


def gradients(name: str, filters: int, shape: tuple[int, ...]) -> Program:
    x = bp.Input("x", shape)
    loss = bp.Layer(["l[n] = sum(z[n,o,h,w]**3, o, h, w)"], inputs=("z",), output="l")
    return training(analyze(bp.Network(None, loss=loss(LAYERS[name](filters)(x)))), ("parameters", "x"))


@pytest.mark.parametrize("name", LAYERS)
def test_no_division_is_left_and_all_products_are_contractions(name: str) -> None:
    improved = improve(gradients(name, 8, (8, 16, 18)))
    assert not [e for s in improved.statements() for e in walk_nodes((s.body,)) if e.op in ("floordiv", "mod")]
    sums = [s for s in improved.statements() if s.reduce == "sum" and len(s.over) > 1]
    products = [s for s in sums if len({e.value[0] for e in walk_nodes((s.body,)) if e.op == "load"}) == 2]
    assert len(products) >= 3
    assert [str(s) for s in products if as_contraction(s, improved.tensors) is None] == []


def test_groups_sum_over_their_own_channels() -> None:
    x = bp.Input("x", (8, 16, 16))
    loss = bp.Layer(["l[n] = sum(z[n,o,h,w]**3, o, h, w)"], inputs=("z",), output="l")
    z = bp.Conv2D(16, 3, padding=1, groups=2)(x)
    program = training(analyze(bp.Network(None, loss=loss(z))), ("parameters", "x"))
    gradient = next(s for s in improve(program).statements() if s.target == "x.bar")
    assert sorted(a.extent for a in gradient.over) == [3, 3, 8]


@pytest.mark.parametrize("name", LAYERS)
def test_values_stay(name: str) -> None:
    program = gradients(name, 2, (1, 3, 4) if name.startswith("transposed") else (1, 17, 16))
    changed = in_phases(shift_axes(split_axes(program)))
    assert changed != program
    verify(changed)
    assert_equal_values(program, changed)
    settled = settle_accumulations(changed)
    verify(settled)
    assert_same(program, schedule(settled))


def test_a_phase_without_terms_is_zero() -> None:
    b = Builder({"n": None, "i": 9, "p": 2, "k": 4})
    program = b.program(
        b.lines("y[n,i] = sum(where((i - 2*p) % 4 == 0, where(0 <= i - 2*p, W[p]*x[n,(i-2*p)//4], 0), 0), p)"),
        {"x": "input", "W": "parameter", "y": "output"}, x=Tensor("x", (None, 3), "input"),
    )  # fmt: skip
    changed = in_phases(program)
    verify(changed)
    assert any(s.reduce is None and str(s.body) == "0" for s in changed.statements())
    assert_equal_values(program, changed)


def test_terms_are_added_where_phases_meet() -> None:
    """Both residues of the summed axis go to the same elements: the second sum is added to the first."""
    b = Builder({"n": None, "i": 5, "h": 8})
    program = b.program(
        b.lines("y[n,i] = sum(W[i,h % 2]*x[n,h], h)"),
        {"x": "input", "W": "parameter", "y": "output"}, W=Tensor("W", (5, 2), "parameter"),
    )  # fmt: skip
    changed = in_phases(program)
    verify(changed)
    assert [s.accumulate for s in changed.statements()] == [False, True]
    assert_equal_values(program, changed)


def test_a_rotation_stays_whole() -> None:
    """One statement for each element would be text that grows."""
    b = Builder({"n": None, "i": 6, "j": 6})
    program = b.program(
        b.lines("y[n,j] = sum(W[j,i]*x[n,(i+1) % 6], i)"),
        {"x": "input", "W": "parameter", "y": "output"}, x=Tensor("x", (None, 6), "input"),
    )  # fmt: skip
    assert in_phases(program) is program


def test_axes_are_counted_from_where_terms_begin() -> None:
    b = Builder({"n": None, "q": 9, "i": 3, "k": 4})
    program = b.program(
        b.lines("y[k,i] = sum(where(i <= q and q < i + 7, x[n,q-i]*z[n,k,q], 0), n, q)"),
        {"x": "input", "z": "input", "y": "output"}, x=Tensor("x", (None, 7), "input"),
    )  # fmt: skip
    changed = shift_axes(program)
    verify(changed)
    assert [str(s) for s in changed.statements()] == ["y[k, i] = sum(x[n, q0]*z[n, k, q0 + i], n, q0)"]
    assert_equal_values(program, changed)


def test_axes_that_end_before_their_window_stay() -> None:
    b = Builder({"n": None, "q": 8, "i": 3, "k": 4})
    program = b.program(
        b.lines("y[k,i] = sum(where(i <= q and q < i + 7, x[n,q-i]*z[n,k,q], 0), n, q)"),
        {"x": "input", "z": "input", "y": "output"}, x=Tensor("x", (None, 7), "input"),
    )  # fmt: skip
    assert shift_axes(program) is program


def test_residues_keep_accesses_apart() -> None:
    h = axis(Axis("h", 8))
    even, odd = node("mul", (const(2), h)), node("add", (node("mul", (const(2), h)), const(1)))
    assert apart((even,), (odd,))
    assert not apart((even,), (node("add", (even, const(2))),))
    assert not apart((even,), (h,))
