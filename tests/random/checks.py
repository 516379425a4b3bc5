"""What a random network is checked for; each check gives what is wrong, or nothing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import bpcompile as bp
from bpcompile.language.network import Network
from bpcompile.model import Model
from tests.random import torch_translation
from tests.random.case import Case, arrays_of

MOST = 1e6
"""Gradients beyond this say more about the formula than about the compiler."""


@dataclass(frozen=True)
class Found:
    """What a model gave: loss, gradients, next states."""

    loss: float
    grads: Mapping[str, np.ndarray]
    state: Mapping[str, np.ndarray] = field(default_factory=dict)


def build(case: Case) -> Network:
    """The network, unused parameters and all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return case.network()


def compiled(net: Network, backend: str, **options: Any) -> Model:
    """A float64 model that gives every gradient there is."""
    wrt = ("parameters", *(name for name, value in net.inputs.items() if not value.integer))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bp.compile(net, backend=backend, wrt=wrt, **{"dtype": "float64", **options})


def run(model: Model, net: Network, arrays: Mapping[str, np.ndarray], key: int = 0, training: bool = True) -> Found:
    """Loss, gradients and next states."""
    params = model.parameters({k: arrays[k] for k in net.parameters})
    state = model.init_state()
    for name in net.states:
        state[name] = arrays[name]
    loss, grads = model.value_and_grad(
        params, state=state if net.states else None, key=key, training=training, **{k: arrays[k] for k in net.inputs}
    )
    names = [*net.parameters, *(name for name, value in net.inputs.items() if not value.integer)]
    return Found(loss, {k: np.array(grads[k]) for k in names}, {k: np.array(state[k]) for k in net.states})


def differences(got: Found, want: Found, tolerance: float) -> list[str]:
    """Where two results differ by more than the tolerance times the largest gradient."""
    scale = max([1.0, abs(want.loss), *(float(np.max(np.abs(g), initial=0)) for g in want.grads.values())])
    if not np.isfinite(scale) or scale > MOST:
        return []
    wrong = []
    if not abs(got.loss - want.loss) <= tolerance * max(1.0, abs(want.loss)):
        wrong.append(f"loss: {got.loss!r} and {want.loss!r}")
    for kind in ("grads", "state"):
        for name, values in getattr(want, kind).items():
            error = np.abs(getattr(got, kind)[name] - values)
            if not np.all(error <= tolerance * scale):
                at = np.unravel_index(int(np.argmax(np.where(np.isnan(error), np.inf, error))), error.shape)
                wrong.append(f"{kind} {name}{list(map(int, at))}: {getattr(got, kind)[name][at]!r} and {values[at]!r}")
    return wrong


def against_torch(net: Network, arrays: Mapping[str, np.ndarray], n: int, training: bool = True) -> list[str]:
    """Generated NumPy against the independent translation to PyTorch."""
    result = torch_translation.value_and_grad(net, arrays, n, training)
    want = Found(result.loss, result.grads, result.state if training else {k: arrays[k] for k in net.states})
    return differences(run(compiled(net, "numpy"), net, arrays, training=training), want, 1e-9)


def c_against_numpy(net: Network, arrays: Mapping[str, np.ndarray], key: int = 0, **options: Any) -> list[str]:
    """Generated C against generated NumPy, bit for bit the same on two threads."""
    flags = options.pop("flags", ["-O1", "-march=native", "-ffp-contract=fast"])
    want = run(compiled(net, "numpy"), net, arrays, key)
    got = run(compiled(net, "c", flags=flags, **options), net, arrays, key)
    return differences(got, want, 1e-11)


def case_arrays(case: Case, seed: int) -> tuple[Network, dict[str, np.ndarray], int]:
    """The network, arrays for it and a batch size."""
    net = build(case)
    n = (1, 2, 3, 7, 17)[seed % 5]
    return net, arrays_of(net, n, seed), n
