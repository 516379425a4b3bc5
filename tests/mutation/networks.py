"""Small networks, one construct each, that the mutants of `mutants` are tried on."""

from __future__ import annotations

import re
from typing import Any

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
}  # fmt: skip

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
    """One of `CASES`."""
    equations, inputs, options = CASES[name]
    return network(equations, inputs, loss="l", **options)
