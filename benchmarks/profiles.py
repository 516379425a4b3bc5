"""Where the time goes, kernel by kernel: ``python -m benchmarks.profiles [rows]``."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.machine import pin, set_environment


def main() -> None:
    """Print the profile of each row whose key contains one of the words."""
    set_environment(1)
    pin(1)

    import bpcompile as bp
    from benchmarks.measure import Setting, problem_of
    from benchmarks.rows import ROWS
    from bpcompile.profile import profile

    words = sys.argv[1:]
    for row in ROWS:
        if words and not any(w in row.key for w in words):
            continue
        model: Any = bp.compile(row.network())
        problem = problem_of(row, model, Setting())
        print(profile(model, model.parameters(problem.params), x=problem.x, y=problem.y), flush=True)


if __name__ == "__main__":
    main()
