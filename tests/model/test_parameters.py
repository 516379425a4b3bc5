"""The memory of gradients."""

from __future__ import annotations

import numpy as np

import bpcompile as bp
from bpcompile.parameters import Recycled


def test_large_vectors_are_used_again_when_nobody_holds_them() -> None:
    make = Recycled(1000, np.dtype(np.float32))
    first = make()
    view, place = first[10:20], first.ctypes.data
    del first
    other = make()
    assert other.ctypes.data != place  # the view is still held
    del view
    again = make()
    assert again.ctypes.data == place
    assert make().ctypes.data != place  # two at a time never share
    assert again.flags.c_contiguous
    assert again.flags.writeable


def test_gradients_that_are_kept_keep_their_values() -> None:
    x = bp.Input("x", (1500,))
    net = bp.Network(None, loss=bp.Layer(["l[n] = sum(z[n,j]**2, j)"], inputs=("z",), output="l")(bp.Dense(1500)(x)))
    model = bp.compile(net)
    params, data = model.init(), np.ones((1, 1500), np.float32)
    _, first = model.value_and_grad(params, x=data)
    kept, before = first["dense_1.W"][3], first["dense_1.W"][3].copy()
    del first
    for factor in (2, 3):
        _, second = model.value_and_grad(params, x=factor * data)
        np.testing.assert_allclose(second["dense_1.W"][3], factor**2 * before, rtol=1e-5)
    np.testing.assert_array_equal(kept, before)
