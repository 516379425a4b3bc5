"""Layers that nobody built in: typed as equations the way their papers write them, with PyTorch's word on the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpcompile as bp
from tests.layers.cases import Case, Integers, Shape

try:
    import torch
    import torch.nn.functional as F  # noqa: N812
except ImportError:
    torch = F = None


def typed(
    title: str, equations: Sequence[str], shapes: Sequence[Shape], reference: Any, scale: float = 1.0, **options: Any
) -> Case:
    """A case whose layer is its equations."""
    return Case(title, lambda name: bp.Layer(list(equations), name=name, **options), shapes, reference, scale=scale)


def _kolmogorov_arnold(p: Any, x: Any) -> Any:
    basis = torch.stack([torch.exp(-((x[0] - k) ** 2)) for k in range(-2, 3)], -1)
    return torch.einsum("jik,nik->nj", p["c"], basis) + F.silu(x[0]) @ p["w"].T


def _squash(p: Any, x: Any) -> Any:
    s = torch.einsum("cio,ni->nco", p["W"], x[0])
    squared = (s**2).sum(-1, keepdim=True)
    return torch.sqrt(squared) / (1 + squared) * s


def _routing(p: Any, x: Any) -> Any:
    votes = torch.einsum("cido,nid->nico", p["W"], x[0])
    logits = torch.zeros(votes.shape[:3], dtype=votes.dtype)
    v = votes
    for _ in range(2):
        s = (torch.softmax(logits, 2)[..., None] * votes).sum(1)
        norm = torch.sqrt((s**2).sum(-1, keepdim=True))
        v = norm / (1 + norm**2) * s
        logits = logits + (votes * v[:, None]).sum(-1)
    return v


def _hopfield(p: Any, x: Any) -> Any:
    s = x[0]
    for _ in range(3):
        s = torch.softmax(p["beta"] * s @ p["M"].T, -1) @ p["M"]
    return s


def _experts(p: Any, x: Any) -> Any:
    gate = torch.softmax(x[0] @ p["G"].T, -1)
    return (gate[:, :, None] * torch.tanh(torch.einsum("eji,ni->nej", p["W"], x[0]) + p["b"])).sum(1)


def _top_expert(p: Any, x: Any) -> Any:
    gate = torch.softmax(x[0] @ p["G"].T, -1)
    best = gate.argmax(-1)
    every = torch.einsum("eji,ni->nej", p["W"], x[0])
    rows = torch.arange(len(best))
    return gate[rows, best][:, None] * every[rows, best]


def _runge_kutta(p: Any, x: Any) -> Any:
    def f(z: Any) -> Any:
        return torch.tanh(z @ p["W"].T + p["b"])

    s = x[0]
    for _ in range(4):
        k1 = f(s)
        k2 = f(s + 0.125 * k1)
        k3 = f(s + 0.125 * k2)
        k4 = f(s + 0.25 * k3)
        s = s + 0.25 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return s


def _forward_algorithm(p: Any, x: Any) -> Any:
    a = x[0][:, 0]
    for t in range(1, x[0].shape[1]):
        a = torch.logsumexp(a[:, :, None] + p["A"][None], 1) + x[0][:, t]
    return torch.logsumexp(a, -1)


def _crf(p: Any, x: Any) -> Any:
    z, y = x
    rows, steps = torch.arange(len(z)), z.shape[1]
    score = sum(z[rows, t, y[:, t]] for t in range(steps)) + sum(p["A"][y[:, t - 1], y[:, t]] for t in range(1, steps))
    return _forward_algorithm(p, x) - score


def _ctc(p: Any, x: Any) -> Any:
    logits, labels = x
    log_p = torch.log_softmax(logits, -1).transpose(0, 1)
    lengths = torch.full((len(labels),), log_p.shape[0]), torch.full((len(labels),), labels.shape[1])
    return F.ctc_loss(log_p, labels + 1, *lengths, blank=0, reduction="none")


def _edit(p: Any, x: Any) -> Any:
    cost = (x[0][:, :, None] - x[1][:, None]) ** 2
    rows, columns = cost.shape[1:]
    inf = torch.full((len(cost),), float("inf"), dtype=cost.dtype)
    table = [[inf] * (columns + 1) for _ in range(rows + 1)]
    table[0][0] = torch.zeros_like(inf)
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            before = torch.stack([table[i - 1][j], table[i][j - 1], table[i - 1][j - 1]])
            table[i][j] = cost[:, i - 1, j - 1] + before.amin(0)
    return table[rows][columns]


def _linear_attention(p: Any, x: Any) -> Any:
    q, k, v = (F.elu(x[0] @ p["Q"].T) + 1, F.elu(x[0] @ p["K"].T) + 1, x[0] @ p["V"].T)
    weights = torch.tril(torch.einsum("ntd,nsd->nts", q, k))
    return torch.einsum("nts,nse->nte", weights, v) / weights.sum(-1, keepdim=True)


def _state_space(p: Any, x: Any) -> Any:
    h, out = torch.zeros(len(x[0]), 3, 4, dtype=x[0].dtype), []
    step = F.softplus(x[0] @ p["D"].T)
    for t in range(x[0].shape[1]):
        h = torch.exp(-step[:, t, :, None] * torch.exp(p["A"])) * h + (step[:, t] * x[0][:, t])[:, :, None] * p["B"]
        out.append((h * p["C"]).sum(-1))
    return torch.stack(out, 1)


def _attention_on_graph(p: Any, x: Any) -> Any:
    h = x[0] @ p["W"].T
    scores = F.leaky_relu((h @ p["a"])[:, :, None] + (h @ p["c"])[:, None], 0.2)
    scores = torch.where(x[1] > 0, scores, torch.tensor(float("-inf"), dtype=h.dtype))
    return torch.softmax(scores, -1) @ h


def _deformed(p: Any, x: Any) -> Any:
    u = x[0] @ p["W"].T
    place = 7 * torch.sigmoid(u)
    hat = torch.relu(1 - (place[:, :, None] - torch.arange(8)).abs())
    return torch.einsum("njs,ns->nj", hat, x[0])


def _neural_turing_read(p: Any, x: Any) -> Any:
    key = x[0] @ p["K"].T
    cos = torch.einsum("nd,md->nm", key, p["M"]) / (key.norm(dim=-1)[:, None] * p["M"].norm(dim=-1))
    return torch.softmax(5 * cos, -1) @ p["M"]


def _mixture(p: Any, x: Any) -> Any:
    pi = torch.log_softmax(x[0], -1)
    density = -0.5 * ((x[2][:, None] - x[1]) / torch.exp(p["s"])) ** 2 - p["s"] - 0.9189385332046727
    return -torch.logsumexp(pi + density, -1)


def _contrastive(p: Any, x: Any) -> Any:
    a, b = (v / v.norm(dim=-1, keepdim=True) for v in x)
    logits = torch.exp(p["t"]) * a @ b.mT
    return -torch.log_softmax(logits, -1).diagonal(0, 1, 2).mean(1)


def _attentive_pool(p: Any, x: Any) -> Any:
    weights = torch.softmax(torch.tanh(x[0] @ p["V"].T) @ p["w"], 1)
    return (weights[..., None] * x[0]).sum(1)


CASES = [
    typed("Kolmogorov-Arnold",
          ["g[n,i,k] = exp(-(x[n,i] - (k - 2))**2)",
           "y[n,j] = sum(c[j,i,k]*g[n,i,k], i, k) + sum(w[j,i]*x[n,i]/(1 + exp(-x[n,i])), i)"],
          ((3,),), _kolmogorov_arnold, parameters={"c": ("j", "i", "k"), "w": ("j", "i")}, sizes={"j": 4, "k": 5}),
    typed("capsule squash",
          ["s[n,c,o] = sum(W[c,i,o]*x[n,i], i)", "r[n,c] = sum(s[n,c,o]**2, o)",
           "v[n,c,o] = r[n,c]/(1 + r[n,c])*s[n,c,o]/sqrt(r[n,c])"],
          ((3,),), _squash,
          parameters={"W": ("c", "i", "o")}, sizes={"c": 2, "o": 3}),
    typed("capsules with routing by agreement",
          ["u[n,i,c,o] = sum(W[c,i,d,o]*x[n,i,d], d)",
           "q[n,r,i,c] = exp(b[n,r,i,c])/sum(exp(b[n,r,i,e]), e)",
           "s[n,r,c,o] = sum(q[n,r,i,c]*u[n,i,c,o], i)", "l[n,r,c] = sqrt(sum(s[n,r,c,o]**2, o))",
           "v[n,r,c,o] = l[n,r,c]/(1 + l[n,r,c]**2)*s[n,r,c,o]",
           "b[n,r,i,c] = b[n,r-1,i,c] + sum(u[n,i,c,o]*v[n,r-1,c,o], o)",
           "out[n,c,o] = v[n,1,c,o]"],
          ((3, 2),), _routing, parameters={"W": ("c", "i", "d", "o")}, sizes={"c": 2, "o": 3, "r": 2, "e": 2}),
    typed("modern Hopfield, three steps",
          ["e[n,t,m] = beta*sum(M[m,d]*s[n,t-1,d], d)", "a[n,t,m] = exp(e[n,t,m])/sum(exp(e[n,t,k]), k)",
           "s[n,-1,d] = x[n,d]", "s[n,t,d] = sum(a[n,t,m]*M[m,d], m)", "y[n,d] = s[n,2,d]"],
          ((4,),), _hopfield, parameters={"M": ("m", "d"), "beta": ()}, sizes={"m": 5, "t": 3}, output="y"),
    typed("SIREN", ["y[n,j] = sin(30*(sum(W[j,i]*x[n,i], i) + b[j]))"], ((2,),),
          lambda p, x: torch.sin(30 * (x[0] @ p["W"].T + p["b"])), scale=0.3,
          parameters={"W": ("j", "i"), "b": ("j",)}, sizes={"j": 5}),
    typed("Fourier features", ["z[n,j] = sum(B[j,i]*x[n,i], i)",
                               "y[n,k] = where(k < 4, sin(2*pi*z[n,k%4]), cos(2*pi*z[n,k%4]))"], ((2,),),
          lambda p, x: torch.cat([torch.sin(2 * torch.pi * x[0] @ p["B"].T), torch.cos(2 * torch.pi * x[0] @ p["B"].T)], -1),
          parameters={"B": ("j", "i")}, sizes={"j": 4, "k": 8}),
    typed("FiLM", ["y[n,c,h,w] = (1 + sum(G[c,i]*u[n,i], i))*x[n,c,h,w] + sum(B[c,i]*u[n,i], i)"], ((3, 4, 2), (5,)),
          lambda p, x: (1 + x[1] @ p["G"].T)[..., None, None] * x[0] + (x[1] @ p["B"].T)[..., None, None],
          parameters={"G": ("c", "i"), "B": ("c", "i")}, inputs=("x", "u")),
    typed("squeeze and excite",
          ["s[n,c] = mean(x[n,c,h,w], h, w)", "e[n,r] = relu(sum(A[r,c]*s[n,c], c))",
           "y[n,c,h,w] = x[n,c,h,w]/(1 + exp(-sum(B[c,r]*e[n,r], r)))"], ((4, 3, 3),),
          lambda p, x: x[0] * torch.sigmoid(torch.relu(x[0].mean((2, 3)) @ p["A"].T) @ p["B"].T)[..., None, None],
          parameters={"A": ("r", "c"), "B": ("c", "r")}, sizes={"r": 2}),
    typed("highway", ["t[n,i] = sigmoid(sum(T[i,j]*x[n,j], j) + b[i])",
                      "y[n,i] = t[n,i]*tanh(sum(W[i,j]*x[n,j], j)) + (1 - t[n,i])*x[n,i]"], ((4,),),
          lambda p, x: torch.lerp(x[0], torch.tanh(x[0] @ p["W"].T), torch.sigmoid(x[0] @ p["T"].T + p["b"])),
          parameters={"T": ("i", "j"), "W": ("i", "j"), "b": ("i",)}, sizes={"i": 4}),
    typed("mixture of experts",
          ["q[n,e] = sum(G[e,i]*x[n,i], i)", "g[n,e] = exp(q[n,e])/sum(exp(q[n,f]), f)",
           "y[n,j] = sum(g[n,e]*tanh(sum(W[e,j,i]*x[n,i], i) + b[e,j]), e)"], ((3,),), _experts,
          parameters={"G": ("e", "i"), "W": ("e", "j", "i"), "b": ("e", "j")}, sizes={"e": 4, "j": 2}),
    typed("the best expert alone",
          ["q[n,e] = sum(G[e,i]*x[n,i], i)", "g[n,e] = exp(q[n,e])/sum(exp(q[n,f]), f)", "best[n] = argmax(q[n,e], e)",
           "y[n,j] = g[n,best[n]]*sum(W[best[n],j,i]*x[n,i], i)"], ((3,),), _top_expert,
          parameters={"G": ("e", "i"), "W": ("e", "j", "i")}, sizes={"e": 4, "j": 2}, output="y"),
    typed("deep sets", ["h[n,s,k] = relu(sum(W[k,i]*x[n,s,i], i))", "y[n,j] = sum(V[j,k]*sum(h[n,s,k], s), k)"], ((5, 3),),
          lambda p, x: torch.relu(x[0] @ p["W"].T).sum(1) @ p["V"].T,
          parameters={"W": ("k", "i"), "V": ("j", "k")}, sizes={"k": 4, "j": 2}),
    typed("graph convolution with an adjacency",
          ["d[n,u] = sum(a[n,u,v]**2, v) + 1", "s[n,u,i] = sum(a[n,u,v]**2*x[n,v,i]/sqrt(d[n,u]*d[n,v]), v)",
           "y[n,u,j] = relu(sum(W[j,i]*s[n,u,i], i))"], ((4, 3), (4, 4)),
          lambda p, x: torch.relu(
              (x[1] ** 2 / torch.sqrt((x[1] ** 2).sum(-1) + 1)[..., None] / torch.sqrt((x[1] ** 2).sum(-1) + 1)[:, None])
              @ x[0] @ p["W"].T),
          parameters={"W": ("j", "i")}, sizes={"j": 2}, inputs=("x", "a")),
    typed("graph attention",
          ["h[n,u,j] = sum(W[j,i]*x[n,u,i], i)", "e[n,u,v] = sum(a[j]*h[n,u,j], j) + sum(c[j]*h[n,v,j], j)",
           "m[n,u,v] = where(edge[n,u,v] > 0, where(e[n,u,v] > 0, e[n,u,v], 0.2*e[n,u,v]), -inf)",
           "p[n,u,v] = exp(m[n,u,v])/sum(exp(m[n,u,k]), k)", "y[n,u,j] = sum(p[n,u,v]*h[n,v,j], v)"],
          ((4, 3), Integers((4, 4), 3)), lambda p, x: _attention_on_graph(p, (x[0], x[1].double())),
          parameters={"W": ("j", "i"), "a": ("j",), "c": ("j",)}, sizes={"j": 2}, inputs=("x", "edge")),
    typed("attention with a learned temperature",
          ["s[n,t,u] = exp(tau)*sum(x[n,t,i]*x[n,u,i], i)", "p[n,t,u] = exp(s[n,t,u])/sum(exp(s[n,t,v]), v)",
           "y[n,t,i] = sum(p[n,t,u]*x[n,u,i], u)"], ((4, 3),),
          lambda p, x: torch.softmax(torch.exp(p["tau"]) * x[0] @ x[0].mT, -1) @ x[0], parameters={"tau": ()}),
    typed("Runge-Kutta, unrolled",
          ["k1[n,t,i] = tanh(sum(W[i,j]*s[n,t-1,j], j) + b[i])",
           "k2[n,t,i] = tanh(sum(W[i,j]*(s[n,t-1,j] + k1[n,t,j]/8), j) + b[i])",
           "k3[n,t,i] = tanh(sum(W[i,j]*(s[n,t-1,j] + k2[n,t,j]/8), j) + b[i])",
           "k4[n,t,i] = tanh(sum(W[i,j]*(s[n,t-1,j] + k3[n,t,j]/4), j) + b[i])",
           "s[n,t,i] = s[n,t-1,i] + (k1[n,t,i] + 2*k2[n,t,i] + 2*k3[n,t,i] + k4[n,t,i])/24",
           "s[n,-1,i] = x[n,i]", "y[n,i] = s[n,3,i]"], ((3,),), _runge_kutta,
          parameters={"W": ("i", "j"), "b": ("i",)}, sizes={"t": 4}, output="y"),
    typed("the forward algorithm",
          ["a[n,t,j] = where(t == 0, 0, log(sum(exp(a[n,t-1,i] + A[i,j]), i))) + x[n,t,j]",
           "y[n] = log(sum(exp(a[n,4,j]), j))"], ((5, 3),), _forward_algorithm,
          parameters={"A": ("i", "j")}, sizes={"i": 3}, output="y"),
    typed("conditional random field",
          ["a[n,0,j] = z[n,0,j]", "a[n,t,j] = log(sum(exp(a[n,t-1,i] + A[i,j]), i)) + z[n,t,j]",
           "score[n] = sum(z[n,t,y[n,t]], t) + sum(where(t > 0, A[y[n,t-1],y[n,t]], 0), t)",
           "l[n] = log(sum(exp(a[n,4,j]), j)) - score[n]"], ((5, 3), Integers((5,), 3)), _crf,
          parameters={"A": ("i", "j")}, sizes={"i": 3}, inputs=("z", "y"), output="l"),
    typed("connectionist temporal classification",
          ["p[n,t,c] = z[n,t,c] - log(sum(exp(z[n,t,m]), m))",
           "label[n,s] = where(s%2 == 1, y[n,s//2] + 1, 0)", "e[n,t,s] = p[n,t,label[n,s]]",
           "skip[n,s] = where(s%2 == 1 and label[n,s] != label[n,s-2], 0, -1e30)",
           "a[n,0,s] = where(s < 2, 0, -1e30) + e[n,0,s]",
           "a[n,t,s] = log(sum(exp(a[n,t-1,s-k] + where(k == 2, skip[n,s], 0)), k)) + e[n,t,s]",
           "l[n] = -log(sum(exp(a[n,5,3+q]), q))"], ((6, 4), Integers((2,), 3)), _ctc,
          sizes={"s": 5, "k": 3, "q": 2}, inputs=("z", "y"), output="l", outside={"a": -1e30, "label": 0, "y": 0}),
    typed("dynamic time warping, by diagonals",
          ["c[n,t,i] = where(0 <= t - i and t - i < 5, (x[n,i] - y[n,t-i])**2, 1e9)",
           "d[n,0,i] = where(i == 0, c[n,0,0], 1e9)",
           "d[n,t,i] = c[n,t,i] + min(d[n,t-1,i-1], d[n,t-1,i], d[n,t-2,i-1])",
           "l[n] = d[n,7,3]"],
          ((4,), (5,)), _edit, inputs=("x", "y"), output="l", sizes={"t": 8}, outside={"d": 1e9}),
    typed("linear attention, causal",
          ["f[n,t,d] = sum(Q[d,i]*x[n,t,i], i)", "g[n,t,d] = sum(K[d,i]*x[n,t,i], i)", "v[n,t,e] = sum(V[e,i]*x[n,t,i], i)",
           "q[n,t,d] = where(f[n,t,d] > 0, f[n,t,d], expm1(f[n,t,d])) + 1",
           "k[n,t,d] = where(g[n,t,d] > 0, g[n,t,d], expm1(g[n,t,d])) + 1",
           "S[n,t,d,e] = S[n,t-1,d,e] + k[n,t,d]*v[n,t,e]", "Z[n,t,d] = Z[n,t-1,d] + k[n,t,d]",
           "y[n,t,e] = sum(q[n,t,d]*S[n,t,d,e], d)/sum(q[n,t,d]*Z[n,t,d], d)"], ((5, 3),), _linear_attention,
          parameters={"Q": ("d", "i"), "K": ("d", "i"), "V": ("e", "i")}, sizes={"d": 2, "e": 4}),
    typed("selective state space",
          ["u[n,t,i] = sum(D[i,j]*x[n,t,j], j)", "step[n,t,i] = log(1 + exp(u[n,t,i]))",
           "h[n,t,i,s] = exp(-step[n,t,i]*exp(A[i,s]))*h[n,t-1,i,s] + step[n,t,i]*x[n,t,i]*B[i,s]",
           "y[n,t,i] = sum(C[i,s]*h[n,t,i,s], s)"], ((5, 3),), _state_space,
          parameters={"D": ("i", "j"), "A": ("i", "s"), "B": ("i", "s"), "C": ("i", "s")}, sizes={"s": 4, "i": 3}),
    typed("reading between elements at a learned place",
          ["place[n,j] = 7/(1 + exp(-sum(W[j,i]*x[n,i], i)))",
           "y[n,j] = sum(relu(1 - abs(place[n,j] - s))*x[n,s], s)"], ((8,),), _deformed,
          parameters={"W": ("j", "i")}, sizes={"j": 3}),
    typed("reading a memory by content",
          ["k[n,d] = sum(K[d,i]*x[n,i], i)",
           "c[n,m] = sum(k[n,d]*M[m,d], d)/(sqrt(sum(k[n,d]**2, d))*sqrt(sum(M[m,d]**2, d)))",
           "w[n,m] = exp(5*c[n,m])/sum(exp(5*c[n,r]), r)", "y[n,d] = sum(w[n,m]*M[m,d], m)"], ((3,),), _neural_turing_read,
          parameters={"K": ("d", "i"), "M": ("m", "d")}, sizes={"m": 5, "d": 4}),
    typed("mixture density",
          ["pi[n,k] = q[n,k] - log(sum(exp(q[n,j]), j))",
           "d[n,k] = -((y[n] - m[n,k])/exp(s[k]))**2/2 - s[k] - 0.9189385332046727",
           "l[n] = -log(sum(exp(pi[n,k] + d[n,k]), k))"], ((3,), (3,), ()), _mixture,
          parameters={"s": ("k",)}, inputs=("q", "m", "y"), output="l"),
    typed("pooling by attention",
          ["e[n,t] = sum(w[j]*tanh(sum(V[j,i]*x[n,t,i], i)), j)", "a[n,t] = exp(e[n,t])/sum(exp(e[n,s]), s)",
           "y[n,i] = sum(a[n,t]*x[n,t,i], t)"], ((5, 3),), _attentive_pool,
          parameters={"V": ("j", "i"), "w": ("j",)}, sizes={"j": 2}),
    typed("contrastive, a group an example",
          ["u[n,b,i] = x[n,b,i]/sqrt(sum(x[n,b,j]**2, j))", "v[n,b,i] = y[n,b,i]/sqrt(sum(y[n,b,j]**2, j))",
           "s[n,b,c] = exp(t)*sum(u[n,b,i]*v[n,c,i], i)", "l[n] = mean(log(sum(exp(s[n,b,c]), c)) - s[n,b,b], b)"],
          ((3, 4), (3, 4)), _contrastive, parameters={"t": ()}, inputs=("x", "y"), output="l"),
]  # fmt: skip
