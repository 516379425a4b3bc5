"""Spec files that are changed at random: an error of ours or success, never another exception and never a hang."""

from __future__ import annotations

import contextlib
import random
import time
import warnings

import pytest

from bpcompile.errors import BPCompileError
from bpcompile.language.spec import parse_spec

GOOD = """
[network]
name = "fuzz"
loss = "softmax_cross_entropy"

[inputs]
x = [6]

[targets]
y = { classes = 3 }

[[layers]]
name = "hidden"
kind = "dense"
units = 4
activation = "tanh"

[[layers]]
name = "gate"
equations = ["z[n,j] = sum(W[j,i]*x[n,i], i) + b[j]", "a[n,j] = z[n,j] / (1 + exp(-z[n,j]))"]
parameters = { W = ["j", "i"], b = ["j"] }
sizes = { j = 5 }
output = "a"

[[layers]]
name = "output"
kind = "dense"
units = 3

[training]
optimizer = "adam"
learning_rate = 0.002
batch_size = 32
epochs = 30
seed = 0
"""
PIECES = [
    "9**9**9",
    "-1",
    "1e999",
    '"../../etc"',
    "[]",
    "{}",
    "true",
    "nan",
    '"\\u202e"',
    "[[",
    "]]",
    "=",
    "[1, [2, [3]]]",
    '""',
    "0",
    "2.5",
    '"dense"',
    "99999999999999999999",
    '"n"',
    '"W[j,i]"',
    '"$(touch x)"',
    '"\\\\input{x}"',
    "inf",
    "1979-05-27",
    '"""',
    "'",
]
COUNT = 150


def mutated(seed: int) -> str:
    """The good file with some lines, words or bytes changed."""
    rng = random.Random(seed)
    lines = GOOD.split("\n")
    for _ in range(rng.randint(1, 4)):
        k = rng.randrange(len(lines))
        kind = rng.randrange(6)
        if kind == 0:
            del lines[k]
        elif kind == 1:
            lines.insert(k, rng.choice(lines))
        elif kind == 2 and "=" in lines[k]:
            lines[k] = lines[k].partition("=")[0] + "= " + rng.choice(PIECES)
        elif kind == 3:
            lines[k] = lines[k].replace(rng.choice("ijxWzab[]+*(),"), rng.choice(PIECES), 1)
        elif kind == 4:
            other = rng.randrange(len(lines))
            lines[k], lines[other] = lines[other], lines[k]
        elif lines[k]:
            place = rng.randrange(len(lines[k]))
            lines[k] = (
                lines[k][:place] + chr(rng.choice([0, 9, 34, 39, 65, 92, 127, 955, 0x202E, 0x1F600])) + lines[k][place + 1 :]
            )
    return "\n".join(lines)


def survives(text: str) -> None:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(BPCompileError):
            parse_spec(text)
    assert time.perf_counter() - start < 5


def test_the_file_itself_is_good() -> None:
    assert parse_spec(GOOD).network.name == "fuzz"


@pytest.mark.parametrize("part", range(5))
def test_changed_files(part: int) -> None:
    for seed in range(part * COUNT // 5, (part + 1) * COUNT // 5):
        survives(mutated(seed))


@pytest.mark.slow
def test_many_changed_files() -> None:
    for seed in range(1000, 6000):
        survives(mutated(seed))
