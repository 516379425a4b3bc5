"""Gradients of a network by PyTorch. It runs a random network in some milliseconds, which is what long sweeps need."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bpcompile.language.network import Network
from tests.oracle.translation import Library, Result, loss_of

__all__ = ["value_and_grad"]


def _real(x: Any) -> Any:
    return x if x.dtype == torch.float64 else x.double()


def _constant(x: Any) -> Any:
    return torch.tensor(x, dtype=torch.float64) if isinstance(x, float) else torch.as_tensor(x)


def _put(array: Any, axis: int, place: int, value: Any) -> Any:
    whole = array.clone()
    whole.select(axis, place).copy_(value)
    return whole


def _first(flat: Any, largest: bool) -> Any:
    plain = flat.detach().numpy()  # PyTorch does not promise which of several equal elements its own argmax gives
    return torch.as_tensor(np.argmax(plain, -1) if largest else np.argmin(plain, -1))


LIBRARY = Library(
    namespace=torch,
    constant=_constant,
    real=_real,
    is_real=lambda x: bool(x.dtype == torch.float64),
    read=operator.getitem,
    stop=lambda x: x.detach(),
    floor_divide=lambda x, y: torch.div(x, y, rounding_mode="floor"),
    put=_put,
    first=_first,
    at=lambda flat, first: torch.take_along_dim(flat, first[..., None], -1)[..., 0],
    functions={
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        "relu": lambda x: torch.where(x > 0, x, 0.0 * x.detach()),
        "erf": torch.special.erf,
        "erfc": torch.special.erfc,
        "gamma": lambda x: torch.exp(torch.lgamma(x)),
    },
)


def value_and_grad(net: Network, arrays: Mapping[str, np.ndarray], n: int, training: bool = True) -> Result:
    """Loss and gradients with respect to every parameter and real input."""
    leaves = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in arrays.items()
              if v.dtype.kind == "f" and k not in net.states}  # fmt: skip
    rest = {k: torch.tensor(v) for k, v in arrays.items() if k not in leaves}
    total, after = loss_of(LIBRARY, net, rest | leaves, n, training)
    grads: Any = [None] * len(leaves)
    if total.requires_grad:
        grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    found = {k: np.zeros(v.shape) if g is None else g.numpy() for (k, v), g in zip(leaves.items(), grads, strict=True)}
    return Result(float(total.detach()), found, {k: v.detach().numpy() for k, v in after.items()})
