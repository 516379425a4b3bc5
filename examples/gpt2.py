"""A network of the shape of GPT-2's smallest (Radford et al. 2019): 12 layers, width 768, 50,257 tokens.

Run it: python examples/gpt2.py [layers]. It prints how long each stage of the compiler takes; nothing is trained.
"""

from __future__ import annotations

import sys
import time

import bpcompile as bp


def network(layers: int = 12, width: int = 768, heads: int = 12, tokens: int = 50257, steps: int = 1024) -> bp.Network:
    """Tokens to the scores of the next ones; the output shares the embedding's table."""
    x, y = bp.Input("x", (steps,), classes=tokens), bp.Target("y", (steps,), classes=tokens)
    embedding = bp.Embedding(tokens, width, embeddings_initializer="normal(0.02)", name="wte")
    h = bp.PositionalEmbedding(name="wpe")(embedding(x))
    for k in range(layers):
        layer = bp.TransformerEncoderLayer(
            heads, 4 * width, dropout=0.0, activation="gelu_tanh", norm_first=True, causal=True, name=f"h{k}"
        )
        h = layer(h)
    h = bp.LayerNormalization(name="ln_f")(h)
    head = bp.Layer(
        ["z[n,t,v] = sum(weight[v,d]*h[n,t,d], d)"],
        parameters={"weight": ("v", "d")},
        sizes={"v": tokens},
        inputs=("h",),
        shared={"weight": "wte.weight"},
        name="head",
    )
    z = head(h)
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="gpt2")


def main(layers: int = 12) -> None:
    """Compile it, and say how long that took."""
    start = time.perf_counter()
    net = network(layers)
    built = time.perf_counter()
    model = bp.compile(net)
    print(f"{layers} layers, {net.parameter_count} parameters, {len(net.calls)} calls")
    print(f"network {built - start:.2f} s, compiled in {time.perf_counter() - built:.2f} s: {model.cost.seconds}")
    print(f"{len(model.source)} characters of C")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
