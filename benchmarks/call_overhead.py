"""Time from Python to C and back, on a 2-2-2 network: run with ``python benchmarks/call_overhead.py``.

Promised: a checked ``value_and_grad`` with ready arrays, new ones for each call, in less than 1.5 microseconds; a bound step
in less than 0.5.
"""

from __future__ import annotations

import itertools
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

import bpcompile as bp


def shortest(call: Callable[[], object], number: int = 3000, repeat: int = 100) -> float:
    """The time of one call in microseconds, the best of many rounds."""
    return 1e6 * min(timeit.repeat(call, number=number, repeat=repeat)) / number


def main() -> None:
    """Print a line for real targets and one for labels."""
    x = bp.Input("x", (2,))
    for target, loss, y in (
        (bp.Target("y", (2,)), bp.MeanSquaredError, np.zeros((1, 2), np.float32)),
        (bp.Target("y", classes=2), bp.SoftmaxCrossEntropy, np.zeros(1, np.int32)),
    ):
        z = bp.Dense(2, name="output")(bp.Dense(2, activation="sigmoid", name="hidden")(x))
        model = bp.compile(bp.Network(z, loss=loss(z, target), name="tiny"))
        params, data = model.init(), {"x": np.ones((1, 2), np.float32), "y": y}
        model.value_and_grad(params, **data)
        fresh = itertools.cycle([(data["x"].copy(), data["y"].copy()) for _ in range(1000)])

        def call(model: Any = model, params: Any = params, fresh: Any = fresh) -> None:
            x, y = next(fresh)
            model.value_and_grad(params, x=x, y=y)

        checked, bound = shortest(call), shortest(model.bind(params, **data))
        print(f"{loss.__name__:22} checked {checked:.2f} us   bound {bound:.2f} us")


if __name__ == "__main__":
    main()
