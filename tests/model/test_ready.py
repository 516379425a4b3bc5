"""Arrays that need no conversion go straight to C, new ones too; all others go the long way, with its checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile import ready
from bpcompile.model import Model
from tests.model.networks import classifier, examples, regression, with_state


class Counter:
    """Stands before the long way of a model's method, and counts."""

    def __init__(self, model: Model, name: str) -> None:
        self.calls = 0
        scope = getattr(model, name).__globals__
        self._method = scope["_long_way"]
        scope["_long_way"] = self

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        return self._method(*arguments, **named)


def expected(**data: Any) -> tuple[float, Any]:
    """What the checked way gives."""
    plain = bp.compile(classifier(), check_finite=True)
    loss, grads = plain.value_and_grad(plain.init(), **data)
    return loss, grads.flat


def test_new_arrays_take_the_short_way() -> None:
    model = bp.compile(classifier())
    params, long_way = model.init(), Counter(model, "value_and_grad")
    for seed in range(4):
        data = examples(seed=seed)
        loss, grads = model.value_and_grad(params, **data)
        right = expected(**data)
        assert loss == right[0]
        np.testing.assert_array_equal(grads.flat, right[1])
        np.testing.assert_array_equal(grads["output.b"], right[1][-3:])
    assert long_way.calls == 1  # the first call makes the workspace


def test_fewer_examples_stay_short_and_more_need_a_larger_workspace() -> None:
    model = bp.compile(classifier())
    params, long_way = model.init(), Counter(model, "value_and_grad")
    for n, calls in ((6, 1), (4, 1), (6, 1), (9, 2), (1, 2), (9, 2)):
        data = examples(n)
        assert model.value_and_grad(params, **data)[0] == expected(**data)[0]
        assert long_way.calls == calls


X, Y = examples()["x"], examples()["y"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"x": X[:, :4].copy()}, "must have shape"),
        ({"x": X.reshape(6, 5, 1)}, "must have shape"),
        ({"x": X[:5]}, "holds 5 examples and 'y' holds 6"),
        ({"x": X[:0], "y": Y[:0]}, "the batch is empty"),
        ({"x": np.float32(1)}, "must have shape"),
        ({"x": np.array(1, np.float32)}, "must have shape"),
        ({"y": Y + 3}, r"integers in 0 \.\. 2"),
        ({"y": np.full(6, -1, np.int32)}, r"integers in 0 \.\. 2"),
        ({"y": Y.reshape(6, 1)}, "must have shape"),
    ],
)
def test_what_does_not_fit_is_refused_after_good_calls(data: dict[str, Any], words: str) -> None:
    model = bp.compile(classifier())
    params = model.init()
    right = model.value_and_grad(params, x=X, y=Y)[0]
    for _ in range(2):
        with pytest.raises(bp.ArrayError, match=words):
            model.value_and_grad(params, **{"x": X, "y": Y, **data})
        assert model.value_and_grad(params, x=X, y=Y)[0] == right


@pytest.mark.parametrize("x", [X.astype(np.float64), X[::-1], X.astype(">f4"), X.tolist(), np.asfortranarray(X)])
def test_what_must_be_converted_is_converted(x: Any) -> None:
    model = bp.compile(classifier())
    params = model.init()
    model.value_and_grad(params, x=X, y=Y)
    assert model.value_and_grad(params, x=x, y=Y)[0] == expected(x=np.ascontiguousarray(x, np.float32), y=Y)[0]
    np.testing.assert_array_equal(model.predict(params, x=x), model.predict(params, x=np.ascontiguousarray(x, np.float32)))


def test_predictions_take_the_short_way_and_are_new_arrays() -> None:
    model = bp.compile(classifier())
    params, long_way = model.init(), Counter(model, "predict")
    first = model.predict(params, x=X)
    kept = first.copy()
    second = model.predict(params, x=2 * X)
    assert long_way.calls == 1
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(second, bp.compile(classifier(), check_finite=True).predict(params, x=2 * X))
    model.value_and_grad(params, x=X, y=Y)
    np.testing.assert_array_equal(model.predict(params, x=X), kept)
    assert model.predict(params, x=X, y=Y).shape == (6, 3)  # targets are allowed, and not looked at


def test_other_parameters_and_mappings() -> None:
    model = bp.compile(regression())
    x, y = np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32)
    one, two = model.init(0), model.init(1)
    losses = [model.value_and_grad(p, x=x, y=y)[0] for p in (one, two, dict(one.items()), one.copy(), one)]
    assert losses[0] == losses[2] == losses[3] == losses[4] != losses[1]


@pytest.mark.parametrize("name", ["id", "type", "AttributeError", "n", "call", "labels"])
def test_inputs_may_be_called_like_what_the_short_way_uses(name: str) -> None:
    x, y = bp.Input(name, (2,)), bp.Target("y", (2,))
    z = bp.Dense(2, name="output")(x)
    model = bp.compile(bp.Network(z, loss=bp.MeanSquaredError(z, y), name="named"))
    params, data = model.init(), {name: np.ones((3, 2), np.float32), "y": np.zeros((3, 2), np.float32)}
    counters = [Counter(model, "value_and_grad"), Counter(model, "predict")]
    losses = {model.value_and_grad(params, **data)[0] for _ in range(3)}
    assert len(losses) == 1
    np.testing.assert_array_equal(*(model.predict(params, **{name: data[name]}) for _ in range(2)))
    assert [c.calls for c in counters] == [1, 0]


def test_keys_and_states_go_the_long_way() -> None:
    model = bp.compile(with_state())
    assert "value_and_grad" not in vars(model)
    plain = bp.compile(classifier())
    params, long_way = plain.init(), Counter(plain, "value_and_grad")
    plain.value_and_grad(params, x=X, y=Y, key=7)
    plain.value_and_grad(params, x=X, y=Y)
    plain.value_and_grad(params, x=X, y=Y)
    assert long_way.calls == 2  # a key was left behind in the struct, and had to be taken out


def test_arrays_that_c_cannot_read_go_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_readable", lambda test, real: False)
    model = bp.compile(classifier())
    assert not {"value_and_grad", "predict"} & set(vars(model))
    assert model.value_and_grad(model.init(), x=X, y=Y)[0] == expected(x=X, y=Y)[0]


def test_vectors_begin_with_a_cache_line() -> None:
    model = bp.compile(classifier())
    params = model.init()
    vectors = [params.flat, params.copy().flat, model.parameters(params).flat, model.bind(params, x=X, y=Y)()[1].flat]
    assert [v.ctypes.data % 64 for v in vectors] == [0, 0, 0, 0]
