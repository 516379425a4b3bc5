"""A siamese network (Bromley et al. 1993): do two images show the same digit? Both go through the same layers.

The loss is contrastive (Hadsell, Chopra and LeCun 2006, equation 4): pairs of one digit are drawn together, others are
pushed apart.

Run it: python examples/siamese.py
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import bpcompile as bp


def network() -> bp.Network:
    """Two images to the distance of their embeddings."""
    a, b, same = bp.Input("a", (64,)), bp.Input("b", (64,)), bp.Target("same", ())
    embed = bp.Sequential([bp.Dense(48, activation="relu", name="hidden"), bp.Dense(8, name="embedding")])
    distance = bp.Layer(
        ["d[n] = sqrt(sum((u[n,j] - v[n,j])**2, j) + 1e-6)"], inputs=("u", "v"), output="d", name="distance"
    )(embed(a), embed(b))
    loss = bp.Layer(
        ["l[n] = same[n]*d[n]**2 + (1 - same[n])*relu(2 - d[n])**2"], inputs=("d", "same"), output="l", name="contrastive"
    )(distance, same)
    return bp.Network(distance, loss=loss, name="siamese")


def pairs(seed: int, count: int, images: Any, labels: Any) -> dict[str, Any]:
    """Pairs of images, about half of them of one digit."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(labels), count)
    second = rng.integers(0, len(labels), count)
    for k in np.flatnonzero(rng.random(count) < 0.45):
        second[k] = rng.choice(np.flatnonzero(labels == labels[first[k]]))
    return {"a": images[first], "b": images[second], "same": (labels[first] == labels[second]).astype(np.float32)}


def main(epochs: int = 15) -> None:
    """Train on pairs of some digits, and judge pairs of digits that were held out."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    data = pairs(0, 6000, images[:1400], labels[:1400])
    test = pairs(1, 1000, images[1400:], labels[1400:])
    model = bp.compile(network(), optimizer=bp.Adam(learning_rate=2e-3))
    params = model.init(seed=0)
    for epoch in range(1, epochs + 1):
        loss = model.train_epoch(params, batch_size=32, seed=epoch, **data)
        right = (model.predict(params, a=test["a"], b=test["b"]) < 1) == (test["same"] == 1)
        print(f"epoch {epoch:2d}: loss {loss:.4f}, {np.mean(right):.1%} of the pairs that were held out are right")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
