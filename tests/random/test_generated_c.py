"""The text of generated C: free of warnings, within its arrays, and the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.emit.c_module import PLAIN, STRICT
from tests.random import checks
from tests.random.c_runs import c_result
from tests.random.case import arrays_of
from tests.random.choices import Seeded
from tests.random.networks import network

SANITIZED = """
import sys
from tests.random.test_generated_c import run_sanitized
run_sanitized(int(sys.argv[1]), sys.argv[2])
"""
TEXT = """
import hashlib, sys
from tests.random import checks
from tests.random.c_runs import c_source
from tests.random.choices import Seeded
from tests.random.networks import network
for seed in (1, 2, 4):
    print(hashlib.sha256(c_source(checks.build(network(Seeded(seed)))).c_text.encode()).hexdigest())
"""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", [2, 5])
def test_plain_c_has_no_warnings(seed: int, dtype: str) -> None:
    """gcc's strict warnings are errors; what it computes is right as well."""
    net = checks.build(network(Seeded(seed), draws=True))
    arrays = arrays_of(net, 3, seed)
    got = c_result(net, arrays, 3, flags=(*PLAIN, *STRICT), dtype=dtype, key=seed)
    want = checks.run(checks.compiled(net, "numpy", dtype=dtype), net, arrays, key=seed)
    assert not checks.differences(got, want, 1e-11 if dtype == "float64" else 5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 230))
def test_plain_c_of_many_networks(seed: int) -> None:
    test_plain_c_has_no_warnings(seed, "float64")


def run_sanitized(seed: int, flags: str) -> None:
    """One network for several batch sizes, in this process (which has the sanitizers' runtime loaded)."""
    net = checks.build(network(Seeded(seed), draws=True))
    for n in (1, 2, 3, 7, 17):
        c_result(net, arrays_of(net, n, seed), n, flags=flags.split(), optimize="-O1")


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["-std=gnu11 -march=native", "-std=c11 -DBP_PLAIN"])
@pytest.mark.parametrize("seed", range(300, 310))
def test_address_and_undefined_behaviour(seed: int, flags: str) -> None:
    runtime = [subprocess.run(["gcc", f"-print-file-name=lib{name}.so"], capture_output=True, text=True, check=True).stdout.strip()
               for name in ("asan", "ubsan")]  # fmt: skip
    environment = {**os.environ, "LD_PRELOAD": " ".join(runtime), "ASAN_OPTIONS": "detect_leaks=0",
                   "UBSAN_OPTIONS": "halt_on_error=1", "PYTHONPATH": str(ROOT)}  # fmt: skip
    wanted = f"{flags} -g -fsanitize=address,undefined -fno-sanitize-recover=undefined"
    command = [sys.executable, "-c", SANITIZED, str(seed), wanted]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_same_text_in_every_process() -> None:
    texts = set()
    for hash_seed in ("0", "1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", TEXT], env=environment, capture_output=True, text=True, check=True)
        texts.add(done.stdout)
    assert len(texts) == 1
