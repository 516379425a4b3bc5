"""Arrays of every kind are right or refused, with a sentence, and never crash."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.model import Model
from tests.model.networks import classifier, examples


@pytest.fixture(scope="module", params=["c", "numpy"])
def model(request: pytest.FixtureRequest) -> Model:
    return bp.compile(classifier(), backend=request.param)


def loss_of(model: Model, **data: Any) -> float:
    return float(model.value_and_grad(model.init(), **{**examples(), **data})[0])


def unaligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


X = examples()["x"]
Y = examples()["y"]
READ_ONLY = X.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "x",
    [
        X.astype(np.float64), X.astype(">f4"), X.astype(">f8"), X.tolist(), np.asfortranarray(X), READ_ONLY, unaligned(X),
        np.repeat(X, 2, axis=0)[::2], X[::-1].copy()[::-1], np.concatenate([X, X], axis=1)[:, :5], X.view(np.recarray),
        np.ma.MaskedArray(X), np.asmatrix(X), X.astype(np.longdouble),
    ],
    ids=["f8", "big", "big8", "list", "fortran", "readonly", "unaligned", "strided", "negative", "part", "subclass",
         "masked", "matrix", "longdouble"],
)  # fmt: skip
def test_layouts_give_the_same_loss(model: Model, x: Any) -> None:
    expected = loss_of(model)
    for _ in range(2):
        assert loss_of(model, x=x) == expected


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", ">i4", "i8", "u8", "f4", "f8", "f2"])
def test_labels_of_any_width(model: Model, dtype: str) -> None:
    assert loss_of(model, y=Y.astype(dtype)) == loss_of(model)


def test_integers_and_truth_values_are_real_numbers(model: Model) -> None:
    small = np.array([[1, 0, 1, 1, 0]] * 6)
    assert loss_of(model, x=small) == loss_of(model, x=small.astype(bool)) == loss_of(model, x=small.astype(np.float16))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"x": X[:, :4]}, r"'x' must have shape \(n, 5\), and has \(6, 4\)"),
        ({"x": X.T}, r"'x' must have shape \(n, 5\), and has \(5, 6\)"),
        ({"x": X[0]}, r"pass x\[None\] for a single one"),
        ({"x": X.reshape(6, 5, 1)}, r"x\.reshape\(-1, 5\) would fit"),
        ({"x": X[:0], "y": Y[:0]}, "the batch is empty"),
        ({"x": X[:3]}, "'x' holds 3 examples and 'y' holds 6"),
        ({"y": Y[:, None]}, r"'y' must have shape \(n,\), and has \(6, 1\)"),
        ({"x": X.astype(complex)}, "complex numbers"),
        ({"x": X.astype(object)}, "Python objects"),
        ({"x": np.array([["a"] * 5] * 6)}, "text"),
        ({"x": np.zeros((6, 5), "datetime64[s]")}, "datetime64"),
        ({"x": None}, "'x' is None"),
        ({"x": [[1, 2], [3]]}, "cannot be read as an array"),
        ({"x": X.astype(float) * 1e300}, "which float32 cannot hold"),
        ({"x": np.ma.MaskedArray(X, mask=X > 0)}, "masked elements"),
        ({"y": Y + 0.5}, "must hold integers, and holds"),
        ({"y": Y + 3}, r"integers in 0 \.\. 2, and holds"),
        ({"y": Y - 5}, r"integers in 0 \.\. 2, and holds"),
        ({"y": np.full(6, np.nan)}, "must hold integers, and holds nan"),
        ({"y": np.full(6, 2**63, np.uint64)}, r"integers in 0 \.\. 2, and holds 9223372036854775808"),
        ({"y": np.full(6, 1j)}, "complex"),
        ({"Y": Y}, "no input or target 'Y'"),
    ],
)
def test_what_does_not_fit_is_refused(model: Model, data: dict[str, Any], words: str) -> None:
    with pytest.raises(bp.ArrayError, match=words):
        loss_of(model, **data)


def test_an_object_that_fails_to_convert(model: Model) -> None:
    class OnADevice:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise TypeError("it lies on a device")

    with pytest.raises(bp.ArrayError, match=r"'x' \(OnADevice\) cannot be read as an array: it lies on a device"):
        loss_of(model, x=OnADevice())


def test_an_ignored_label_is_allowed_where_the_loss_knows_it() -> None:
    x, y = bp.Input("x", (5,)), bp.Target("y", classes=3)
    z = bp.Dense(3, name="output")(x)
    loss = bp.SoftmaxCrossEntropy(z, y, ignore_index=-100)
    model = bp.compile(bp.Network(z, loss=loss))
    labels = Y.copy()
    labels[2:] = -100
    params = model.init()
    for _ in range(2):
        some = model.value_and_grad(params, x=X, y=labels)[0]
    assert some == pytest.approx(model.value_and_grad(params, x=X[:2], y=Y[:2])[0], rel=1e-6)
    labels[0] = -99
    with pytest.raises(bp.ArrayError, match=r"0 \.\. 2 \(or -100\), and holds -99"):
        model.value_and_grad(params, x=X, y=labels)


def test_inputs_are_never_written(model: Model) -> None:
    data = examples()
    copies = {k: v.copy() for k, v in data.items()}
    model.value_and_grad(model.init(), **data)
    for name in data:
        np.testing.assert_array_equal(data[name], copies[name])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m, p, d: m.value_and_grad(p, **d, key="a"), "'key' must be an integer, and is 'a'"),
        (lambda m, p, d: m.value_and_grad(p, **d, step=1.5), "'step' must be an integer, and is 1.5"),
        (lambda m, p, d: m.init("a"), "'seed' must be an integer that is not negative"),
        (lambda m, p, d: m.init(-1), "'seed' must be an integer that is not negative"),
        (lambda m, p, d: m.train_epoch(p, **d, batch_size="a"), "'batch_size' must be a positive integer"),
        (lambda m, p, d: m.train_epoch(p, **d, batch_size=0), "'batch_size' must be a positive integer"),
        (lambda m, p, d: m.train_epoch(p, **d, seed=-3), "'seed' must be an integer that is not negative"),
        (lambda m, p, d: m.train_epoch(p, **d, learning_rate="a"), "learning rate must be a number"),
        (lambda m, p, d: bp.compile(m.network, optimizer="adam"), "must be an Optimizer, not 'adam'"),
        (lambda m, p, d: bp.check_gradients(m.network, samples=-1), "'samples' must be a positive integer"),
        (lambda m, p, d: bp.check_gradients(m.network, seconds=0), "'seconds' must be a positive number"),
    ],
)
def test_numbers_are_checked_like_arrays(call: Any, said: str) -> None:
    model = bp.compile(classifier(), backend="numpy", optimizer=bp.SGD(0.1))
    with pytest.raises(bp.BPCompileError, match=said):
        call(model, model.init(), examples())
