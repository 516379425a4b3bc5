"""The compiled network as its user meets it: values, gradients, parameters, files, threads."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from tests.model.networks import classifier, clusters, examples, regression, with_state

BACKENDS = ["c", "numpy"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_gradients_match_a_hand_written_backward_pass(backend: str) -> None:
    model = bp.compile(classifier(), backend=backend, dtype="float64", wrt=("parameters", "x"))
    params, data = model.init(seed=3), examples()
    x, y = data["x"].astype(float), data["y"]
    loss, grads = model.value_and_grad(params, **data)
    h = np.tanh(x @ params["hidden.W"].T + params["hidden.b"])
    z = h @ params["output.W"].T + params["output.b"]
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(p[np.arange(6), y]).mean(), rel=1e-12)
    dz = (p - np.eye(3)[y]) / 6
    dh = dz @ params["output.W"] * (1 - h**2)
    expected = {
        "output.W": dz.T @ h, "output.b": dz.sum(axis=0), "hidden.W": dh.T @ x, "hidden.b": dh.sum(axis=0),
        "x": dh @ params["hidden.W"],
    }  # fmt: skip
    assert list(grads) == [*params, "x"]
    for name, value in expected.items():
        np.testing.assert_allclose(grads[name], value, rtol=1e-10, atol=1e-14, err_msg=name)
    np.testing.assert_allclose(model.predict(params, x=x), z, rtol=1e-12)
    np.testing.assert_array_equal(grads.flat, np.concatenate([grads[name].reshape(-1) for name in params]))


def test_the_short_way_sees_every_change() -> None:
    model = bp.compile(classifier())
    params, data = model.init(), examples()
    first, _ = model.value_and_grad(params, **data)
    assert model.value_and_grad(params, **data)[0] == first  # now by the short way
    data["x"][0, 0] += 1
    second, grads = model.value_and_grad(params, **data)
    assert second != first
    kept = grads.flat.copy()
    params.flat[:] *= 1.5
    third, _ = model.value_and_grad(params, **data)
    assert third != second
    np.testing.assert_array_equal(grads.flat, kept)  # earlier gradients are not overwritten
    data["y"][0] = 99
    with pytest.raises(bp.ArrayError, match=r"'y' must hold integers in 0 \.\. 2, and holds 99"):
        model.value_and_grad(params, **data)
    data["y"][0] = 0
    with pytest.raises(bp.ArrayError, match="'z'"):
        model.value_and_grad(params, **data, z=1)
    with pytest.raises(bp.ArrayError, match="'y' is missing"):
        model.value_and_grad(params, x=data["x"])
    other = examples(9, seed=1)
    assert model.value_and_grad(params, **other)[0] == bp.compile(classifier()).value_and_grad(params, **other)[0]
    assert model.value_and_grad(params.copy(), **data)[0] == model.value_and_grad(dict(params), **data)[0]


def test_bound_steps_follow_parameters_and_arrays(backend: str) -> None:
    model = bp.compile(classifier(), backend=backend, dtype="float64")
    params = model.init()
    data = {"x": examples()["x"].astype(float), "y": examples()["y"]}
    step = model.bind(params, **data)
    assert step()[0] == model.value_and_grad(params, **data)[0]
    params.flat[:] += 0.1
    data["x"][:] *= 2
    loss, grads = step()
    again, fresh = model.value_and_grad(params, **data)
    assert loss == again
    np.testing.assert_array_equal(grads.flat, fresh.flat)


def test_init_is_seeded_and_views_share_the_flat_vector() -> None:
    model = bp.compile(classifier(), backend="numpy")
    params = model.init(seed=1)
    np.testing.assert_array_equal(params.flat, model.init(seed=1).flat)
    assert not np.array_equal(params.flat, model.init(seed=2).flat)
    assert list(params) == ["hidden.W", "hidden.b", "output.W", "output.b"] and params.flat.size == 39
    params["hidden.W"][...] = 7
    assert (params.flat[:20] == 7).all()
    params["output.b"] = [1, 2, 3]
    np.testing.assert_array_equal(params.flat[-3:], [1, 2, 3])
    with pytest.raises(bp.ArrayError, match=r"'output.b' must have shape \(3,\), and has \(4,\)"):
        params["output.b"] = [1, 2, 3, 4]
    with pytest.raises(KeyError, match=r"Did you mean 'hidden\.W'"):
        params["hiden.W"]
    twin = pickle.loads(pickle.dumps(params))
    np.testing.assert_array_equal(twin.flat, params.flat)
    twin.flat[:] = 0
    assert params.flat.any()
    assert "39 elements" in repr(params)


def test_any_mapping_will_do_for_parameters(backend: str) -> None:
    model = bp.compile(classifier(), backend=backend)
    params, data = model.init(), examples()
    plain = {name: np.asarray(value, np.float64).tolist() for name, value in params.items()}
    assert model.value_and_grad(plain, **data)[0] == pytest.approx(model.value_and_grad(params, **data)[0], rel=1e-6)
    wide = bp.compile(classifier(), backend="numpy", dtype="float64")
    assert wide.value_and_grad(params, **data)[0] == pytest.approx(model.value_and_grad(params, **data)[0], rel=1e-5)
    for broken, words in (
        ({k: v for k, v in plain.items() if k != "hidden.b"}, "parameter 'hidden.b' is missing"),
        ({**plain, "hidden.w": 1}, "no parameter 'hidden.w'"),
        ({**plain, "hidden.b": [1, 2]}, r"'hidden.b' must have shape \(4,\), and has \(2,\)"),
        ({**plain, "hidden.b": ["a"] * 4}, "must hold real numbers"),
    ):
        with pytest.raises(bp.ArrayError, match=words):
            model.value_and_grad(broken, **data)
    with pytest.raises(bp.ArrayError, match="mapping of names to arrays"):
        model.predict(np.zeros(39), x=data["x"])


def test_saving_and_loading(tmp_path: Path) -> None:
    model = bp.compile(with_state(), backend="numpy")
    params, state = model.init(), model.init_state()
    state["centred.m"] = [1, 2, 3]
    model.save(tmp_path / "net.safetensors", params, state)
    np.testing.assert_array_equal(model.load(tmp_path / "net.safetensors").flat, params.flat)
    np.testing.assert_array_equal(model.load_state(tmp_path / "net.safetensors")["centred.m"], [1, 2, 3])
    with pytest.raises(bp.DataError, match="no file"):
        model.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(bp.DataError, match="cannot be read as safetensors"):
        model.load(tmp_path / "bad.safetensors")
    with pytest.raises(bp.ArrayError):
        bp.compile(classifier(), backend="numpy").load(tmp_path / "net.safetensors")
    with pytest.raises(bp.DataError, match="cannot be written"):
        model.save(tmp_path / "none" / "net.safetensors", params)


def test_a_state_dict_loads_by_renaming() -> None:
    model = bp.compile(classifier(), backend="numpy")
    shapes = {"hidden.weight": (4, 5), "hidden.bias": (4,), "head.weight": (3, 4), "head.bias": (3,)}
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    params = model.load_state_dict(values, rename={"head.weight": "output.W", "head.bias": "output.b"})
    np.testing.assert_array_equal(params["hidden.W"], values["hidden.weight"].astype(np.float32))
    np.testing.assert_array_equal(params["output.b"], values["head.bias"].astype(np.float32))
    with pytest.raises(bp.ArrayError, match=r"no parameter 'head\.weight'"):
        model.load_state_dict(values)
    with pytest.raises(bp.ArrayError, match=r"no parameter 'output\.X'"):
        model.load_state_dict(values, rename={"head.weight": "output.X"})


def test_state_moves_on_in_training_only(backend: str) -> None:
    model = bp.compile(with_state(), backend=backend, dtype="float64")
    params, state = model.init(), model.init_state()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)) + 5, rng.normal(size=(8, 2))
    with pytest.raises(bp.ArrayError, match=r"state=model\.init_state\(\)"):
        model.predict(params, x=x)
    one, _ = model.value_and_grad(params, state=state, key=1, x=x, y=y)
    np.testing.assert_allclose(state["centred.m"], 0.1 * x.mean(axis=0), rtol=1e-12)
    before = state.flat.copy()
    out = model.predict(params, state=state, x=x)
    np.testing.assert_array_equal(state.flat, before)
    np.testing.assert_allclose(out, (x - state["centred.m"]) @ params["output.W"].T + params["output.b"], rtol=1e-12)
    assert one == model.value_and_grad(params, state=model.init_state(), key=1, x=x, y=y)[0]
    assert one != model.value_and_grad(params, state=model.init_state(), key=2, x=x, y=y)[0]
    assert one != model.value_and_grad(params, state=model.init_state(), key=1, step=1, x=x, y=y)[0]


def test_threads_call_one_model_at_once(backend: str) -> None:
    model = bp.compile(classifier(), backend=backend)
    params = model.init()
    batches = [examples(3 + k, seed=k) for k in range(6)]
    expected = [bp.compile(classifier(), backend=backend).value_and_grad(params, **b) for b in batches]
    wrong: list[Any] = []

    def work(k: int) -> None:
        for _ in range(50):
            loss, grads = model.value_and_grad(params, **batches[k])
            if loss != expected[k][0] or not np.array_equal(grads.flat, expected[k][1].flat):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    data = clusters(700)
    results = []
    for threads in (1, 2):
        model = bp.compile(classifier(), threads=threads, optimizer=bp.Adam(1e-2))
        params = model.init()
        for epoch in range(2):
            model.train_epoch(params, **data, seed=epoch, batch_size=256)
        results.append(params.flat.copy())
    np.testing.assert_array_equal(results[0], results[1])


def test_source_cost_and_repr(backend: str) -> None:
    model = bp.compile(regression(), backend=backend)
    assert ("#include" if backend == "c" else "import numpy as np") in model.source
    cost = model.cost
    assert cost.forward_ops > 0 and cost.backward_ops > 0
    assert cost.separate_ops > cost.forward_ops + cost.backward_ops
    assert (cost.arena_bytes(10) > cost.arena_bytes(1) > 0) == (backend == "c")
    assert "12 parameters" in repr(model)
    assert f"{cost.backward_ops:,.0f} backward" in repr(cost) and len(repr(cost)) < 200


def test_options_that_make_no_sense() -> None:
    for options, words in (
        ({"backend": "cuda"}, "no backend 'cuda'"),
        ({"dtype": "float16"}, "'float32' or 'float64'"),
        ({"threads": 0}, "positive integer"),
        ({"wrt": ("z",)}, "wrt names 'z'"),
    ):
        with pytest.raises(bp.BPCompileError, match=words):
            bp.compile(classifier(), **options)  # type: ignore[arg-type]
    with pytest.raises(bp.BPCompileError, match="takes a Network"):
        bp.compile("net")  # type: ignore[arg-type]


def test_without_a_compiler_numpy_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    from bpcompile import driver

    def missing(*_: Any, **__: Any) -> None:
        raise bp.CompilerMissing("No C compiler was found.", hint="pip install bpcompile[zig]")

    monkeypatch.setattr(driver.build, "build", missing)
    with pytest.warns(bp.BPCompileWarning, match=r"No C compiler was found(.|\n)*zig(.|\n)*NumPy instead"):
        model = bp.compile(regression())
    assert model.backend == "numpy"
    assert np.isfinite(model.value_and_grad(model.init(), x=np.ones((1, 2)), y=np.ones((1, 2)))[0])


def test_a_network_without_a_loss_predicts_only() -> None:
    x = bp.Input("x", (2,))
    model = bp.compile(bp.Network(bp.Dense(1, name="d")(x)), backend="numpy")
    assert model.predict(model.init(), x=[[1.0, 2.0]]).shape == (1, 1)
    with pytest.raises(bp.TrainingError, match="no loss"):
        model.value_and_grad(model.init(), x=[[1.0, 2.0]])


def test_finiteness_on_request() -> None:
    model = bp.compile(regression(), check_finite=True)
    good = np.ones((2, 2))
    with pytest.raises(bp.ArrayError, match=r"'x' holds nan at \(1, 0\)"):
        model.value_and_grad(model.init(), x=[[1, 1], [np.nan, 1]], y=good)
    params = model.init()
    params["output.W"][0, 0] = np.inf
    with pytest.raises(bp.TrainingError, match="The loss is"):
        model.value_and_grad(params, x=good, y=good)


def test_names_that_clash_with_arguments_still_work() -> None:
    x, y = bp.Input("lambda_", (2,)), bp.Target("w", (1,))
    z = bp.Dense(1, name="d")(x)
    model = bp.compile(bp.Network(z, loss=bp.MeanSquaredError(z, y)))
    data = {"lambda_": np.ones((1, 2), np.float32), "w": np.ones((1, 1), np.float32)}
    assert model.value_and_grad(model.init(), **data)[0] == model.value_and_grad(model.init(), **data)[0]
