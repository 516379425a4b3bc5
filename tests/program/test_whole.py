"""Copies spread over neighbours share the loop of whoever uses them, and padded copies that of whoever makes their inside."""

from __future__ import annotations

import pytest

from bpcompile.nodes.statements import Program, Tensor
from bpcompile.program.schedule import schedule
from bpcompile.program.schedule_types import Nest
from bpcompile.program.verify import verify
from bpcompile.program.whole import along_whole_axes
from tests.program.build import Builder
from tests.program.test_schedule import assert_same
from tests.program.test_share import assert_equal_values


def _pooled(copy: str) -> Program:
    """A gradient spread over windows of two by two, then multiplied by a slope, then padded."""
    b = Builder({"n": None, "h0": 3, "h1": 2, "w0": 5, "w1": 2, "h": 6, "w": 10, "r": 9, "s": 14})
    return b.program(
        b.lines(f"""
            a[n,2*h0+h1,2*w0+w1] = {copy}
            z[n,h,w] = a[n,h,w]*x[n,h,w]
            q[n,r,s] = where(2 <= r, where(r < 8, where(3 <= s, where(s < 13, z[n,r-2,s-3], 0), 0), 0), 0)
            loss = sum(q[n,r,s]*q[n,r,s], n, r, s)
        """),
        {"x": "input", "y": "input", "q": "output", "z": "output", "loss": "loss"},
    )


@pytest.mark.parametrize(
    ("digits", "whole"),
    [
        ("0.25*y[n,h0,w0]", "0.25*y[n, h//2, w//2]"),
        ("where(2*h1 + w1 == 1, y[n,h0,w0], 0)", "where(2*(h % 2) + w % 2 == 1, y[n, h//2, w//2], 0)"),
    ],
)
def test_digits_that_no_address_needs_are_joined(digits: str, whole: str) -> None:
    program = _pooled(digits)
    joined = along_whole_axes(program)
    verify(joined)
    assert str(next(iter(joined.statements()))) == f"a[n, h, w] = {whole}"
    assert_equal_values(program, joined)
    assert_same(program, schedule(joined))


@pytest.mark.parametrize("copy", ["y[n,h0,w0]*y[n,h1,w1]", "x[n,h0,h1+w0]*w1"])
def test_digits_of_addresses_stay(copy: str) -> None:
    program = _pooled(copy)
    joined = along_whole_axes(program)
    verify(joined)
    assert next(iter(joined.statements())).axes[1].extent == 3
    assert_equal_values(program, joined)


def test_groups_of_channels_go_along_with_what_follows() -> None:
    b = Builder({"n": None, "g": 2, "c": 3, "k": 6, "t": 5})
    program = b.program(
        b.lines("""
            y[n,3*g+c,t] = (x[n,3*g+c,t] - m[n,g])*s[3*g+c]
            z[n,k,t] = y[n,k,t]*y[n,k,t]
            loss = sum(z[n,k,t], n, k, t)
        """),
        {"x": "input", "m": "input", "s": "parameter", "y": "output", "z": "output", "loss": "loss"},
        x=Tensor("x", (None, 6, 5), "input"), s=Tensor("s", (6,), "parameter"),
    )  # fmt: skip
    joined = along_whole_axes(program)
    assert str(next(iter(joined.statements()))) == "y[n, g_, t] = (x[n, g_, t] - m[n, g_//3])*s[g_]"
    assert_equal_values(program, joined)
    assert_same(program, schedule(joined))


def test_a_padded_gradient_is_made_in_one_loop() -> None:
    """The copy needs no memory, the inside of the padded tensor is written with its values, and borders are zero."""
    program = _pooled("0.25*y[n,h0,w0]")
    scheduled = schedule(program)
    nest = next(k for k in scheduled.steps if isinstance(k, Nest) and any(s.target == "q" for s in k.statements))
    first = [str(s) for s, group in zip(nest.statements, nest.joined, strict=True) if group == 0]
    assert first == ["a[n, h, w] = 0.25*y[n, h//2, w//2]", "z[n, h, w] = a[n, h, w]*x[n, h, w]", "q[n, h + 2, w + 3] = z[n, h, w]"]
    borders = [str(s) for s in nest.statements if str(s).endswith("= 0")]
    assert borders == ["q[n, r, s] = 0", "q[n, r + 8, s] = 0", "q[n, r + 2, s] = 0", "q[n, r + 2, s + 13] = 0"]
    assert "a" in nest.local
    assert_same(program, scheduled)


def test_positions_are_padded_without_parting_their_channels() -> None:
    """Loops go on along the axis that is contiguous."""
    b = Builder({"n": None, "t": 7, "c": 20})
    program = b.program(
        b.lines("""
            q[n,t,c] = where(2 <= t, x[n,t-2,c], 0)
            loss = sum(q[n,t,c]*q[n,t,c], n, t, c)
        """),
        {"x": "input", "q": "output", "loss": "loss"},
        x=Tensor("x", (None, 5, 20), "input"),
    )
    scheduled = schedule(program)
    nest = next(k for k in scheduled.steps if isinstance(k, Nest) and k.statements[0].target == "q")
    assert [a.name for a in nest.axes] == ["n"]
    assert [str(s) for s in nest.statements] == ["q[n, t + 2, c] = x[n, t, c]", "q[n, t, c] = 0"]
    assert_same(program, scheduled)
