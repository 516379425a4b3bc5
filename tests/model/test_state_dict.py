"""What PyTorch trained is loaded by names alone: every layer with parameters, whole modules, running statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bpcompile as bp

torch = pytest.importorskip("torch", reason="needs the extra 'oracles'")
nn = torch.nn


class Chain(nn.Module):  # type: ignore[misc, name-defined]
    """Modules with names, one after another; of several outputs the first goes on."""

    def __init__(self, **modules: Any) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        for module in self.children():
            x = module(x, x, x) if isinstance(module, nn.MultiheadAttention) else module(x)
            x = x[0] if isinstance(x, tuple) else x
        return x


def encoder() -> Any:
    return nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True)


def sequence(layer: Any) -> Callable[[Any], Any]:
    """PyTorch has the features in front."""
    return lambda x: bp.Permute((2, 1))(layer(bp.Permute((2, 1))(x)))


#: Title: their modules, our network, the shape of an example, what is renamed.
ROWS: dict[str, tuple[Callable[[], Any], Callable[[], Any], tuple[int, ...], dict[str, str]]] = {
    "dense": (lambda: Chain(h=nn.Linear(4, 3)), lambda: bp.Dense(3, name="h"), (4,), {}),
    "bilinear": (lambda: nn.Sequential(Twice(nn.Bilinear(4, 4, 3))),
                 lambda: lambda x: bp.Bilinear(3, name="b")(x, x), (4,), {"0.inner": "b"}),
    "convolution 1d": (lambda: Chain(c=nn.Conv1d(4, 3, 3)), lambda: sequence(bp.Conv1D(3, 3, name="c")), (4, 8), {}),
    "convolution 2d": (lambda: Chain(c=nn.Conv2d(4, 6, 3, groups=2)), lambda: bp.Conv2D(6, 3, groups=2, name="c"), (4, 5, 5), {}),
    "convolution 3d": (lambda: Chain(c=nn.Conv3d(2, 3, 2)), lambda: bp.Conv3D(3, 2, name="c"), (2, 3, 3, 3), {}),
    "depthwise": (lambda: Chain(c=nn.Conv2d(3, 6, 3, groups=3)),
                  lambda: bp.DepthwiseConv2D(3, depth_multiplier=2, name="c"), (3, 5, 5), {}),
    "separable": (lambda: Chain(a=nn.Conv2d(3, 3, 3, groups=3, bias=False), b=nn.Conv2d(3, 2, 1)),
                  lambda: bp.SeparableConv2D(2, 3, name="c"), (3, 5, 5),
                  {"a.weight": "c.depthwise_weight", "b.weight": "c.pointwise_weight", "b.bias": "c.bias"}),
    "transposed": (lambda: Chain(c=nn.ConvTranspose2d(2, 3, 3, 2)), lambda: bp.Conv2DTranspose(3, 3, 2, name="c"), (2, 4, 4), {}),
    "layer norm": (lambda: Chain(n=nn.LayerNorm(3)), lambda: bp.LayerNormalization(name="n"), (4, 3), {}),
    "rms norm": (lambda: Chain(n=nn.RMSNorm(3, 1e-6)), lambda: bp.RMSNormalization(name="n"), (4, 3), {}),
    "group norm": (lambda: Chain(n=nn.GroupNorm(2, 4)), lambda: bp.GroupNormalization(2, name="n"), (4, 3), {}),
    "batch norm": (lambda: Chain(c=nn.Conv2d(2, 3, 3), n=nn.BatchNorm2d(3)),
                   lambda: bp.Sequential([bp.Conv2D(3, 3, name="c"), bp.BatchNormalization(name="n")]), (2, 5, 5), {}),
    "prelu": (lambda: Chain(a=nn.PReLU()), lambda: bp.PReLU(name="a"), (4, 3), {}),
    "rnn": (lambda: Chain(r=nn.RNN(2, 3, batch_first=True)), lambda: bp.SimpleRNN(3, return_sequences=True, name="r"), (4, 2), {}),
    "lstm": (lambda: Chain(r=nn.LSTM(2, 3, 2, batch_first=True, bidirectional=True)),
             lambda: bp.LSTM(3, num_layers=2, bidirectional=True, return_sequences=True, name="r"), (4, 2), {}),
    "gru": (lambda: Chain(r=nn.GRU(2, 3, batch_first=True)), lambda: bp.GRU(3, return_sequences=True, name="r"), (4, 2), {}),
    "attention": (lambda: Chain(a=nn.MultiheadAttention(4, 2, batch_first=True)),
                  lambda: bp.MultiHeadAttention(2, name="a"), (5, 4), {}),
    "encoder": (lambda: Chain(t=nn.TransformerEncoder(encoder(), 2, enable_nested_tensor=False)),
                lambda: bp.Sequential([bp.TransformerEncoderLayer(2, 6, 0.0, name=f"t_layers_{k}") for k in (0, 1)]), (5, 4), {}),
    "numbered modules": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)),
                         lambda: bp.Sequential([bp.Dense(3, "tanh", name="hidden"), bp.Dense(2, name="output")]), (4,),
                         {"0": "hidden", "2": "output"}),
}  # fmt: skip


class Twice(nn.Module):  # type: ignore[misc, name-defined]
    """One input for both arguments."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        return self.inner(x, x)


@pytest.mark.parametrize("title", ROWS)
def test_predictions_agree(title: str) -> None:
    make, ours, shape, rename = ROWS[title]
    torch.manual_seed(3)
    theirs = make().double()
    x = np.random.default_rng(0).normal(size=(4, *shape))
    with torch.no_grad():
        theirs(torch.tensor(x))  # moves running statistics on
        theirs.eval()
        expected = theirs(torch.tensor(x)).numpy()
    model = bp.compile(bp.Network(ours()(bp.Input("x", shape))), backend="numpy", dtype="float64")
    values = theirs.state_dict()
    params = model.load_state_dict(values, rename)
    state = {"state": model.load_buffers(values, rename)} if len(model.init_state()) else {}
    np.testing.assert_allclose(model.predict(params, x=x, **state), expected, rtol=1e-10, atol=1e-12)


def test_embedding() -> None:
    theirs = nn.Embedding(7, 3)
    model = bp.compile(bp.Network(bp.Embedding(7, 3, name="e")(bp.Input("x", (4,), classes=7))), backend="numpy", dtype="float64")
    params = model.load_state_dict(theirs.state_dict(), {"weight": "e.weight"})
    x = np.array([[0, 6, 3, 3]])
    np.testing.assert_allclose(model.predict(params, x=x), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-6)


def test_what_does_not_fit_is_told() -> None:
    model = bp.compile(bp.Network(bp.Dense(3, name="h")(bp.Input("x", (4,)))), backend="numpy")
    with pytest.raises(bp.ArrayError, match=r"no parameter 'k\.weight'"):
        model.load_state_dict(Chain(h=nn.Linear(4, 3), k=nn.Linear(3, 2)).state_dict())
    with pytest.raises(bp.ArrayError, match=r"\(3, 4\), and has \(3, 5\)"):
        model.load_state_dict(Chain(h=nn.Linear(5, 3)).state_dict())
    with pytest.raises(bp.ArrayError, match=r"h\.b"):
        model.load_state_dict(Chain(h=nn.Linear(4, 3, bias=False)).state_dict())
