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
from tests.oracle import with_pytorch
from tests.oracle.translation import Result
from tests.random.case import Case, arrays_of

MOST = 1e6
"""Gradients beyond this say more about the formula than about the compiler."""
ROUNDING = 2.0**-51
"""How far numbers are moved to find what rounding in float64 explains, relative to themselves."""


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


def scale_of(found: Found) -> float:
    """The largest gradient, or the loss, or one."""
    # Of NumPy, since Python's own max passes over NaN.
    return float(np.max([1.0, abs(found.loss), *(float(np.max(np.abs(g), initial=0)) for g in found.grads.values())]))


def differences(got: Found, want: Found, tolerance: float, moved: Mapping[str, float] | None = None) -> list[str]:
    """Where two results differ by more than the tolerance times the largest gradient, and more than what `moved` allows."""
    scale = scale_of(want)
    if not np.isfinite(scale) or scale > MOST:
        return []
    moved = moved or {}
    wrong = []
    if not abs(got.loss - want.loss) <= tolerance * max(1.0, abs(want.loss)) + moved.get("loss", 0.0):
        wrong.append(f"loss: {got.loss!r} and {want.loss!r}")
    for kind in ("grads", "state"):
        for name, values in getattr(want, kind).items():
            error = np.abs(getattr(got, kind)[name] - values)
            if not np.all(error <= tolerance * scale + moved.get(name, 0.0)):
                at = np.unravel_index(int(np.argmax(np.where(np.isnan(error), np.inf, error))), error.shape)
                wrong.append(f"{kind} {name}{list(map(int, at))}: {getattr(got, kind)[name][at]!r} and {values[at]!r}")
    return wrong


def movement(
    model: Model, net: Network, arrays: Mapping[str, np.ndarray], nudge: float, key: int = 0, training: bool = True
) -> dict[str, float]:
    """By how much the loss and each gradient and state move where every number is off by so much, relative to itself.

    Where a sum cancels or a function is steep, this is what rounding inside of it does as well.
    """
    want = run(model, net, arrays, key, training)
    rng = np.random.default_rng(key)
    moved = dict.fromkeys(["loss", *want.grads, *want.state], 0.0)
    for _ in range(3):
        nudged = {k: a * (1 + nudge * rng.choice([-1.0, 1.0], a.shape)) if a.dtype.kind == "f" else a for k, a in arrays.items()}
        other = run(model, net, nudged, key, training)
        moved["loss"] = max(moved["loss"], 4 * abs(other.loss - want.loss))
        for kind in ("grads", "state"):
            for name, values in getattr(want, kind).items():
                by = np.max(np.abs(getattr(other, kind)[name] - values), initial=0)
                moved[name] = max(moved[name], 4 * float(by))
    return moved


def compared(
    got: Found, model: Model, net: Network, arrays: Mapping[str, np.ndarray], tolerance: float, key: int = 0, training: bool = True
) -> list[str]:
    """Differences from what a NumPy model gives, beyond what rounding explains."""
    want = run(model, net, arrays, key, training)
    found = differences(got, want, tolerance)
    return found and differences(got, want, tolerance, movement(model, net, arrays, ROUNDING, key, training))


def against_torch(net: Network, arrays: Mapping[str, np.ndarray], n: int, training: bool = True) -> list[str]:
    """Generated NumPy against PyTorch's gradients of an independent translation."""
    return _against(with_pytorch.value_and_grad(net, arrays, n, training), net, arrays, training)


def against_jax(net: Network, arrays: Mapping[str, np.ndarray], n: int, training: bool = True) -> list[str]:
    """Generated NumPy against JAX's gradients of an independent translation."""
    from tests.oracle import with_jax  # takes a while to import

    return _against(with_jax.value_and_grad(net, arrays, n, training), net, arrays, training)


def against_interpreter(net: Network, arrays: Mapping[str, np.ndarray], training: bool = True) -> list[str]:
    """Generated NumPy against scalar loops over the equations, one gradient by differences in forty digits."""
    from tests.oracle import interpreter

    parameters, state = ({k: arrays[k] for k in group} for group in (net.parameters, net.states))
    inputs = {k: arrays[k] for k in net.inputs}
    result = interpreter.interpret(net, parameters, inputs, state=state, training=training)
    after = {k: np.asarray(v, np.float64) if training else arrays[k] for k, v in result.state.items()}
    grads: dict[str, np.ndarray] = {}
    if not any("stop_gradient" in str(e) for call in net.calls for e in call.equations):  # differences do not stop
        name = min((*net.parameters, *(k for k, v in net.inputs.items() if not v.integer)), key=lambda k: arrays[k].size)
        grads[name] = interpreter.loss_gradient(net, parameters, inputs, name, state=state, training=training)
    return _reached(Found(result.loss, grads, after), net, arrays, training)


def _against(result: Result, net: Network, arrays: Mapping[str, np.ndarray], training: bool) -> list[str]:
    want = Found(result.loss, result.grads, result.state if training else {k: arrays[k] for k in net.states})
    return _reached(want, net, arrays, training)


def _reached(want: Found, net: Network, arrays: Mapping[str, np.ndarray], training: bool) -> list[str]:
    model = compiled(net, "numpy")
    got = run(model, net, arrays, training=training)
    found = differences(got, want, 1e-9)
    return found and differences(got, want, 1e-9, movement(model, net, arrays, ROUNDING, training=training))


def case_arrays(case: Case, seed: int) -> tuple[Network, dict[str, np.ndarray], int]:
    """The network, arrays for it and a batch size."""
    net = build(case)
    n = (1, 2, 3, 7, 17)[seed % 5]
    return net, arrays_of(net, n, seed), n
