"""``python -m benchmarks [rows]``: the table of training steps; ``--help`` tells of the rest."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import pin, set_environment


def main() -> None:
    """Measure rows, print each as it is done, and write what was asked for."""
    options = _options()
    with tempfile.TemporaryDirectory() as cache:  # compile times are those of empty caches
        os.environ["BPCOMPILE_CACHE_DIR"] = os.path.join(cache, "own")
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(cache, "torch"))
        _run(options)


def _run(options: argparse.Namespace) -> None:
    set_environment(options.threads)
    pin(options.threads)

    from benchmarks.machine import describe
    from benchmarks.measure import Setting, measure
    from benchmarks.report import header, line, summary
    from benchmarks.rows import ROWS

    setting = Setting(
        options.dtype, options.threads, options.forward, tuple(options.peers), options.seconds, options.rounds
    )
    machine = describe(options.dtype)
    chosen = [r for r in ROWS if not options.rows or any(word in r.key for word in options.rows)]
    print(f"{machine.processor}, {machine.vector_bits}-bit vectors, {machine.peak * 1e-9:.0f} GFLOP/s peak of a core")
    print(header(), flush=True)
    results = []
    for row in chosen:
        result = measure(row, setting)
        results.append(result)
        print(line(result), flush=True)
    print(summary(results))
    extra = _extra(options) if options.extra else {}
    if options.json:
        data: dict[str, Any] = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": vars(machine),
            "setting": vars(setting),
            "rows": [r.as_json() for r in results],
            **extra,
        }
        options.json.write_text(json.dumps(_finite(data), indent=1) + "\n")


def _extra(options: argparse.Namespace) -> dict[str, Any]:
    """Epochs against scikit-learn and a step against CasADi, as far as they are installed; attention; GPT-2's shape."""
    from benchmarks.casadi_peer import measure_casadi
    from benchmarks.epoch import ROWS, measure_epoch
    from benchmarks.gpt2 import measure_attention, measure_gpt2
    from benchmarks.report import pair

    found: dict[str, Any] = {"epochs": []}
    try:
        for row in ROWS:
            times = measure_epoch(row, options.seconds, options.rounds)
            title = f"{'-'.join(map(str, row.sizes))}, batches of {row.batch}"
            print(pair(f"epoch {title}", times, row.reach), flush=True)
            found["epochs"].append({"title": title, "reach": row.reach, "timings": {k: vars(t) for k, t in times.items()}})
        casadi = measure_casadi(options.seconds, options.rounds)
        print(pair("64-32-10 float64", casadi.steps, 4.0), flush=True)
        found["casadi"] = casadi.as_json()
    except ImportError as error:
        print(f"left out: {error}", file=sys.stderr, flush=True)
    found["attention"] = measure_attention(options.seconds)
    found["gpt2"] = measure_gpt2(options.reference)
    for contender, by_threads in found["gpt2"].items():
        for threads, figures in by_threads.items():
            print(f"GPT-2's shape, {contender}, threads {threads}: {figures['step']:.3f} s", flush=True)
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", help="words; rows whose key contains one of them are measured")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--forward", action="store_true", help="the forward pass alone")
    parser.add_argument("--peers", nargs="*", default=["PyTorch", "torch.compile", "JAX", "NumPy"])
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each contender runs in each row")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--extra", action="store_true", help="also epochs against scikit-learn, CasADi, attention, GPT-2")
    parser.add_argument("--reference", help="with --extra: a program that takes a step of GPT-2, see benchmarks/gpt2.py")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
