"""Settings of layers that combine, weigh, gate, arrange, embed and adapt."""

from __future__ import annotations

from typing import Any

import bpcompile.language.layers as layers
from bpcompile.language.standard_layers import Activation, Dense
from tests.layers.cases import Case, Integers

try:
    import torch
    import torch.nn.functional as F  # noqa: N812
except ImportError:
    torch = F = None


def _merge(kind: Any, formula: Any, *shapes: tuple[int, ...]) -> Case:
    return Case(f"{kind.__name__} {shapes}", lambda name: kind(name=name), shapes, lambda p, x: formula(x))


def _greatest(x: Any) -> Any:
    result = x[0]
    for other in x[1:]:
        result = torch.maximum(result, other)
    return result


MERGES = [
    _merge(layers.Add, sum, (3, 4), (3, 4)),
    _merge(layers.Add, sum, (3, 4), (3, 1), (1, 4)),
    _merge(layers.Add, sum, (1,), (5,)),
    _merge(layers.Subtract, lambda x: x[0] - x[1], (2, 3, 2), (2, 3, 2)),
    _merge(layers.Multiply, lambda x: x[0] * x[1] * x[2], (5,), (5,), (5,)),
    _merge(layers.Multiply, lambda x: x[0] * x[1], (3, 4, 5), (3, 1, 1)),
    _merge(layers.Maximum, _greatest, (3, 4), (3, 4), (3, 4)),
    _merge(layers.Minimum, lambda x: torch.minimum(x[0], x[1]), (7,), (7,)),
    _merge(layers.Average, lambda x: (x[0] + x[1] + x[2]) / 3, (2, 3), (2, 3), (2, 3)),
    Case("concatenate last", lambda n: layers.Concatenate(name=n), ((3, 4), (3, 1), (3, 2)), lambda p, x: torch.cat(x, -1)),
    Case("concatenate channels", lambda n: layers.Concatenate(1, name=n), ((2, 3, 3), (1, 3, 3)), lambda p, x: torch.cat(x, 1)),
    Case("concatenate rows", lambda n: layers.Concatenate(2, name=n), ((2, 1, 3), (2, 4, 3)), lambda p, x: torch.cat(x, 2)),
    Case("dot", lambda n: layers.Dot(name=n), ((5,), (5,)), lambda p, x: (x[0] * x[1]).sum(1, keepdim=True)),
    Case(
        "dot normalized",
        lambda n: layers.Dot(True, name=n),
        ((5,), (5,)),
        lambda p, x: F.cosine_similarity(x[0], x[1], eps=0)[:, None],
    ),
]

WEIGHED = [
    Case("prelu one", lambda n: layers.PReLU(name=n), ((4, 3),), lambda p, x: F.prelu(x[0], p["weight"])),
    Case("prelu channels", lambda n: layers.PReLU(4, name=n), ((4, 3, 2),), lambda p, x: F.prelu(x[0], p["weight"])),
    Case(
        "bilinear",
        lambda n: layers.Bilinear(4, name=n),
        ((3,), (5,)),
        lambda p, x: F.bilinear(x[0], x[1], p["weight"], p["bias"]),
    ),
    Case(
        "bilinear tanh, no bias",
        lambda n: layers.Bilinear(1, "tanh", False, name=n),
        ((3,), (2,)),
        lambda p, x: torch.tanh(F.bilinear(x[0], x[1], p["weight"])),
    ),
    Case(
        "maxout",
        lambda n: layers.Maxout(4, 3, name=n),
        ((5,),),
        lambda p, x: (torch.einsum("jki,ni->njk", p["weight"], x[0]) + p["bias"]).amax(-1),
    ),
    Case(
        "maxout sequence",
        lambda n: layers.Maxout(2, 2, False, name=n),
        ((3, 5),),
        lambda p, x: torch.einsum("jki,nti->ntjk", p["weight"], x[0]).amax(-1),
    ),
    Case("glu", lambda n: layers.GLU(name=n), ((3, 8),), lambda p, x: F.glu(x[0], -1)),
    Case("glu channels", lambda n: layers.GLU(1, name=n), ((6, 3, 2),), lambda p, x: F.glu(x[0], 1)),
    Case(
        "swiglu",
        lambda n: layers.GLU(activation="silu", name=n),
        ((8,),),
        lambda p, x: x[0][:, :4] * F.silu(x[0][:, 4:]),
    ),
    Case(
        "radial basis",
        lambda n: layers.RadialBasis(4, name=n),
        ((3,),),
        lambda p, x: torch.exp(-torch.exp(p["log_width"]) * ((x[0][:, None] - p["center"]) ** 2).sum(-1)),
    ),
    Case(
        "low rank",
        lambda n: layers.LowRank(4, 2, alpha=3.0, name=n),
        ((5, 3),),
        lambda p, x: x[0] @ p["W"].T.detach() + p["b"].detach() + 1.5 * (x[0] @ p["A"].T) @ p["B"].T,
    ),
    Case(
        "low rank tanh",
        lambda n: layers.LowRank(4, 1, activation="tanh", use_bias=False, name=n),
        ((3,),),
        lambda p, x: torch.tanh(x[0] @ p["W"].T.detach() + (x[0] @ p["A"].T) @ p["B"].T),
    ),
    Case(
        "weight normalization",
        lambda n: layers.WeightNormalization(Dense(4), name=n),
        ((3,),),
        lambda p, x: F.linear(x[0], torch._weight_norm(p["W_v"], p["W_g"], 0), p["b"]),
    ),
    Case(
        "weight normalization of a convolution",
        lambda n: layers.WeightNormalization(layers.Conv2D(4, 3, padding="same", use_bias=False), name=n),
        ((2, 5, 4),),
        lambda p, x: F.conv2d(x[0], torch._weight_norm(p["weight_v"], p["weight_g"], 0), padding=1),
    ),
]


