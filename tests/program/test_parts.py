"""Sums into disjoint parts of a tensor: formed for their own rows alone, and never cleared."""

from __future__ import annotations

import numpy as np

import bpcompile as bp
from bpcompile.calculus.gradient import analyze
from bpcompile.driver import lower
from bpcompile.program.schedule import schedule
from bpcompile.program.schedule_types import Clear, Contraction


def joined(rows: tuple[int, ...], start: int = 0) -> bp.Network:
    """Three projections by parts of one weight; the last part begins at `start` + 64 instead of 64."""
    x, y = bp.Input("x", (40,)), bp.Target("y", (2, 16))
    layer = bp.Layer(
        ["q[n,h,d] = sum(W[16*h + d,i]*x[n,i], i)", "k[n,h,d] = sum(W[16*h + d + 32,i]*x[n,i], i)",
         f"v[n,h,d] = sum(W[16*h + d + {64 + start},i]*x[n,i], i)", "o[n,h,d] = q[n,h,d]*k[n,h,d] + sin(v[n,h,d])"],
        parameters={"W": rows}, sizes={"i": 40, "h": 2, "d": 16}, inputs=("x",), output="o", name="parts")  # fmt: skip
    z = layer(x)
    return bp.Network(z, loss=bp.MeanSquaredError(z, y))


def kernels(net: bp.Network) -> tuple[object, ...]:
    gradient = lower(analyze(net), ("parameters",), None).gradient
    assert gradient is not None
    return tuple(k for k in schedule(gradient).steps)


def test_parts_that_make_up_the_whole_are_assigned() -> None:
    found = kernels(joined((96, 40)))
    assert not any(isinstance(k, Clear) for k in found)
    parts = [k for k in found if isinstance(k, Contraction) and k.statement.target == "parts.W.bar"]
    assert len(parts) == 3
    assert not any(k.statement.accumulate for k in parts)
    assert all([a.extent for a in k.statement.axes] == [2, 16, 40] for k in parts)


def test_a_part_that_nothing_writes_is_cleared() -> None:
    for net in (joined((98, 40)), joined((98, 40), 2), joined((96, 40), -1)):
        assert any(isinstance(k, Clear) and k.tensor == "parts.W.bar" for k in kernels(net))


def test_gradients_of_parts() -> None:
    rng = np.random.default_rng(0)
    for net in (joined((96, 40)), joined((96, 40), -1)):
        report = bp.check_gradients(net, None, x=rng.standard_normal((7, 40)), y=rng.standard_normal((7, 2, 16)))
        assert report.passed, report
