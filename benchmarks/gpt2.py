"""A training step of GPT-2's shape, and the memory of attention over long sequences.

``python -m benchmarks.gpt2 [--threads 2]`` measures this compiler in a process of its own. `measure_gpt2` does so for one
thread and two, and takes figures of a reference: any program that prints ``seconds bytes`` for each of a few steps (forward,
gradients set to zero, backward; its peak memory so far) on as many threads as OMP_NUM_THREADS says.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

BATCH: Final = 4
TOKENS: Final = 64
SEQUENCES: Final = (64, 512, 2048)
"""Lengths of the sequences whose attention is measured: width 256, 4 heads, one example."""


def measure_gpt2(reference: str | None = None, rounds: int = 3) -> dict[str, Any]:
    """Seconds and peak bytes of a step, by contender and threads.

    Parameters
    ----------
    reference : str, optional
        The program to compare with.
    rounds : int
        Steps that are measured; the least time counts, as each takes seconds.
    """
    found: dict[str, Any] = {"bpcompile": {}, "reference": {}}
    for threads in range(1, min(2, os.cpu_count() or 1) + 1):
        own = [sys.executable, "-m", "benchmarks.gpt2", "--threads", str(threads), "--rounds", str(rounds)]
        found["bpcompile"][str(threads)] = json.loads(_output(own, threads))
        if reference is not None:
            lines = [line.split() for line in _output([reference, str(rounds + 1)], threads).splitlines()]
            found["reference"][str(threads)] = {
                "step": min(float(seconds) for seconds, _ in lines[1:]),
                "peak_bytes": max(int(size) for _, size in lines),
            }
    return found


def _output(command: list[str], threads: int) -> str:
    """What a command prints, run on as many cores as it has threads."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    cores = set(range((os.cpu_count() or 1) - threads, os.cpu_count() or 1))
    return subprocess.run(
        command, env=environment, check=True, text=True, stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, cores) if hasattr(os, "sched_setaffinity") else None,
    ).stdout  # fmt: skip


def _step(threads: int, rounds: int) -> dict[str, Any]:
    import numpy as np

    import bpcompile as bp

    place = Path(__file__).parents[1] / "examples" / "gpt2.py"
    specification = importlib.util.spec_from_file_location("gpt2", place)
    assert specification is not None
    assert specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    start = time.perf_counter()
    model = bp.compile(example.network(steps=TOKENS), threads=threads)
    compiled = time.perf_counter() - start
    generator = np.random.default_rng(0)
    x, y = (generator.integers(0, 50257, (BATCH, TOKENS)).astype(np.int32) for _ in range(2))
    step: Any = model.bind(model.init(seed=0), x=x, y=y)
    step()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return {
        "step": min(times),
        "median": statistics.median(times),
        "compile": compiled,
        "operations": (model.cost.forward_ops + model.cost.backward_ops) * BATCH,
        "arena_bytes": model.cost.arena_bytes(BATCH),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def measure_attention(seconds: float = 1.0, rounds: int = 5) -> list[dict[str, Any]]:
    """Time and memory of a step of self-attention over longer and longer sequences, beside one matrix of scores."""
    import numpy as np

    import bpcompile as bp
    from bpcompile.commands.timing import timed

    rows = []
    for steps in SEQUENCES:
        x, y = bp.Input("x", (steps, 256)), bp.Target("y", (steps, 256))
        z = bp.MultiHeadAttention(4)(x)
        model: Any = bp.compile(bp.Network(z, loss=bp.MeanSquaredError(z, y), name=f"attention_{steps}"))
        generator = np.random.default_rng(0)
        X, Y = (generator.standard_normal((1, steps, 256)).astype(np.float32) for _ in range(2))
        time_of = timed({"step": model.bind(model.init(seed=0), x=X, y=Y)}, seconds, rounds)["step"]
        rows.append({
            "steps": steps, "seconds": time_of.median, "arena_bytes": model.cost.arena_bytes(1),
            "scores_bytes": 4 * 4 * steps * steps,
        })  # fmt: skip
    return rows


def main() -> None:
    """Print the figures of this compiler as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpt2", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(_step(options.threads, options.rounds)))


if __name__ == "__main__":
    main()
