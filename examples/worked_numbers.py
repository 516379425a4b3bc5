"""Numbers that a course computes by hand, computed by the compiler: each network, each quantity, each gradient.

Run it: python examples/worked_numbers.py
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

import bpcompile as bp

Row = tuple[str, object, object]


def one_neuron(backend: str = "c") -> Iterator[Row]:
    """w = 0.5, x = 2, b = 0.1, ReLU, squared error against y = 2; one step of gradient descent at 0.01."""
    x, y = bp.Input("x", ()), bp.Target("y", ())
    neuron = bp.Layer(["a[n] = relu(w*x[n] + b)"], parameters={"w": (), "b": ()}, inputs=("x",), output="a", name="neuron")
    cost = bp.Layer(["l[n] = (y[n] - y_hat[n])**2"], inputs=("y_hat", "y"), output="l", name="cost")
    output = neuron(x)
    net = bp.Network(output, loss=cost(output, y))
    model = bp.compile(net, backend=backend, dtype="float64", optimizer=bp.SGD(learning_rate=0.01))
    params = model.init(seed=0)
    params["neuron.w"][...], params["neuron.b"][...] = 0.5, 0.1
    data = {"x": np.array([2.0]), "y": np.array([2.0])}
    loss, grads = model.value_and_grad(params, **data)
    yield "output", model.predict(params, x=data["x"])[0], 1.1
    yield "loss", loss, 0.81
    yield "dL/dw", grads["neuron.w"], -3.6
    yield "dL/db", grads["neuron.b"], -1.8
    model.train_epoch(params, **data, batch_size=1, seed=0)
    yield "w after a step of 0.01", params["neuron.w"], 0.536


def two_formulas(backend: str = "c") -> Iterator[Row]:
    """f = (x + y) y at (2, 3), and sin(x^2) at 1.3."""
    x, y = bp.Input("x", ()), bp.Input("y", ())
    product = bp.Layer(["f[n] = (x[n] + y[n])*y[n]"], inputs=("x", "y"), output="f", name="product")
    model = bp.compile(bp.Network(None, loss=product(x, y)), backend=backend, dtype="float64", wrt=("x", "y"))
    _, grads = model.value_and_grad(model.init(), x=np.array([2.0]), y=np.array([3.0]))
    yield "d (x+y)y / dx at (2, 3)", grads["x"][0], 3.0
    yield "d (x+y)y / dy at (2, 3)", grads["y"][0], 8.0
    sine = bp.Layer(["f[n] = sin(x[n]**2)"], inputs=("x",), output="f", name="sine")
    model = bp.compile(bp.Network(None, loss=sine(bp.Input("x", ()))), backend=backend, dtype="float64", wrt=("x",))
    _, grads = model.value_and_grad(model.init(), x=np.array([1.3]))
    yield "d sin(x^2) / dx at 1.3", grads["x"][0], 2 * 1.3 * np.cos(1.3**2)


def two_two_one(backend: str = "c") -> Iterator[Row]:
    """Two inputs, two sigmoid units, one sigmoid output, binary cross-entropy."""
    x, y = bp.Input("x", (2,)), bp.Target("y", (1,))
    h = bp.Dense(2, activation="sigmoid", name="hidden")(x)
    p = bp.Dense(1, activation="sigmoid", name="output")(h)
    net = bp.Network(p, loss=bp.BinaryCrossentropy(p, y))
    model = bp.compile(net, backend=backend, dtype="float64", wrt=("parameters", "x"))
    params = model.init(seed=0)
    params["hidden.W"][...] = [[0.1, 0.3], [0.2, 0.4]]
    params["hidden.b"][...] = [0.1, 0.2]
    params["output.W"][...] = [[0.5, 0.6]]
    params["output.b"][...] = [0.1]
    data = {"x": np.array([[0.5, 0.3]]), "y": np.array([[1.0]])}
    loss, grads = model.value_and_grad(params, **data)
    yield "output", model.predict(params, x=data["x"])[0], [0.677421]
    yield "loss", loss, 0.389462
    yield "output error", grads["output.b"], [-0.322579]
    yield "hidden error", grads["hidden.b"], [-0.039747, -0.046314]
    yield "dL/dW2", grads["output.W"], [[-0.180552, -0.194671]]
    yield "dL/dW1", grads["hidden.W"], [[-0.019874, -0.011924], [-0.023157, -0.013894]]


EXAMPLES = {"one neuron": one_neuron, "two formulas": two_formulas, "two inputs, two units, one output": two_two_one}


def main() -> None:
    """Print every example as a table."""
    console = Console()
    for title, rows in EXAMPLES.items():
        table = Table("quantity", "computed", "by hand", title=title, title_justify="left")
        for name, computed, expected in rows():
            table.add_row(name, np.array2string(np.asarray(computed), precision=6), str(expected))
        console.print(table)


if __name__ == "__main__":
    main()
