"""The verifier lets the hand-written programs pass and refuses every broken one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bpcompile.nodes.expressions import Axis, axis, const, load, node
from bpcompile.nodes.statements import Program, Statement, Tensor
from bpcompile.program.accumulate import settle_accumulations
from bpcompile.program.verify import MalformedProgram, verify
from tests.program import networks
from tests.program.build import Builder


@pytest.mark.parametrize("name", networks.ALL)
def test_programs_are_well_formed(name: str) -> None:
    program = networks.ALL[name]()
    verify(program)
    verify(settle_accumulations(program))


def _with_last(program: Program, **changes: object) -> Program:
    last = program.steps[-1]
    assert isinstance(last, Statement)
    return program.with_steps((*program.steps[:-1], replace(last, **changes)))  # type: ignore[arg-type]


ROW, COLUMN = Axis("n", None), Axis("i", 5)
BROKEN = {
    "is not bound": {"body": load("x", [axis(ROW), axis(Axis("q", 5))])},
    "is bound twice": {"axes": (ROW, COLUMN, COLUMN)},
    "means nothing": {"reduce": "sum", "over": ()},
    "no tensor": {"body": load("nothing", [])},
    "does not fit": {"body": load("x", [axis(ROW)])},
    "not an integer": {"body": load("x", [axis(ROW), const(1.0)])},
    "leaves its tensor": {"body": load("x", [axis(ROW), node("add", (axis(COLUMN), const(1)))])},
    "not conditions": {"body": node("and", (const(1.0), const(True)))},
    "selects by": {"body": node("where", (const(1.0), const(1.0), const(2.0)))},
    "calculates with": {"body": node("add", (const(1.0), const(True)))},
    "does not take": {"body": node("exp", (const(1.0), const(1.0)))},
    "caller's": {"target": "x"},
    "condition is stored": {"body": node("lt", (const(1.0), const(2.0))), "reduce": None, "over": ()},
    "once for each": {"target": "x_bar", "subscripts": (axis(ROW), const(0)), "accumulate": False},
}


@pytest.mark.parametrize("reason", BROKEN)
def test_broken_statements_are_refused(reason: str) -> None:
    with pytest.raises(MalformedProgram, match=reason):
        verify(_with_last(networks.dense(), **BROKEN[reason]))


def test_order_is_checked() -> None:
    b = Builder({"n": None, "i": 4, "h": 2})
    roles = {"x": "input", "y": "output"}
    verify(b.program(b.lines("u[n,i] = 2*x[n,i]\ny[n,i] = u[n,i]"), roles))
    for text, reason in [
        ("y[n,i] = u[n,i]\nu[n,i] = 2*x[n,i]", "read before"),
        ("y[n,i] = x[n,i]\ny[n,i] = 2*x[n,i]", "written twice"),
        ("y[n,i] += x[n,i]\ny[n,i] = 2*x[n,i]", "wipes out"),
    ]:
        with pytest.raises(MalformedProgram, match=reason):
            verify(b.program(b.lines(text), roles))


def test_disjoint_parts_may_be_assigned() -> None:
    b = Builder({"n": None, "i": 4, "h": 2})
    verify(b.program(b.lines("y[n,2*h] = x[n,h]\ny[n,2*h+1] = x[n,h+2]\nz[n,i] = y[n,i] + x[n,i]"),
                     {"x": "input", "z": "output"}, x=Tensor("x", (None, 4), "input")))  # fmt: skip
