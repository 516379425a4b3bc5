"""Arrays as they should not be: right or refused, and never a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.errors import BPCompileError


def model(backend: str) -> bp.Model:
    x, y = bp.Input("x", (4,)), bp.Target("y", classes=3)
    z = bp.Dense(3, activation="tanh", name="a")(x)
    return bp.compile(bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y)), backend=backend, dtype="float64", flags=["-O1"])


X = np.random.default_rng(0).normal(size=(6, 4))
Y = np.array([0, 1, 2, 0, 1, 2])


class Subclass(np.ndarray[Any, Any]):
    """An array of a class of its own."""


def _misaligned(a: np.ndarray) -> np.ndarray:
    room = np.zeros(a.nbytes + 1, np.uint8)
    view = room[1:].view(a.dtype).reshape(a.shape)
    view[:] = a
    return view


def _read_only(a: np.ndarray) -> np.ndarray:
    b = a.copy()
    b.flags.writeable = False
    return b


SAME: dict[str, Callable[[np.ndarray], Any]] = {
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "column order": np.asfortranarray,
    "negative strides": lambda a: a[::-1].copy()[::-1],
    "negative strides in all axes": lambda a: np.flip(np.flip(a).copy()),
    "misaligned": _misaligned,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read-only": _read_only,
    "a subclass": lambda a: a.view(Subclass),
    "a list": lambda a: a.tolist(),
    "broadcast in memory": lambda a: np.broadcast_to(a[None], (1, *a.shape))[0],
}


@pytest.mark.parametrize("backend", ["numpy", "c"])
@pytest.mark.parametrize("form", SAME)
def test_the_same_numbers_in_another_form(form: str, backend: str) -> None:
    m = model(backend)
    params = m.init(seed=0)
    want, grads = m.value_and_grad(params, x=X, y=Y)
    want_grad = np.array(grads["a.W"])
    got, found = m.value_and_grad(params, x=SAME[form](X), y=SAME[form](Y))
    assert got == want and np.array_equal(found["a.W"], want_grad)
    step = m.bind(params, x=SAME[form](X), y=SAME[form](Y))
    assert step()[0] == want
    changed = {k: SAME[form](v) for k, v in m.init(seed=0).items()}
    assert m.value_and_grad(changed, x=X, y=Y)[0] == want


REFUSED: dict[str, tuple[Any, Any]] = {
    "no examples": (X[:0], Y[:0]),
    "too few columns": (X[:, :3], Y),
    "one axis more": (X[..., None], Y),
    "a number": (1.0, Y),
    "objects": (np.array([[None] * 4] * 6, object), Y),
    "complex": (X + 1j, Y),
    "text": (np.full((6, 4), "a"), Y),
    "ragged": ([[1.0], [1.0, 2.0]], Y),
    "dates": (np.zeros((6, 4), "datetime64[s]"), Y),
    "a record": (np.zeros((6, 4), [("a", "f8")]), Y),
    "a label too large": (X, Y + 1),
    "a negative label": (X, Y - 1),
    "a label that is no integer": (X, Y + 0.5),
    "a label that is NaN": (X, np.full(6, np.nan)),
    "a huge label": (X, Y + 2**40),
    "another number of examples": (X, Y[:5]),
    "nothing": (None, Y),
    "a dictionary": ({"x": 1}, Y),
}


@pytest.mark.parametrize("backend", ["numpy", "c"])
@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_a_sentence(what: str, backend: str) -> None:
    m = model(backend)
    x, y = REFUSED[what]
    with pytest.raises(BPCompileError) as caught:
        m.value_and_grad(m.init(), x=x, y=y)
    assert len(str(caught.value)) > 20


def test_missing_and_extra_names() -> None:
    m = model("numpy")
    for data in ({"x": X}, {"x": X, "y": Y, "z": X}, {}):
        with pytest.raises(BPCompileError):
            m.value_and_grad(m.init(), **data)


@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_one_array_as_input_and_parameter(backend: str) -> None:
    """Memory that overlaps: an input that is a view of the parameters."""
    m = model(backend)
    params = m.init(seed=0)
    shared = params["a.W"].reshape(3, 4)
    want = m.value_and_grad(params, x=shared.copy(), y=Y[:3])[0]
    assert m.value_and_grad(params, x=shared, y=Y[:3])[0] == want


def test_nan_is_noticed_where_asked() -> None:
    x, y = bp.Input("x", (4,)), bp.Target("y", classes=3)
    z = bp.Dense(3, name="a")(x)
    m = bp.compile(bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y)), backend="numpy", check_finite=True)
    bad = X.copy()
    bad[1, 2] = np.nan
    with pytest.raises(BPCompileError):
        m.value_and_grad(m.init(), x=bad, y=Y)
