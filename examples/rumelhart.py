"""XOR and symmetry: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).

The symmetry network has six inputs, two hidden units and one output, and tells whether the inputs are symmetric about their
middle. It learns all 64 patterns at once, by gradient descent with momentum 0.9 and the paper's rate of 0.1 for the
sum over patterns. What it finds is the figure of the paper: weights to a hidden unit that are equal and opposite about
the middle, in the ratio 1 : 2 : 4.

Run it: python examples/rumelhart.py
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import bpcompile as bp


def network(inputs: int, hidden: int, name: str) -> bp.Network:
    """Logistic units throughout, and half the squared error summed over the patterns."""
    x, y = bp.Input("x", (inputs,)), bp.Target("y", (1,))
    weights = {"kernel_initializer": "uniform(-0.3, 0.3)", "bias_initializer": "uniform(-0.3, 0.3)"}
    h = bp.Dense(hidden, activation="sigmoid", name="hidden", **weights)(x)
    output = bp.Dense(1, activation="sigmoid", name="output", **weights)(h)
    error = bp.Layer(["e = sum((y[n,0] - a[n,0])**2/2, n)"], inputs=("a", "y"), output="e", name="error")
    return bp.Network(output, loss=error(output, y), name=name)


def patterns(bits: int) -> np.ndarray[Any, Any]:
    """All patterns of so many bits."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=bits)), np.float64)


def learn(net: bp.Network, x: Any, y: Any, learning_rate: float, sweeps: int, seed: int) -> tuple[bp.Parameters, Any, int]:
    """Sweep through all patterns until each output is on the right side; give parameters, outputs and sweeps."""
    model = bp.compile(net, dtype="float64", optimizer=bp.Momentum(learning_rate=learning_rate, momentum=0.9))
    params = model.init(seed=seed)
    for sweep in range(1, sweeps + 1):
        error = model.train_epoch(params, batch_size=len(x), shuffle=False, x=x, y=y)
        if sweep % 200 == 0:
            print(f"  sweep {sweep}: error {error:.4f}")
        if error < 0.02 * len(x) / 4:
            break
    return params, model.predict(params, x=x), sweep


def main() -> None:
    """Learn both, and show what was learned."""
    x = patterns(2)
    y = (x[:, :1] != x[:, 1:]).astype(float)
    print("exclusive or")
    _, outputs, sweeps = learn(network(2, 2, "xor"), x, y, 0.5, 4000, seed=1)
    print(f"  after {sweeps} sweeps: {dict(zip(['00', '01', '10', '11'], np.round(outputs[:, 0], 2).tolist(), strict=True))}")
    x = patterns(6)
    y = np.all(x == x[:, ::-1], axis=1, keepdims=True).astype(float)
    print("symmetry")
    params, outputs, sweeps = learn(network(6, 2, "symmetry"), x, y, 0.1, 4000, seed=0)
    wrong = int(np.sum((outputs > 0.5) != (y > 0.5)))
    print(f"  after {sweeps} sweeps: {wrong} of 64 patterns wrong")
    print("  weights to the hidden units:", np.round(params["hidden.W"], 1).tolist())


if __name__ == "__main__":
    main()
