"""Small networks, one for each thing that a derivation must be able to say."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import bpcompile as bp
from bpcompile.derivation.derive import Derivation


def sigmoid() -> bp.Network:
    """Two sigmoid layers and a squared error: the network of every course."""
    x, y = bp.Input("x", (4,)), bp.Target("y", (2,))
    h = bp.Dense(3, activation="sigmoid", name="hidden")(x)
    o = bp.Dense(2, activation="sigmoid", name="output")(h)
    return bp.Network(o, loss=bp.MeanSquaredError(o, y), name="sigmoid")


def cross_entropy() -> bp.Network:
    """A softmax layer whose cross-entropy is typed by the user: the rewriting across layers."""
    x, y = bp.Input("x", (3,)), bp.Target("y", classes=4)
    h = bp.Dense(3, activation="tanh", name="hidden")(x)
    a = bp.Dense(4, activation="softmax", name="output")(h)
    loss = bp.Layer(["l[n] = -log(a[n,y[n]])"], inputs=("a", "y"), output="l", name="cost")(a, y)
    return bp.Network(a, loss=loss, name="cross_entropy")


def logits() -> bp.Network:
    """Cross-entropy from logits after a relu."""
    x, y = bp.Input("x", (3,)), bp.Target("y", classes=4)
    h = bp.Dense(3, activation="relu", name="hidden")(x)
    z = bp.Dense(4, name="output")(h)
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="logits")


def residual() -> bp.Network:
    """A value with two readers, and an activation that is a formula."""
    x, y = bp.Input("x", (3,)), bp.Target("y", (3,))
    h = bp.Dense(3, activation="z*tanh(log(1+exp(z)))", name="branch")(x)
    r = bp.Layer(["r[n,i] = h[n,i] + x[n,i]*h[n,i]"], inputs=("h", "x"), output="r", name="skip")(h, x)
    return bp.Network(r, loss=bp.MeanSquaredError(r, y), name="residual")


def recurrence() -> bp.Network:
    """A recurrent layer, its cost on the last state."""
    x, y = bp.Input("x", (4, 3)), bp.Target("y", (2,))
    h = bp.Layer(
        ["h[n,t,j] = tanh(sum(W[j,i]*x[n,t,i], i) + sum(U[j,k]*h[n,t-1,k], k) + b[j])"],
        parameters={"W": ("j", "i"), "U": ("j", "k"), "b": ("j",)},
        sizes={"j": 2, "k": 2},
        inputs=("x",),
        output="h",
        name="cell",
    )(x)
    loss = bp.Layer(["l[n] = sum((h[n,3,j] - y[n,j])**2, j)"], inputs=("h", "y"), output="l", name="cost")(h, y)
    return bp.Network(h, loss=loss, name="recurrence")


def convolution() -> bp.Network:
    """Convolution with padding, maximum pooling and an average."""
    x, y = bp.Input("x", (2, 4, 4)), bp.Target("y", (2,))
    a = bp.Layer(
        ["z[n,o,r,s] = sum(K[o,c,p,q]*x[n,c,r+p-1,s+q-1], c, p, q) + b[o]", "a[n,o,r,s] = tanh(z[n,o,r,s])"],
        parameters={"K": ("o", "c", "p", "q"), "b": ("o",)},
        sizes={"o": 2, "p": 3, "q": 3, "r": 4, "s": 4},
        inputs=("x",),
        output="a",
        outside={"x": 0},
        name="conv",
    )(x)
    m = bp.Layer(
        ["m[n,o,r,s] = max(a[n,o,2*r+p,2*s+q], p, q)"],
        sizes={"p": 2, "q": 2, "r": 2, "s": 2},
        inputs=("a",),
        output="m",
        name="pool",
    )(a)
    g = bp.Layer(["g[n,o] = mean(m[n,o,r,s], r, s)"], inputs=("m",), output="g", name="average")(m)
    return bp.Network(g, loss=bp.MeanSquaredError(g, y), name="convolution")


def normalization() -> bp.Network:
    """Layer normalization, as equations."""
    x, y = bp.Input("x", (3,)), bp.Target("y", (3,))
    u = bp.Layer(
        ["m[n] = mean(x[n,i], i)", "v[n] = mean((x[n,i]-m[n])**2, i)", "u[n,i] = g[i]*(x[n,i]-m[n])/sqrt(v[n]+0.001)"],
        parameters={"g": ("i",)},
        inputs=("x",),
        output="u",
        name="norm",
    )(bp.Dense(3, name="linear")(x))
    return bp.Network(u, loss=bp.MeanSquaredError(u, y), name="normalization")


def batch_statistics() -> bp.Network:
    """A mean over the batch: examples meet."""
    x, y = bp.Input("x", (2,)), bp.Target("y", (2,))
    u = bp.Layer(
        ["m[i] = mean(x[n,i], n)", "u[n,i] = g[i]*(x[n,i]-m[i])"],
        parameters={"g": ("i",)},
        inputs=("x",),
        output="u",
        name="center",
    )(bp.Dense(2, name="linear")(x))
    return bp.Network(u, loss=bp.MeanSquaredError(u, y), name="batch_statistics")


def attention() -> bp.Network:
    """Scaled dot products."""
    x, y = bp.Input("x", (3, 4)), bp.Target("y", (3, 2))
    o = bp.Layer(
        [
            "q[n,t,d] = sum(A[d,i]*x[n,t,i], i)",
            "k[n,t,d] = sum(B[d,i]*x[n,t,i], i)",
            "s[n,t,u] = sum(q[n,t,d]*k[n,u,d], d)/sqrt(2)",
            "p[n,t,u] = exp(s[n,t,u])/sum(exp(s[n,t,w]), w)",
            "o[n,t,d] = sum(p[n,t,u]*k[n,u,d], u)",
        ],
        parameters={"A": ("d", "i"), "B": ("d", "i")},
        sizes={"d": 2, "u": 3},
        inputs=("x",),
        output="o",
        name="attention",
    )(x)
    return bp.Network(o, loss=bp.MeanSquaredError(o, y), name="attention")


def embedding() -> bp.Network:
    """A table read at integers."""
    token, y = bp.Input("token", (3,), classes=5), bp.Target("y", (2,))
    e = bp.Layer(
        ["e[n,d] = sum(E[token[n,t],d], t)"],
        parameters={"E": ("v", "d")},
        sizes={"v": 5, "d": 2},
        inputs=("token",),
        output="e",
        name="embedding",
    )(token)
    return bp.Network(e, loss=bp.MeanSquaredError(e, y), name="embedding")


def joined() -> bp.Network:
    """Two inputs side by side: a layer reads a part of the weight alone."""
    a, b, y = bp.Input("a", (2,)), bp.Input("b", (3,)), bp.Target("y", (2,))
    left, right = bp.Dense(2, activation="tanh", name="left")(a), bp.Dense(2, activation="softplus", name="right")(b)
    both = bp.Concatenate(name="joined")(left, right)
    o = bp.Dense(2, name="output")(both)
    return bp.Network(o, loss=bp.MeanSquaredError(o, y), name="joined")


@cache
def derived(name: str) -> Derivation:
    """The whole derivation of one of the networks, made once."""
    return bp.derive(NETWORKS[name]())


NETWORKS: dict[str, Callable[[], bp.Network]] = {
    f.__name__: f
    for f in (
        sigmoid, cross_entropy, logits, residual, recurrence, convolution, normalization, batch_statistics, attention,
        embedding, joined,
    )
}  # fmt: skip
