"""Many processes that build one network at once, and builds that are killed at random moments."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.toolchain.tiny import leftovers, needs_compiler

ROOT = Path(__file__).resolve().parents[2]
# The network's loss is a number that is known, so that a wrong or half-written extension shows.
PROGRAM = """
import sys, time
import numpy as np
import bpcompile as bp
x = bp.Input("x", (2,))
scaled = bp.Layer(["l = sum(%s*x[n,i], n, i)" % sys.argv[1]], inputs=("x",), output="l", name="scaled")
net = bp.Network(None, loss=scaled(x), name="toy")
print("ready", file=sys.stderr, flush=True)
model = bp.compile(net, dtype="float64", wrt=("x",))
loss, grads = model.value_and_grad({}, x=np.ones((3, 2)))
assert loss == 6.0 * int(sys.argv[1]) and (grads["x"] == int(sys.argv[1])).all(), (loss, grads["x"])
print("cached" if model.cost.facts["cached"] else "built")
"""


def start(constant: int, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(constant)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "BPCOMPILE_CACHE_DIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """Whether it built or found; it must have computed the right numbers, and warned of nothing."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0 and err in ("", "ready\n"), err
    return out.strip()


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None and process.stderr.readline() == "ready\n"


def at_once(count: int, directory: Path) -> None:
    processes = [start(1, directory) for _ in range(count)]
    outcomes = sorted(finished(process) for process in processes)
    assert outcomes == ["built"] + ["cached"] * (count - 1)
    assert leftovers(directory) == []


@needs_compiler
def test_some_at_once_compile_once(cache_path: Path) -> None:
    at_once(4, cache_path)


@needs_compiler
@pytest.mark.slow
def test_sixteen_at_once_compile_once(cache_path: Path) -> None:
    at_once(16, cache_path)


def kill_builds(count: int, directory: Path, seed: int = 0) -> int:
    """Kill builds of a few networks at random moments until so many died before their end; every tenth may end.

    How many died is given: fewer where four times as many builds did not do.
    """
    rng, killed = random.Random(seed), 0
    whole = 1.0
    for number in range(4 * count):
        if killed == count:
            break
        if rng.random() < 0.7:
            for entry in directory.glob("bp_toy-*"):
                shutil.rmtree(entry)  # so that there is something to build
        process = start(1 + number % 3, directory)
        wait_until_ready(process)
        begin = time.monotonic()
        if number % 10 == 9:
            assert finished(process) in ("built", "cached")
            whole = time.monotonic() - begin
            continue
        time.sleep(rng.uniform(0, 1.1 * whole))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert len(leftovers(directory)) <= 4, "what killed builds leave must not pile up"
    return killed


def assert_sound(directory: Path) -> None:
    """All networks run, nothing is locked, and no litter is left."""
    begin = time.monotonic()
    for constant in (1, 2, 3, 4):
        assert finished(start(constant, directory)) in ("built", "cached")
    assert time.monotonic() - begin < 200, "a lock of the dead makes the living wait"
    assert leftovers(directory) == []


@needs_compiler
def test_killed_builds_do_not_hurt_the_next(cache_path: Path) -> None:
    assert kill_builds(4, cache_path) == 4
    assert_sound(cache_path)


@needs_compiler
@pytest.mark.slow
def test_a_hundred_killed_builds(cache_path: Path) -> None:
    assert kill_builds(100, cache_path) == 100
    assert_sound(cache_path)