def _reshape(source: tuple[int, ...], target: Any) -> Case:
    shape = (target,) if isinstance(target, int) else tuple(target)
    return Case(
        f"reshape {source} to {target}",
        lambda name: layers.Reshape(target, name=name),
        (source,),
        lambda p, x: x[0].reshape(len(x[0]), *shape),
        linear=True,
    )


ARRANGEMENTS = [
    *(
        _reshape(*pair)
        for pair in [
            ((2, 6), (4, -1)), ((12,), (3, 4)), ((3, 4), 12), ((6, 4), (2, 3, 4)), ((2, 3, 4), (6, 4)),
            ((3, 4), (1, 3, 1, 4)), ((2, 3, 5), (5, 3, 2)), ((1, 1), (1,)),
        ]
    ),
    Case("permute", lambda n: layers.Permute((2, 1), name=n), ((3, 4),), lambda p, x: x[0].permute(0, 2, 1), linear=True),
    Case("permute 3", lambda n: layers.Permute((3, 1, 2), name=n), ((3, 4, 2),), lambda p, x: x[0].permute(0, 3, 1, 2)),
    Case("repeat", lambda n: layers.RepeatVector(3, name=n), ((4,),), lambda p, x: x[0][:, None].repeat(1, 3, 1), linear=True),
    Case("zero padding", lambda n: layers.ZeroPadding2D(((0, 1), (2, 0)), name=n), ((2, 3, 4),),
         lambda p, x: F.pad(x[0], (2, 0, 0, 1)), linear=True),
    Case("zero padding 1d", lambda n: layers.ZeroPadding1D((1, 2), name=n), ((3, 4),),
         lambda p, x: F.pad(x[0], (0, 0, 1, 2)), linear=True),
    Case("cropping", lambda n: layers.Cropping2D(((0, 1), (2, 1)), name=n), ((2, 5, 4),),
         lambda p, x: x[0][:, :, :4, 2:3], linear=True),
    Case("up nearest", lambda n: layers.UpSampling2D((2, 3), name=n), ((2, 3, 2),),
         lambda p, x: F.interpolate(x[0], scale_factor=(2, 3), mode="nearest"), linear=True),
    *(
        Case(f"up bilinear {size}", lambda n, size=size: layers.UpSampling2D(size, "bilinear", name=n), ((2, 3, 4),),
             lambda p, x, size=size: F.interpolate(x[0], scale_factor=size, mode="bilinear"), linear=True)
        for size in [(2, 3), (1, 4), (5, 2)]
    ),
    Case("up 1d", lambda n: layers.UpSampling1D(3, name=n), ((2, 3),), lambda p, x: x[0].repeat_interleave(3, 1), linear=True),
]  # fmt: skip


