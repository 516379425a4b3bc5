"""Products with the zeros around padded tensors are left out, and no others."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.calculus.gradient import analyze
from bpcompile.driver import lower
from bpcompile.emit.c import contraction_plan
from bpcompile.nodes.affine import affine
from bpcompile.nodes.expressions import axes_of
from bpcompile.program.schedule import schedule
from bpcompile.program.schedule_types import Contraction
from tests.program.interpret import random_inputs, run_program


def network(size: int, kernel: int, padding: int, stride: int = 1, dilation: int = 1) -> bp.Network:
    x, y = bp.Input("x", (4, size, size)), bp.Target("y", classes=3)
    h = bp.Conv2D(6, kernel, padding=padding, strides=stride, dilation_rate=dilation, activation="tanh", name="first")(x)
    h = bp.Conv2D(5, 3, padding=1, name="second")(h)
    z = bp.Dense(3, name="last")(bp.Flatten()(bp.AveragePooling2D(2)(h)))
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y))


CASES = {"wide halo": (10, 5, 2), "stride": (9, 3, 2, 2), "dilation": (8, 3, 2, 1, 2)}


def test_left_out_products_are_zero() -> None:
    program = lower(analyze(network(6, 5, 2)), ("parameters",), None).gradient
    assert program is not None
    values = run_program(program, random_inputs(program, 2), 2)
    steps = [k for step in schedule(program).steps for k in getattr(step, "body", (step,))]
    found = [k for k in steps if isinstance(k, Contraction) and k.halo]
    assert {k.statement.target for k in found} >= {"first.z.sum1", "second.z.sum1"}
    assert any(k.halo.sign == -1 for k in found if k.halo)  # the gradient by an image
    for kernel in found:
        halo = kernel.halo
        assert halo is not None
        left_out = kept = 0
        axes = [halo.outer, halo.inner]
        for h, p in itertools.product(*(range(a.extent or 0) for a in axes)):
            zero = not halo.low <= h + halo.sign * p < halo.high
            left_out, kept = left_out + zero, kept + (not zero)
            sides = [(e, k) for e in (kernel.left, kernel.right) for k in range(len(e.args))]
            padded, k = next((e, k) for e, k in sides if {halo.outer, halo.inner} <= set(axes_of(e.args[k])))
            at = affine(padded.args[k]).constant + h + halo.sign * p
            assert (np.take(values[padded.value[0]], at, axis=k) == 0).all() == zero
        assert kept
    assert left_out


@pytest.mark.parametrize("name", CASES)
def test_gradients_with_halos(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of every height agree with NumPy."""
    net = network(*CASES[name])
    reference = bp.compile(net, backend="numpy", dtype="float64")
    params = reference.init(3)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(5, 4, CASES[name][0], CASES[name][0])), generator.integers(0, 3, 5)
    loss, expected = reference.value_and_grad(params, x=x, y=y)
    for vectors in (1, 3):
        monkeypatch.setattr(contraction_plan, "STRIP_COST", {1: 3.0, 2: 3.0, 3: 3.0} | {vectors: 0.5})
        model = bp.compile(net, dtype="float64")
        assert "depth_from" in model.source or name == "stride"
        got_loss, got = model.value_and_grad(params, x=x, y=y)
        assert abs(got_loss - loss) < 1e-12
        for key in params:
            np.testing.assert_allclose(got[key], expected[key], rtol=1e-10, atol=1e-12, err_msg=key)
