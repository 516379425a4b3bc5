"""Small networks, one construct each, that the mutants of `mutants` are tried on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import bpcompile as bp
from bpcompile.language.network import Network
from tests.calculus.harness import network

P = {"parameters": {"W": ("j", "i")}}

CASES: dict[str, tuple[list[str], dict[str, Any], dict[str, Any]]] = {
    "dense": (["z[n,j] = sum(W[j,i]*x[n,i], i) + b[j]", "l[n] = sum(tanh(z[n,j])**2*(j + 1), j)"], {"x": (3,)},
              {"parameters": {"W": ("j", "i"), "b": ("j",)}, "sizes": {"j": 3}}),
    "two paths": (["z[n,i] = W[i]*x[n,i]", "l[n] = sum(sin(z[n,i]) + z[n,i]**2 + exp(z[n,i])*i, i)"], {"x": (3,)},
                  {"parameters": {"W": ("i",)}}),
    "convolution": (["z[n,u] = sum(K[p]*x[n,2*u + p - 1], p)", "l[n] = sum(z[n,u]**3, u)"], {"x": (6,)},
                    {"parameters": {"K": ("p",)}, "sizes": {"p": 3, "u": 3}, "outside": {"x": 0}}),
    "flatten": (["z[n,i] = V[i]*x[n,i//3,i%3]", "l[n] = sum(z[n,i]**2*(i + 1), i)"], {"x": (2, 3)},
                {"parameters": {"V": ("i",)}, "sizes": {"i": 6}}),
    "embedding": (["e[n,d] = E[token[n],d]", "l[n] = sum(e[n,d]**3*(d + 1), d)"], {"token": {"shape": (), "classes": 40}},
                  {"parameters": {"E": ("v", "d")}, "sizes": {"v": 40, "d": 2}}),
    "repeated tokens": (["e[n,d] = E[30*token[n],d]", "l[n] = sum(e[n,d]**3*(d + 1), d)"], {"token": {"shape": (), "classes": 2}},
                        {"parameters": {"E": ("v", "d")}, "sizes": {"v": 40, "d": 2}}),
    "pooling": (["z[n,u] = K[u]*x[n,u]", "l[n] = sum(max(z[n,2*h + p], p)**2*(h + 1), h)"], {"x": (6,)},
                {"parameters": {"K": ("u",)}, "sizes": {"p": 2, "h": 3}}),
    "selection": (["l[n] = sum(where(i < 2, W[i]*x[n,i], V[i]**2), i)"], {"x": (4,)},
                  {"parameters": {"W": ("i",), "V": ("i",)}}),
    "recurrence": (["h[n,t,j] = tanh(x[n,t,j] + sum(U[j,k]*h[n,t-1,k], k))", "l[n] = sum(h[n,t,j]**2*(t + 1), t, j)"],
                   {"x": (4, 2)}, {"parameters": {"U": ("j", "k")}, "sizes": {"k": 2}}),
    "softmax": (["z[n,j] = sum(W[j,i]*x[n,i], i)", "l[n] = -log(exp(z[n,y[n]])/sum(exp(z[n,k]), k))"],
                {"x": (3,), "y": {"shape": (), "classes": 4}}, {"parameters": {"W": ("j", "i")}, "sizes": {"j": 4, "k": 4}}),
    "shifted uses": (["l[n] = sum(sin(A[i+1]*x[n,i])*x[n,i] + sin(A[3 - i]*x[n,i])*A[i+1]**2, i)"], {"x": (3,)},
                     {"parameters": {"A": ("k",)}, "sizes": {"i": 3, "k": 4}}),
    "wide": (["z[n,j] = sum(W[j,i]*x[n,i], i)", "l[n] = sum(z[n,j]**2*(j + 1), j)"], {"x": (37,)},
             {"parameters": {"W": ("j", "i")}, "sizes": {"j": 21}}),
    "pairs": (["z[n,i,d] = x[n,i,d]*W[d]", "p[n,i,j] = sum(z[n,i,d]*z[n,j,d], d)", "s[n,j] = sum(p[n,i,j]*V[i], i)",
               "t[n,i] = sum(p[n,i,j]*s[n,j], j)", "l[n] = sum(t[n,i]**2, i)"], {"x": (8, 3)},
              {"parameters": {"W": ("d",), "V": ("i",)}, "sizes": {"j": 8}}),
    "mixed pairs": (["z[n,i,d] = x[n,i,d]*W[d]", "p[n,i,j] = sum(z[n,i,d]*z[n,j,d], d)", "q[n,i,j] = tanh(p[n,i,j])",
                     "y[n,c,j] = sum(V[c,i]*q[n,i,j], i)", "l[n] = sum(y[n,c,j]**2, c, j)"], {"x": (8, 3)},
                    {"parameters": {"W": ("d",), "V": ("c", "i")}, "sizes": {"j": 8, "c": 5}}),
}  # fmt: skip


def _fitted(z: Any) -> Network:
    return Network(z, loss=bp.MeanSquaredError(z, bp.Target("y", z.shape[1:])))


def _images() -> Network:
    h = bp.Conv2D(4, 3, padding="same", activation="tanh", name="first")(bp.Input("x", (2, 9, 9)))
    h = bp.Conv2D(3, 3, padding="same", name="second")(bp.AveragePooling2D(3, name="pool")(h))
    return _fitted(bp.Dense(3, name="last")(bp.Flatten(name="flat")(h)))


def _attention() -> Network:
    return _fitted(bp.MultiHeadAttention(2, causal=True, name="a")(bp.Input("x", (8, 4))))


def _chain(*activations: str) -> Network:
    h = bp.Input("x", 6)
    for k, activation in enumerate(activations):
        h = bp.Dense(6, activation=activation, name=f"d{k}")(h)
    return _fitted(h)


LAYERED: dict[str, Callable[[], Network]] = {
    "images": _images,
    "padded": lambda: _fitted(bp.Conv2D(8, 3, padding="same", name="c")(bp.Input("x", (4, 24, 24)))),
    "attention": _attention,
    "deep": lambda: _chain(*["tanh"] * 7),
    "unequal": lambda: _chain("tanh", "tanh", "tanh", "sigmoid", "tanh", "tanh", "tanh"),
}
"""Networks of the library's layers."""

#: A formula in which each operation stands between a parameter and the loss.
FORMULAS: dict[str, str] = {
    "add": "(z + w)*z", "sub": "(z - w)*w", "neg": "sin(-z)", "mul": "z*w", "pow": "z**w", "quotient": "z/w",
    "div": "z*w",  # the mean over the batch divides: a sign that is wrong twice would be right again
    "max": "max(z, w)*w", "min": "min(z, w)*w", "mod": "z % 0.3", "where": "where(z < w, z*w, z/w)",
    "exp": "tanh(exp(z))", "atan2": "atan2(z, w)", "acosh": "acosh(1.5 + z)", "abs": "abs(z)*w",
}  # fmt: skip


def of_formula(formula: str) -> Network:
    """A network in which a formula of ``z`` and ``w`` is the loss of each element; both are positive."""
    body = re.sub(r"\b([zw])\b", r"\1[n,i]", formula)
    equations = ["z[n,i] = V[i]*x[n,i]", "w[n,i] = V[i] + x[n,i]", f"l[n] = sum(({body})*(i + 1), i)"]
    return network(equations, {"x": (3,)}, loss="l", parameters={"V": ("i",)})


def of_case(name: str) -> Network:
    """One of `CASES` or of `LAYERED`."""
    if name in LAYERED:
        return LAYERED[name]()
    equations, inputs, options = CASES[name]
    return network(equations, inputs, loss="l", **options)
