"""A layer with a state that is called twice: the second call goes on where the first one ended."""

from __future__ import annotations

import numpy as np

import bpcompile as bp


def test_second_call_reads_what_the_first_one_wrote() -> None:
    count = bp.Layer(["y[n] = x[n]*seen", "seen = seen + 1"], inputs=("x",), output="y", state={"seen": ()}, name="count")
    x = bp.Input("x", ())
    first = count(x)
    second = count(x)
    cost = bp.Layer(["l[n] = w*(a[n] + 10*b[n])"], inputs=("a", "b"), output="l", parameters={"w": ()}, name="cost")
    net = bp.Network([first, second], loss=cost(first, second))
    model = bp.compile(net, backend="numpy", dtype="float64")
    params, state = model.init(), model.init_state()
    params["cost.w"][...] = 1
    ones = np.ones(2)
    loss, _ = model.value_and_grad(params, x=ones, state=state)
    assert loss == 0 + 10 * 1
    assert state["count.seen"] == 2
    loss, _ = model.value_and_grad(params, x=ones, state=state, training=False)
    assert loss == 2 + 10 * 2
    assert state["count.seen"] == 2
