"""``python -m benchmarks [rows]``: the table of training steps; ``--help`` tells of the rest."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import pin, set_environment


def main() -> None:
    """Measure rows, print each as it is done, and write what was asked for."""
    options = _options()
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
        print(line(result, machine.peak * options.threads), flush=True)
    print(summary(results))
    if options.json:
        data: dict[str, Any] = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": vars(machine),
            "setting": vars(setting),
            "rows": [r.as_json() for r in results],
        }
        options.json.write_text(json.dumps(_finite(data), indent=1) + "\n")


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
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
