"""A network of the shape of GPT-2's smallest (Radford et al. 2019): 12 layers, width 768, 50,257 tokens.

Run it: python examples/gpt2.py [--layers 12] [--tokens 64] [--batch 4] [--threads 1]. It prints how long each stage of the
compiler takes, and then a training step (loss and all gradients, random weights and tokens), and the memory of both.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

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


def main() -> None:
    """Compile it, take a few steps, and say how long that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("layers", 12), ("tokens", 64), ("batch", 4), ("threads", 1), ("steps", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    start = time.perf_counter()
    net = network(options.layers, steps=options.tokens)
    built = time.perf_counter()
    model = bp.compile(net, threads=options.threads)
    print(f"{options.layers} layers, {net.parameter_count} parameters, {len(net.calls)} calls")
    print(f"network {built - start:.2f} s, compiled in {time.perf_counter() - built:.2f} s: {model.cost.seconds}")
    print(f"{len(model.source)} characters of C, {model.cost.arena_bytes(options.batch) / 1e6:.0f} MB of scratch memory")
    random = np.random.default_rng(0)
    x, y = (random.integers(0, 50257, (options.batch, options.tokens)).astype(np.int32) for _ in range(2))
    step = model.bind(model.init(seed=0), x=x, y=y)
    for _ in range(options.steps):
        start = time.perf_counter()
        loss, _ = step()
        print(f"a step: {time.perf_counter() - start:.3f} s, loss {loss:.3f}")


if __name__ == "__main__":
    main()
