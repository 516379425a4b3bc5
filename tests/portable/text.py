"""The text of generated C depends on the network alone: three processes with three hash seeds write the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_HASH_SEEDS = ("0", "1", "4711")
_PROGRAM = """
import hashlib, sys
from tests.portable.networks import judged, source
for name in sys.argv[1:]:
    for dtype in ("float32", "float64"):
        made = source(judged(name), dtype)
        print(name, dtype, hashlib.sha256((made.c_text + made.header_text + made.pool_text).encode()).hexdigest())
"""


def differing(names: Sequence[str]) -> list[str]:
    """The networks whose text is not the same in each of three processes, one of which meets them in another order."""
    seen = []
    for number, hash_seed in enumerate(_HASH_SEEDS):
        order = names[::-1] if number == 1 else names
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", _PROGRAM, *order]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        seen.append(set(done.stdout.splitlines()))
    return sorted({line.partition(" ")[0] for other in seen[1:] for line in seen[0] ^ other})
