"""What a program should have computed: the same calls on generated NumPy in float64, and how far results may lie apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.portable.driver import KEY, Array, Results, epoch_batch, epoch_order
from tests.portable.networks import Judged, made, numpy_model

TOLERANCE = {"float32": 1e-3, "float64": 1e-10}
"""The largest difference, in units of the largest element of an array (of 1, where all are smaller)."""
MOST = 1e4
"""Random formulas beyond this magnify rounding; they are compared elsewhere, in float64 alone."""


NUDGES = 4
"""How often the numbers are moved to see what rounding does."""


def reference(judged: Judged, cases: Mapping[int, Mapping[str, Array]]) -> dict[int, Results]:
    """Results for each batch size."""
    net, model = made(judged), numpy_model(judged)
    return {n: _calls(model, net, judged.optimizer.learning_rate, arrays, n) for n, arrays in cases.items()}


def _calls(model: Any, net: Any, rate: float, arrays: Mapping[str, Array], n: int) -> Results:
    params = model.parameters({k: arrays[k] for k in net.parameters})
    state = model.init_state()
    for name in net.states:
        state[name] = arrays[name]
    moved = {"state": state} if net.states else {}
    data = {s.name: arrays[s.name] for s in model.signature.arrays}
    inputs = {s.name: arrays[s.name] for s in model.signature.arrays if not s.target}
    results = model.predict(params, key=KEY, **moved, **inputs)
    names = [o.name for o in model.signature.outputs]
    found = dict(zip((f"output {o}" for o in names), results if isinstance(results, tuple) else (results,), strict=True))
    loss, grads = model.value_and_grad(params, key=KEY, **moved, **data)
    found |= {"loss": np.array([loss]), "gradients": np.concatenate([np.zeros(0), *(grads[k].ravel() for k in params)])}
    found |= {f"gradient {k}": grads[k] for k in model.signature.input_gradients}
    found["state"] = state.flat.copy()
    own = model.optimizer_state(params)
    given = [np.asarray(arrays[s.name], np.int32 if s.integer else np.float64) for s in model.signature.arrays]
    numbers = {"learning_rate": rate}
    losses = model._backend.train_epoch(
        params, given, n, epoch_batch(n), epoch_order(n), state, own.moments, numbers, KEY, 0
    )
    found |= {"epoch losses": losses, "epoch parameters": params.flat, "epoch state": state.flat}
    return found | {"epoch optimizer": own.moments.flat}


def movement(
    judged: Judged, cases: Mapping[int, Mapping[str, Array]], want: Mapping[int, Results], dtype: str
) -> dict[int, dict[str, float]]:
    """By how much each array moves where every number is off by what rounding within a network amounts to.

    An activation that is all but zero may fall on the other side of a kink; then gradients are others, and right as well.
    """
    most: dict[int, dict[str, float]] = {n: dict.fromkeys(results, 0.0) for n, results in want.items()}
    for seed in range(NUDGES):
        rng = np.random.default_rng(seed)
        nudged = {n: {k: _nudged(a, dtype, rng) for k, a in arrays.items()} for n, arrays in cases.items()}
        for n, results in reference(judged, nudged).items():
            for name, values in results.items():
                by = float(np.max(np.abs(np.asarray(values, np.float64) - want[n][name]), initial=0.0))
                most[n][name] = max(most[n][name], 2 * by)
    return most


def _nudged(a: Array, dtype: str, rng: np.random.Generator) -> Array:
    if np.asarray(a).dtype.kind != "f" or np.ndim(a) == 0:
        return a
    return a * (1 + 8 * float(np.finfo(dtype).eps) * rng.choice([-1.0, 1.0], np.shape(a)))


def apart(
    got: Mapping[int, Results],
    want: Mapping[int, Results],
    tolerance: float,
    most: float = math.inf,
    moved: Mapping[int, Mapping[str, float]] | None = None,
) -> list[str]:
    """Where results lie further apart than the tolerance, and than they were `moved`.

    From the first array on that exceeds `most`, nothing is asked.
    """
    wrong = []
    for n, results in want.items():
        for name, values in results.items():
            a, b = np.asarray(got[n][name], np.float64).ravel(), np.asarray(values, np.float64).ravel()
            if a.shape != b.shape:
                wrong.append(f"n = {n}, {name}: {a.size} elements, not {b.size}")
                continue
            largest = float(np.max(np.abs(b), initial=0))
            if most < math.inf and not largest <= most:
                break
            scale = max(1.0, largest)
            error = np.abs(a - b)
            if not np.all(error <= tolerance * scale + (moved[n][name] if moved else 0.0)):
                at = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
                wrong.append(f"n = {n}, {name}[{at}]: {a[at]!r}, not {b[at]!r}")
    return wrong


def same(a: Mapping[int, Results], b: Mapping[int, Results]) -> bool:
    """Whether two runs agree in every bit (any NaN is like any other)."""
    return all(
        np.array_equal(x, b[n][name], equal_nan=x.dtype.kind == "f")
        for n, results in a.items()
        for name, x in results.items()
    )
