"""The networks of the table: each in this compiler's layers, in PyTorch, in JAX, and the dense ones by hand in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bpcompile as bp
from bpcompile.language.network import Network

Array = NDArray[Any]
Params = Mapping[str, Any]
Output = Callable[[Params, Any], Any]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes
    ----------
    key : str
        What selects it on the command line.
    title : str
        As the table prints it.
    batch : int
        Examples in a call.
    reach : float
        The ratio aimed at.
    network : callable
        Makes the network; its input is ``x``, its target ``y``.
    torch, jax : callable
        The network's output from parameters (by this compiler's names and shapes) and ``x``.
    numpy : callable, optional
        Loss and gradients by hand, from parameters, ``x`` and ``y``.
    torch_compiled : callable, optional
        What ``torch.compile`` gets, where another text suits it better.
    """

    key: str
    title: str
    batch: int
    reach: float
    network: Callable[[], Network]
    torch: Output
    jax: Output
    numpy: Callable[[Params, Any, Any], dict[str, Array]] | None = None
    torch_compiled: Output | None = None


# --- dense layers -------------------------------------------------------------------------------------------------------


def dense_network(sizes: tuple[int, ...], activation: str, classes: bool = True) -> Network:
    """Dense layers; the last one has no activation, or (without classes) the same one."""
    h: Any = bp.Input("x", (sizes[0],))
    for k, units in enumerate(sizes[1:], 1):
        last = k == len(sizes) - 1
        h = bp.Dense(units, activation=None if last and classes else activation, name=f"layer{k}")(h)
    y = bp.Target("y", classes=sizes[-1]) if classes else bp.Target("y", (sizes[-1],))
    loss = bp.SoftmaxCrossEntropy(h, y) if classes else bp.MeanSquaredError(h, y)
    return bp.Network(h, loss=loss, name="dense_" + "_".join(map(str, sizes)))


def dense_torch(sizes: tuple[int, ...], activation: str, classes: bool = True) -> Output:
    def output(p: Params, x: Any) -> Any:
        import torch
        import torch.nn.functional as nn

        f = {"relu": torch.relu, "sigmoid": torch.sigmoid}[activation]
        for k in range(1, len(sizes)):
            x = nn.linear(x, p[f"layer{k}.W"], p[f"layer{k}.b"])
            if k < len(sizes) - 1 or not classes:
                x = f(x)
        return x

    return output


def dense_jax(sizes: tuple[int, ...], activation: str, classes: bool = True) -> Output:
    def output(p: Params, x: Any) -> Any:
        import jax

        f = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}[activation]
        for k in range(1, len(sizes)):
            x = x @ p[f"layer{k}.W"].T + p[f"layer{k}.b"]
            if k < len(sizes) - 1 or not classes:
                x = f(x)
        return x

    return output


def dense_numpy(
    sizes: tuple[int, ...], activation: str, classes: bool = True
) -> Callable[[Params, Array, Array], dict[str, Array]]:
    """Loss and gradients as a textbook writes them."""
    depth = len(sizes) - 1

    def step(p: Params, x: Array, y: Array) -> dict[str, Array]:
        values = [x]
        for k in range(1, depth + 1):
            z = values[-1] @ p[f"layer{k}.W"].T + p[f"layer{k}.b"]
            if k < depth or not classes:
                z = np.maximum(z, 0) if activation == "relu" else 1 / (1 + np.exp(-z))
            values.append(z)
        if classes:
            shifted = values[-1] - values[-1].max(1, keepdims=True)
            powers = np.exp(shifted)
            totals = powers.sum(1, keepdims=True)
            rows = np.arange(len(y))
            loss = np.mean(np.log(totals[:, 0]) - shifted[rows, y])
            error = powers / totals
            error[rows, y] -= 1
            error /= x.dtype.type(len(y))
        else:
            difference = values[-1] - y
            loss = np.mean(difference**2)
            error = difference * x.dtype.type(2 / difference.size)
        gradients = {"loss": loss}
        for k in range(depth, 0, -1):
            if k < depth or not classes:
                a = values[k]
                error = np.where(a > 0, error, 0) if activation == "relu" else error * a * (1 - a)
            gradients[f"layer{k}.W"] = error.T @ values[k - 1]
            gradients[f"layer{k}.b"] = error.sum(0)
            if k > 1:
                error = error @ p[f"layer{k}.W"]
        return gradients

    return step


def dense(key: str, sizes: tuple[int, ...], activation: str, batch: int, reach: float, classes: bool = True) -> Row:
    """A row of dense layers."""
    arguments = (sizes, activation, classes)
    title = f"{'-'.join(map(str, sizes))} {activation}, batch {batch}"
    return Row(key, title, batch, reach, lambda: dense_network(*arguments), dense_torch(*arguments), dense_jax(*arguments),
               dense_numpy(*arguments))  # fmt: skip


