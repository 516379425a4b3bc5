"""Memory against time for recomputation: a dense network of 64 layers, stored in segments of k layer calls.

Run it: python -m benchmarks.checkpointing. It writes docs/checkpointing.md.
"""

from __future__ import annotations

import statistics
import time
from datetime import date
from pathlib import Path

import numpy as np

import bpcompile as bp

PAGE = Path(__file__).resolve().parents[1] / "docs" / "checkpointing.md"
LAYERS, WIDTH, BATCH = 64, 256, 64


def network() -> bp.Network:
    x, y = bp.Input("x", (WIDTH,)), bp.Target("y", (WIDTH,))
    h = x
    for k in range(LAYERS):
        h = bp.Dense(WIDTH, activation="tanh", name=f"layer{k}")(h)
    return bp.Network(h, loss=bp.MeanSquaredError(h, y), name="deep")


def main() -> None:
    """Measure, print and write the page."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(BATCH, WIDTH)).astype("f4"), rng.normal(size=(BATCH, WIDTH)).astype("f4")
    steps = {}
    for every in (None, 2, 4, 8, 16, 32):
        model = bp.compile(network(), checkpoint=every)
        steps[every] = (model, model.bind(model.init(seed=0), x=X, y=Y))
    seconds: dict[int | None, list[float]] = {every: [] for every in steps}
    for _ in range(15):
        for every, (_, step) in steps.items():
            start = time.perf_counter()
            step()
            seconds[every].append(time.perf_counter() - start)
    base = statistics.median(seconds[None])
    rows = []
    for every, (model, _) in steps.items():
        memory = model.cost.arena_bytes(BATCH) / 2**20
        ratio = statistics.median(seconds[every]) / base
        rows.append(f"| {every or 'everything stored'} | {memory:.2f} | {ratio:.2f} |")
    text = f"""# Recomputing instead of storing

`bp.compile(net, checkpoint=k)` keeps only what crosses the borders of every k layer calls, and computes the rest again during
the backward pass. With k near the square root of the depth, memory grows as that square root.

Measured {date.today()} on one core: {LAYERS} dense layers of width {WIDTH}, float32, batches of {BATCH}; medians of interleaved
runs, relative to storing everything. Written by `python -m benchmarks.checkpointing`.

| k | arena, MiB | time |
| --- | --- | --- |
{chr(10).join(rows)}
"""
    print(text)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
