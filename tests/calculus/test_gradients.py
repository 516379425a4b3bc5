"""The one rule on every construct of the language, against numeric differences."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.calculus.harness import network, worst_error

P = {"W": ("j", "i")}

CASES: dict[str, tuple[list[str], dict[str, Any], dict[str, Any]]] = {
    "dense": (["z[n,j] = sum(W[j,i]*x[n,i], i) + b[j]", "l[n] = sum(tanh(z[n,j])**2, j)"], {"x": (4,)},
              {"parameters": {**P, "b": ("j",)}, "sizes": {"j": 3}}),
    "several uses of a value": (["z[n,j] = sum(W[j,i]*x[n,i], i)", "l[n] = sum(z[n,j]*exp(z[n,j])/(1 + z[n,j]**2), j)"],
                                {"x": (4,)}, {"parameters": P, "sizes": {"j": 3}}),
    "product of three": (["z[n,j] = sum(A[j,k,m]*x[n,k]*x[n,m], k, m)", "l[n] = sum(sin(z[n,j]), j)"], {"x": (3,)},
                         {"parameters": {"A": ("j", "k", "m")}, "sizes": {"j": 2}}),
    "nested reductions": (["l[n] = sum(max(W[j,i]*x[n,i], i)*mean(x[n,i]**2*W[j,i], i), j)"], {"x": (4,)},
                          {"parameters": P, "sizes": {"j": 3}}),
    "minimum over two indices": (["l[n] = min(W[j,i]*x[n,i], j, i)"], {"x": (4,)}, {"parameters": P, "sizes": {"j": 3}}),
    "softmax and logarithm": (["z[n,j] = sum(W[j,i]*x[n,i], i)", "p[n,j] = exp(z[n,j])/sum(exp(z[n,i]), i)",
                               "l[n] = -log(p[n,y[n]])"],
                              {"x": (4,), "y": {"shape": (), "classes": 4}}, {"parameters": {"W": ("j", "i")}, "sizes": {"j": 4}}),
    "softmax in other hands": (["p[n,j] = exp(W[j]*x[n,j])/sum(exp(W[i]*x[n,i]), i)", "l[n] = sum(p[n,j]**2*x[n,j], j)"],
                               {"x": (4,)}, {"parameters": {"W": ("j",)}}),
    "masked softmax": (["e[n,t,s] = where(s <= t, exp(W[t]*x[n,s]), 0)", "p[n,t,s] = e[n,t,s]/sum(e[n,t,q], q)",
                        "l[n] = sum(p[n,t,s]*x[n,s], t, s)"], {"x": (4,)}, {"parameters": {"W": ("t",)}, "sizes": {"t": 4, "q": 4}}),
    "log of a sum of exponentials": (["l[n] = log(sum(exp(W[i]*x[n,i]), i))"], {"x": (4,)}, {"parameters": {"W": ("i",)}}),
    "binary cross-entropy": (["a[n,j] = 1/(1 + exp(-W[j]*x[n,j]))",
                              "l[n] = -mean(y[n,j]*log(a[n,j]) + (1 - y[n,j])*log(1 - a[n,j]), j)"],
                             {"x": (3,), "y": (3,)}, {"parameters": {"W": ("j",)}}),
    "padded, strided, dilated convolution": (["z[n,o,h,w] = sum(K[o,c,p,q]*x[n,c,2*h+p-1,w+2*q-2], c, p, q)",
                                              "l[n] = sum(z[n,o,h,w]**3, o, h, w)"], {"x": (2, 5, 4)},
                                             {"parameters": {"K": ("o", "c", "p", "q")}, "outside": {"x": 0},
                                              "sizes": {"o": 2, "p": 3, "q": 3, "h": 3, "w": 4}}),
    "pooling without overlap": (["z[n,u,v] = K[u,v]*x[n,u,v]", "m[n,h,w] = max(z[n,2*h+p,2*w+q], p, q)",
                                 "l[n] = sum(m[n,h,w]**2, h, w)"], {"x": (4, 6)},
                                {"parameters": {"K": ("u", "v")}, "sizes": {"p": 2, "q": 2, "h": 2, "w": 3}}),
    "pooling with overlap": (["z[n,u] = K[u]*x[n,u]", "m[n,h] = max(z[n,2*h+p], p)", "l[n] = sum(m[n,h]**2, h)"], {"x": (7,)},
                             {"parameters": {"K": ("u",)}, "sizes": {"p": 3, "h": 3}}),
    "transposed convolution": (["z[n,u] = sum(where((u - p) % 2 == 0, K[p]*x[n,(u - p)//2], 0), p)", "l[n] = sum(z[n,u]**2, u)"],
                               {"x": (4,)}, {"parameters": {"K": ("p",)}, "sizes": {"p": 3, "u": 9}, "outside": {"x": 0}}),
    "flatten by // and %": (["z[n,i] = V[i]*x[n,i//6,(i//2)%3,i%2]", "l[n] = sum(z[n,i]**2, i)"], {"x": (2, 3, 2)},
                            {"parameters": {"V": ("i",)}, "sizes": {"i": 12}}),
    "nearest upsampling": (["z[n,i] = x[n,i//3]*V[i%3]", "l[n] = sum(z[n,i]**2*i, i)"], {"x": (4,)},
                           {"parameters": {"V": ("r",)}, "sizes": {"i": 12, "r": 3}}),
    "reversed and shifted reads": (["z[n,i] = V[i]*x[n,4-i] + x[n,i]", "l[n] = sum(z[n,i]**2, i)"], {"x": (5,)},
                                   {"parameters": {"V": ("i",)}}),
    "diagonal": (["l[n] = sum(W[i,i]*x[n,i]**2, i)"], {"x": (3,)}, {"parameters": {"W": ("i", "j")}, "sizes": {"j": 3}}),
    "broadcast on the left": (["z[n,j,k] = W[j]*sum(x[n,i], i)", "l[n] = sum(z[n,j,k]**2*k, j, k)"], {"x": (3,)},
                              {"parameters": {"W": ("j",)}, "sizes": {"j": 2, "k": 3}}),
    "embedding": (["e[n,t,d] = E[token[n,t],d]", "l[n] = sum(e[n,t,d]**3*V[t], t, d)"],
                  {"token": {"shape": (4,), "classes": 5}},
                  {"parameters": {"E": ("v", "d"), "V": ("t",)}, "sizes": {"v": 5, "d": 2}}),
    "masked label": (["l[n] = where(y[n] < 3, -W[y[n]]*x[n,y[n]], 0)"], {"x": (4,), "y": {"shape": (), "classes": 4}},
                     {"parameters": {"W": ("i",)}, "sizes": {"i": 4}}),
    "simple recurrence": (["u[n,t,j] = sum(W[j,i]*x[n,t,i], i)", "h[n,t,j] = tanh(u[n,t,j] + sum(U[j,k]*h[n,t-1,k], k))",
                           "l[n] = sum(h[n,t,j]**2, t, j)"], {"x": (4, 2)},
                          {"parameters": {"W": ("j", "i"), "U": ("j", "k")}, "sizes": {"j": 3, "k": 3}}),
    "recurrence with a start, two steps back": (
        ["h[n,t] = tanh(a*h[n,t-1] + b*h[n,t-2] + x[n,t])", "h[n,-1] = x[n,0]*c", "h[n,-2] = sin(c)", "l[n] = sum(h[n,t]**2, t)"],
        {"x": (5,)}, {"parameters": {"a": (), "b": (), "c": ()}}),
    "backward recurrence": (["h[n,t] = tanh(a*h[n,t+1] + x[n,t])", "l[n] = h[n,0]**2 + h[n,2]"], {"x": (5,)},
                            {"parameters": {"a": ()}}),
    "gated recurrence of two tensors": (
        ["f[n,t,j] = 1/(1 + exp(-(sum(W[j,k]*h[n,t-1,k], k) + x[n,t,j])))", "c[n,t,j] = f[n,t,j]*c[n,t-1,j] + (1 - f[n,t,j])*x[n,t,j]",
         "h[n,t,j] = tanh(c[n,t,j])", "l[n] = sum(h[n,3,j]**2, j)"], {"x": (4, 2)},
        {"parameters": {"W": ("j", "k")}, "sizes": {"k": 2}}),
    "stop_gradient": (["z[n,i] = W[i]*x[n,i]", "l[n] = sum(z[n,i]**2 + 0*stop_gradient(z[n,i]), i)"], {"x": (3,)},
                      {"parameters": {"W": ("i",)}}),
    "batch statistics": (["mu[i] = mean(x[n,i]*W[i], n)", "v[i] = mean((x[n,i]*W[i] - mu[i])**2, n)",
                          "z[n,i] = (x[n,i]*W[i] - mu[i])/sqrt(v[i] + 0.1)", "l[n] = sum(z[n,i]**3*i, i)"], {"x": (3,)},
                         {"parameters": {"W": ("i",)}}),
    "kinks away from zero": (["l[n] = sum(abs(W[i]*x[n,i]) + max(W[i], x[n,i])*min(W[i], 0.1) + relu(x[n,i]*W[i]), i)"],
                             {"x": (5,)}, {"parameters": {"W": ("i",)}}),
    "index values and size": (["l[n] = sum(W[i]*x[n,i]*10**(-2*i/size(i)) + W[i]**i, i)"], {"x": (4,)},
                              {"parameters": {"W": ("i",)}}),
    "loss without a batch": (["l = sum(W[i]*x[n,i]**2, n, i)/sum(x[n,i]**2, n, i)"], {"x": (3,)}, {"parameters": {"W": ("i",)}}),
    "distances": (["d[n,j] = sqrt(sum((x[n,i] - C[j,i])**2, i))", "l[n] = sum(exp(-d[n,j]), j)"], {"x": (3,)},
                  {"parameters": {"C": ("j", "i")}, "sizes": {"j": 2}}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradient_agrees_with_differences(name: str) -> None:
    equations, inputs, options = CASES[name]
    net = network(equations, inputs, loss="l", **options)
    real = tuple(k for k, shape in inputs.items() if not isinstance(shape, dict) and k != "y")
    assert worst_error(net, ("parameters", *real)) < 1e-8


UNARY = ["exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
         "tanh", "asinh", "atanh", "erf", "erfc", "gamma", "lgamma", "digamma", "sigmoid", "softplus", "abs"]  # fmt: skip


@pytest.mark.parametrize("function", UNARY)
def test_derivative_of_each_function(function: str) -> None:
    net = network([f"l[n] = sum({function}(W[i]*x[n,i])*i, i)"], {"x": (3,)}, loss="l", parameters={"W": ("i",)})
    assert worst_error(net, ("parameters", "x"), positive=True) < 1e-8


@pytest.mark.parametrize("formula", ["acosh(1 + z**2)", "atan2(z, w)", "z**w", "z**3", "z**1.5", "z**(-2)", "z % 0.3", "w/z",
                                     "z/(1 + exp(-w))", "log(cosh(z - w))", "(exp(z) - exp(-z))/(exp(z) + exp(-z))",
                                     "log(1 + exp(z*w))", "0.5*z*(1 + erf(z/sqrt(2)))", "where(z < w, z*w, z/w)",
                                     "exp(z)/(1 + exp(z))", "(1 - exp(-2*z))/(1 + exp(-2*z))", "exp(2*z) - 1"])  # fmt: skip
def test_derivative_of_formulas(formula: str) -> None:
    body = re.sub(r"\b([zw])\b", r"\1[n,i]", formula)
    equations = ["z[n,i] = W[i]*x[n,i]", "w[n,i] = V[i] + x[n,i]", f"f[n,i] = {body}", "l[n] = sum(f[n,i]*(i + 1), i)"]
    net = network(equations, {"x": (3,)}, loss="l", parameters={"W": ("i",), "V": ("i",)})
    assert worst_error(net, ("parameters", "x"), positive=True) < 1e-8
