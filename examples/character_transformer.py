"""A causal transformer of two layers learns the next character of a text.

Run it: python examples/character_transformer.py
"""

from __future__ import annotations

import sys

from characters import Characters, train

import bpcompile as bp

STEPS = 48


def network(classes: int, width: int = 64, layers: int = 2, heads: int = 4, steps: int = STEPS) -> bp.Network:
    """Characters to the scores of the next ones."""
    x, y = bp.Input("x", (steps,), classes=classes), bp.Target("y", (steps,), classes=classes)
    h = bp.PositionalEmbedding(name="places")(bp.Embedding(classes, width, name="embedding")(x))
    for k in range(1, layers + 1):
        layer = bp.TransformerEncoderLayer(
            heads, 4 * width, dropout=0.1, activation="gelu", norm_first=True, causal=True, name=f"layer{k}"
        )
        h = layer(h)
    z = bp.Dense(classes, name="output")(bp.LayerNormalization(name="norm")(h))
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="character_transformer")


if __name__ == "__main__":
    text = Characters.read()
    train(network(len(text.alphabet)), text, STEPS, int(sys.argv[1]) if len(sys.argv) > 1 else 15, 2e-3)