# --- convolutions -------------------------------------------------------------------------------------------------------


def lenet_network() -> Network:
    """LeNet-5 (LeCun et al. 1998), with the convolution tables full and average pooling without coefficients."""
    x, y = bp.Input("x", (1, 28, 28)), bp.Target("y", classes=10)
    h = bp.Conv2D(6, 5, padding=2, activation="tanh", name="conv1")(x)
    h = bp.AveragePooling2D(2, name="pool1")(h)
    h = bp.Conv2D(16, 5, activation="tanh", name="conv2")(h)
    h = bp.Flatten(name="flat")(bp.AveragePooling2D(2, name="pool2")(h))
    h = bp.Dense(120, activation="tanh", name="dense1")(h)
    h = bp.Dense(84, activation="tanh", name="dense2")(h)
    z = bp.Dense(10, name="dense3")(h)
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="lenet")


def lenet_torch(p: Params, x: Any) -> Any:
    import torch
    import torch.nn.functional as nn

    h = nn.avg_pool2d(torch.tanh(nn.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=2)), 2)
    h = nn.avg_pool2d(torch.tanh(nn.conv2d(h, p["conv2.weight"], p["conv2.bias"])), 2)
    h = h.flatten(1)
    h = torch.tanh(nn.linear(h, p["dense1.W"], p["dense1.b"]))
    h = torch.tanh(nn.linear(h, p["dense2.W"], p["dense2.b"]))
    return nn.linear(h, p["dense3.W"], p["dense3.b"])


def _jax_conv(x: Any, weight: Any, bias: Any, padding: int) -> Any:
    import jax

    out = jax.lax.conv_general_dilated(
        x, weight, (1, 1), [(padding, padding)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW")
    )
    return out + bias[:, None, None]


def lenet_jax(p: Params, x: Any) -> Any:
    import jax.numpy as jnp

    def pooled(h: Any) -> Any:
        n, c, rows, columns = h.shape
        return h.reshape(n, c, rows // 2, 2, columns // 2, 2).mean((3, 5))

    h = pooled(jnp.tanh(_jax_conv(x, p["conv1.weight"], p["conv1.bias"], 2)))
    h = pooled(jnp.tanh(_jax_conv(h, p["conv2.weight"], p["conv2.bias"], 0)))
    h = h.reshape(len(h), -1)
    h = jnp.tanh(h @ p["dense1.W"].T + p["dense1.b"])
    h = jnp.tanh(h @ p["dense2.W"].T + p["dense2.b"])
    return h @ p["dense3.W"].T + p["dense3.b"]


_FILTERS = (32, 32, 64, 64)


def conv_network() -> Network:
    """Two pairs of 3 x 3 convolutions with rectifiers, each pair followed by a maximum over 2 x 2, and a dense layer."""
    x, y = bp.Input("x", (3, 32, 32)), bp.Target("y", classes=10)
    h: Any = x
    for k, filters in enumerate(_FILTERS, 1):
        h = bp.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{k}")(h)
        if k % 2 == 0:
            h = bp.MaxPooling2D(2, name=f"pool{k}")(h)
    z = bp.Dense(10, name="output")(bp.Flatten(name="flat")(h))
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="conv")


def conv_torch(p: Params, x: Any) -> Any:
    import torch
    import torch.nn.functional as nn

    for k in range(1, len(_FILTERS) + 1):
        x = torch.relu(nn.conv2d(x, p[f"conv{k}.weight"], p[f"conv{k}.bias"], padding=1))
        if k % 2 == 0:
            x = nn.max_pool2d(x, 2)
    return nn.linear(x.flatten(1), p["output.W"], p["output.b"])


def conv_jax(p: Params, x: Any) -> Any:
    import jax

    for k in range(1, len(_FILTERS) + 1):
        x = jax.nn.relu(_jax_conv(x, p[f"conv{k}.weight"], p[f"conv{k}.bias"], 1))
        if k % 2 == 0:
            x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return x.reshape(len(x), -1) @ p["output.W"].T + p["output.b"]


# --- recurrence ---------------------------------------------------------------------------------------------------------


def lstm_network() -> Network:
    """An LSTM whose last state is classified."""
    x, y = bp.Input("x", (32, 128)), bp.Target("y", classes=10)
    z = bp.Dense(10, name="output")(bp.LSTM(128, name="lstm")(x))
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="lstm")


