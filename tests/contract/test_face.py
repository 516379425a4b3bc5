"""The face of the product: the names and forms of use that are promised, one network through all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bpcompile as bp

X = np.random.default_rng(0).normal(size=(20, 64))
Y = np.arange(20) % 10


def network() -> bp.Network:
    x = bp.Input("x", (64,))
    y = bp.Target("y", classes=10)
    h = bp.Dense(32, activation="tanh", name="hidden")(x)
    z = bp.Dense(10, name="output")(h)
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y))


@pytest.fixture(scope="module")
def model() -> bp.Model:
    return bp.compile(network(), backend="c", dtype="float32", threads=1, wrt=("parameters", "x"), optimizer=bp.Adam(learning_rate=1e-3))


def test_parameters_are_views_of_one_vector(model: bp.Model) -> None:
    params = model.init(seed=0)
    assert list(params) == ["hidden.W", "hidden.b", "output.W", "output.b"]
    assert params["hidden.W"].shape == (32, 64)
    assert params.flat.shape == (32 * 64 + 32 + 10 * 32 + 10,)
    params.flat[:] = 3
    assert (params["output.b"] == 3).all()
    params["output.b"][0] = 5
    assert params.flat[-10] == 5
    np.testing.assert_array_equal(model.init(seed=1).flat, model.init(seed=1).flat)


def test_value_and_grad_predict_bind_and_epoch(model: bp.Model) -> None:
    params = model.init(seed=0)
    loss, grads = model.value_and_grad(params, x=X, y=Y)
    assert loss == pytest.approx(np.log(10), rel=0.5)
    assert grads["hidden.W"].shape == (32, 64)
    assert grads["x"].shape == X.shape
    assert model.predict(params, x=X).shape == (20, 10)
    step = model.bind(params, x=X, y=Y)
    assert step()[0] == pytest.approx(loss, rel=1e-6)
    losses = [model.train_epoch(params, x=X, y=Y, batch_size=8, seed=k) for k in range(30)]
    assert losses[-1] < 0.8 * losses[0]


def test_reserved_arguments_and_facts(model: bp.Model) -> None:
    params = model.init(seed=0)
    assert len(model.init_state()) == 0
    loss, _ = model.value_and_grad(params, x=X, y=Y, state=None, key=0, step=0, training=True)
    assert np.isfinite(loss)
    assert "hidden" in model.source
    cost = model.cost
    assert cost.forward_ops > 0
    assert cost.backward_ops > 0
    assert cost.unshared_ops >= cost.forward_ops + cost.backward_ops
    assert cost.separate_ops > cost.unshared_ops
    assert cost.arena_bytes(64) > cost.arena_bytes(1) > 0


def test_check_and_derive() -> None:
    net = network()
    report = bp.check_gradients(net, None, x=X, y=Y)
    assert report.passed
    assert report.worst < 1e-3
    assert {row.name for row in report.rows} >= {"hidden.W", "output.b"}
    assert "hidden.W" in str(report)
    derivation = bp.derive(net)
    assert r"\begin{document}" in derivation.latex()
    assert "$" in derivation.markdown()
    assert "<math" in derivation.html()


def test_errors_are_ours(model: bp.Model) -> None:
    params = model.init()
    for data in ({"x": X[:, :3], "y": Y}, {"x": X, "y": Y + 5}, {"x": X}, {"x": X, "y": Y, "q": Y}, {"x": X[:0], "y": Y[:0]},
                 {"x": X + 1j, "y": Y}, {"x": X, "y": Y + 0.5}, {"x": X.astype(object), "y": Y}, {"x": X, "y": Y[:3]}):  # fmt: skip
        with pytest.raises(bp.BPCompileError):
            model.value_and_grad(params, **data)


def test_the_command_prints_one_object(tmp_path: Path) -> None:
    spec = Path(__file__).resolve().parents[2] / "examples" / "digits.toml"
    done = subprocess.run([sys.executable, "-m", "bpcompile.cli", "run", str(spec), "--json", "--epochs", "3", "-o", str(tmp_path)],
                          capture_output=True, text=True, check=True)  # fmt: skip
    result = json.loads(done.stdout)
    assert {"accuracy", "loss", "seconds", "gradient_check", "artifacts"} <= set(result)
    assert result["gradient_check"]["passed"] is True


def test_the_package_stands_alone(tmp_path: Path) -> None:
    spec = Path(__file__).resolve().parents[2] / "examples" / "digits.toml"
    subprocess.run([sys.executable, "-m", "bpcompile.cli", "compile", str(spec), "-o", str(tmp_path)], check=True, capture_output=True)
    program = """
import sys, time
start = time.perf_counter()
import digits
seconds = time.perf_counter() - start
assert not {"sympy", "jinja2", "bpcompile"} & set(sys.modules), sorted(sys.modules)
import numpy as np
p = digits.init(seed=0)
X, Y = np.zeros((4, 64), "f4"), np.zeros(4, int)
loss, grads = digits.value_and_grad(p, x=X, y=Y)
assert abs(loss - np.log(10)) < 1e-3
digits.predict(p, x=X)
digits.train_epoch(p, x=X, y=Y, batch_size=2, seed=0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
