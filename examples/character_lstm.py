"""Two layers of long short-term memory learn the next character of a text (Graves 2013, section 3).

Run it: python examples/character_lstm.py
"""

from __future__ import annotations

import sys

from characters import Characters, train

import bpcompile as bp

STEPS = 48


def network(classes: int, units: int = 96, steps: int = STEPS) -> bp.Network:
    """Characters to the scores of the next ones."""
    x, y = bp.Input("x", (steps,), classes=classes), bp.Target("y", (steps,), classes=classes)
    embedded = bp.Embedding(classes, 32, name="embedding")(x)
    hidden = bp.LSTM(units, num_layers=2, return_sequences=True, name="lstm")(embedded)
    z = bp.Dense(classes, name="output")(hidden)
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="character_lstm")


if __name__ == "__main__":
    text = Characters.read()
    train(network(len(text.alphabet)), text, STEPS, int(sys.argv[1]) if len(sys.argv) > 1 else 15, 3e-3)