def _sinusoid(p: Any, x: Any) -> Any:
    steps, features = x[0].shape[1:]
    t, d = torch.arange(steps, dtype=torch.float64)[:, None], torch.arange(features, dtype=torch.float64)[None]
    angle = t * 10000.0 ** (-2 * (d // 2) / features)
    return x[0] + torch.where(d % 2 == 0, torch.sin(angle), torch.cos(angle))


def rotated(x: Any, base: float = 10000.0) -> Any:
    """A rotary embedding, as in Llama: halves of the last axis are paired; axis 1 is the place."""
    half = x.shape[-1] // 2
    frequency = base ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * frequency
    angle = torch.cat([angle, angle], -1)
    if x.ndim == 4:
        angle = angle[:, None]
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * torch.cos(angle) + turned * torch.sin(angle)


EMBEDDINGS = [
    Case("embedding", lambda n: layers.Embedding(7, 3, name=n), (Integers((4,), 7),),
         lambda p, x: F.embedding(x[0], p["weight"])),
    Case("embedding of one", lambda n: layers.Embedding(7, 3, name=n), (Integers((), 5),),
         lambda p, x: F.embedding(x[0], p["weight"])),
    Case("embedding with padding", lambda n: layers.Embedding(4, 3, padding_idx=1, name=n), (Integers((6,), 4),),
         lambda p, x: F.embedding(x[0], p["weight"], padding_idx=1), stopped=True),
    Case("positions", lambda n: layers.PositionalEmbedding(name=n), ((4, 3),), lambda p, x: x[0] + p["weight"]),
    Case("more positions", lambda n: layers.PositionalEmbedding(9, name=n), ((4, 3),), lambda p, x: x[0] + p["weight"][:4]),
    Case("sinusoids", lambda n: layers.SinusoidalPositionalEncoding(name=n), ((5, 6),), _sinusoid),
    Case("sinusoids, odd", lambda n: layers.SinusoidalPositionalEncoding(name=n), ((4, 5),), _sinusoid),
    Case("rotary", lambda n: layers.RotaryEmbedding(name=n), ((5, 6),), lambda p, x: rotated(x[0]), linear=True),
    Case("rotary heads", lambda n: layers.RotaryEmbedding(100.0, name=n), ((5, 2, 4),), lambda p, x: rotated(x[0], 100.0)),
]  # fmt: skip

NOISE = [
    Case("dropout", lambda n: layers.Dropout(0.3, name=n), ((4, 5),)),
    Case("spatial dropout", lambda n: layers.SpatialDropout2D(0.4, name=n), ((4, 3, 2),)),
    Case("spatial dropout 1d", lambda n: layers.SpatialDropout1D(0.4, name=n), ((4, 3),)),
    Case("alpha dropout", lambda n: layers.AlphaDropout(0.3, name=n), ((9,),)),
    Case("gaussian noise", lambda n: layers.GaussianNoise(0.3, name=n), ((9,),)),
    Case("gaussian dropout", lambda n: layers.GaussianDropout(0.3, name=n), ((9,),)),
]

ACTIVATIONS = [
    Case("relu layer", lambda n: layers.ReLU(1.5, 0.1, 0.2, name=n), ((3, 4),),
         lambda p, x: torch.where(x[0] > 0.2, x[0].clamp(max=1.5), 0.1 * (x[0] - 0.2))),
    Case("leaky relu layer", lambda n: layers.LeakyReLU(name=n), ((5,),), lambda p, x: F.leaky_relu(x[0], 0.3)),
    Case("elu layer", lambda n: layers.ELU(0.7, name=n), ((2, 3, 2),), lambda p, x: F.elu(x[0], 0.7)),
    Case("softmax layer", lambda n: layers.Softmax(name=n), ((3, 4),), lambda p, x: F.softmax(x[0], -1)),
    Case("softmax over rows", lambda n: layers.Softmax(2, 0.5, name=n), ((2, 3, 4),), lambda p, x: F.softmax(2 * x[0], 2)),
    Case("log softmax over channels", lambda n: Activation("log_softmax", n, 1), ((2, 3, 4),),
         lambda p, x: F.log_softmax(x[0], 1)),
    Case("dense with a layer as activation", lambda n: Dense(3, layers.LeakyReLU(0.2), name=n), ((4,),),
         lambda p, x: F.leaky_relu(F.linear(x[0], p["W"], p["b"]), 0.2)),
    Case("masking", lambda n: layers.Masking(0.5, name=n), ((3, 2),), lambda p, x: x[0]),
]  # fmt: skip

CASES = [*MERGES, *WEIGHED, *ACTIVATIONS, *ARRANGEMENTS, *EMBEDDINGS, *NOISE]