def lstm_torch(p: Params, x: Any) -> Any:
    """PyTorch's own LSTM operator."""
    import torch
    import torch.nn.functional as nn

    weights = [p[f"lstm.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    start = torch.zeros(1, len(x), 128, dtype=x.dtype)
    training = torch.is_grad_enabled()
    out = torch.lstm(x, (start, start), weights, True, 1, 0.0, training, False, True)[0]
    return nn.linear(out[:, -1], p["output.W"], p["output.b"])


def lstm_torch_steps(p: Params, x: Any) -> Any:
    """The same step by step, which ``torch.compile`` can fuse."""
    import torch
    import torch.nn.functional as nn

    projected = nn.linear(x, p["lstm.weight_ih_l0"], p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"])
    h = c = torch.zeros(len(x), 128, dtype=x.dtype)
    for t in range(x.shape[1]):
        i, f, g, o = (projected[:, t] + nn.linear(h, p["lstm.weight_hh_l0"])).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return nn.linear(h, p["output.W"], p["output.b"])


def lstm_jax(p: Params, x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    projected = x @ p["lstm.weight_ih_l0"].T + (p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"])
    weight = p["lstm.weight_hh_l0"].T

    def step(carry: Any, u: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(u + h @ weight, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), None

    start = jnp.zeros((len(x), 128), x.dtype)
    (h, _), _ = jax.lax.scan(step, (start, start), projected.swapaxes(0, 1))
    return h @ p["output.W"].T + p["output.b"]


# --- transformer --------------------------------------------------------------------------------------------------------


def transformer_network(tokens: int, width: int, heads: int) -> Network:
    """A block with normalization first, as in GPT-2, without a mask; the loss is the mean squared error."""
    x, y = bp.Input("x", (tokens, width)), bp.Target("y", (tokens, width))
    block = bp.TransformerEncoderLayer(
        heads, 4 * width, dropout=0.0, activation="gelu_tanh", norm_first=True, name="block"
    )
    z = block(x)
    return bp.Network(z, loss=bp.MeanSquaredError(z, y), name=f"transformer_{width}")


def transformer_torch(heads: int) -> Output:
    def output(p: Params, x: Any) -> Any:
        import torch.nn.functional as nn

        n, t, width = x.shape

        def normalized(x: Any, k: int) -> Any:
            return nn.layer_norm(x, (width,), p[f"block_norm{k}.weight"], p[f"block_norm{k}.bias"], 1e-5)

        qkv = nn.linear(normalized(x, 1), p["block_self_attn.in_proj_weight"], p["block_self_attn.in_proj_bias"])
        q, k, v = (a.view(n, t, heads, width // heads).transpose(1, 2) for a in qkv.chunk(3, 2))
        a = nn.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, width)
        x = x + nn.linear(a, p["block_self_attn.out_proj_weight"], p["block_self_attn.out_proj_bias"])
        h = nn.gelu(nn.linear(normalized(x, 2), p["block_linear1.W"], p["block_linear1.b"]), approximate="tanh")
        return x + nn.linear(h, p["block_linear2.W"], p["block_linear2.b"])

    return output


def transformer_jax(heads: int) -> Output:
    def output(p: Params, x: Any) -> Any:
        import jax
        import jax.numpy as jnp

        n, t, width = x.shape

        def normalized(x: Any, k: int) -> Any:
            mean = x.mean(-1, keepdims=True)
            variance = ((x - mean) ** 2).mean(-1, keepdims=True)
            return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * p[f"block_norm{k}.weight"] + p[f"block_norm{k}.bias"]

        qkv = normalized(x, 1) @ p["block_self_attn.in_proj_weight"].T + p["block_self_attn.in_proj_bias"]
        q, k, v = (a.reshape(n, t, heads, width // heads) for a in jnp.split(qkv, 3, 2))
        scores = jnp.einsum("nthd,nshd->nhts", q, k) * (width // heads) ** -0.5
        a = jnp.einsum("nhts,nshd->nthd", jax.nn.softmax(scores, -1), v).reshape(n, t, width)
        x = x + a @ p["block_self_attn.out_proj_weight"].T + p["block_self_attn.out_proj_bias"]
        h = jax.nn.gelu(normalized(x, 2) @ p["block_linear1.W"].T + p["block_linear1.b"], approximate=True)
        return x + h @ p["block_linear2.W"].T + p["block_linear2.b"]

    return output


def transformer(key: str, batch: int, tokens: int, width: int, heads: int, reach: float) -> Row:
    """A row of a transformer block."""
    title = f"transformer block, {batch} x {tokens} tokens, width {width}, {heads} heads"
    return Row(key, title, batch, reach, lambda: transformer_network(tokens, width, heads), transformer_torch(heads),
               transformer_jax(heads))  # fmt: skip
