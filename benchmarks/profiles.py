"""Where the time goes, kernel by kernel: ``python -m benchmarks.profiles [rows] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.machine import peak_loop, pin, set_environment


def main() -> None:
    """Print the profile of each row whose key contains one of the words, or keep all of them in a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiles", description=__doc__)
    parser.add_argument("rows", nargs="*", help="parts of the rows' keys; all rows unless given")
    parser.add_argument("--json", type=Path, help="write the figures here, for python -m benchmarks.document")
    options = parser.parse_args()
    set_environment(1)
    pin(1)

    import bpcompile as bp
    from benchmarks.measure import Setting, problem_of
    from benchmarks.rows import ROWS
    from bpcompile.profile import profile

    loop = peak_loop("float32")
    if loop is None:
        parser.error("a profile needs gcc, for the loop of multiply-adds that it is held against")
    kept: list[dict[str, Any]] = []
    for row in ROWS:
        if options.rows and not any(w in row.key for w in options.rows):
            continue
        model: Any = bp.compile(row.network())
        problem = problem_of(row, model, Setting())
        before = loop.best()
        found = profile(model, model.parameters(problem.params), x=problem.x, y=problem.y)
        print(found, flush=True)
        kernels = [
            {"kind": k.kind, "phase": k.phase, "equation": k.equations[0] if k.equations else k.name,
             "seconds": k.seconds, "operations": k.operations}
            for k in found.kernels
        ]  # fmt: skip
        kept.append({"title": row.title, "seconds": found.step_seconds, "peak": max(before, loop.best()), "kernels": kernels})
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
