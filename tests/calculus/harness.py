"""Networks of one construct each, and their gradients against numeric ones, by the scalar interpreter of programs."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bpcompile.calculus.gradient import analyze, training
from bpcompile.language.layer import Layer
from bpcompile.language.network import Network
from bpcompile.language.value import Input, Target, Value
from bpcompile.nodes.statements import Program
from tests.program.interpret import run_program

BATCH = 3


def network(equations: list[str], inputs: Mapping[str, Any], *, loss: str, **options: Any) -> Network:
    """A network of one layer whose output is its loss."""
    values: list[Value] = []
    for name, shape in inputs.items():
        integers = isinstance(shape, dict)
        kind = Target if name == "y" and not integers else Input
        values.append(kind(name, **shape) if integers else kind(name, shape))
    layer = Layer(equations, inputs=tuple(inputs), output=loss, name="net", **options)
    return Network(None, loss=layer(*values))


def draw_arrays(program: Program, seed: int = 0, n: int = BATCH) -> dict[str, np.ndarray]:
    """Random values for everything that a caller gives."""
    arrays = {}
    for t in program.tensors.values():
        if t.role not in ("input", "target", "parameter", "state"):
            continue
        rng = np.random.default_rng(zlib.crc32(f"{t.name}/{seed}".encode()))
        shape = tuple(n if e is None else e for e in t.shape)
        if t.kind == "int":
            arrays[t.name] = rng.integers(0, t.classes, shape)
        else:
            arrays[t.name] = np.asarray(rng.uniform(0.2, 0.9, shape) * rng.choice([-1.0, 1.0], shape))
    return arrays


def worst_error(net: Network, wrt: tuple[str, ...], seed: int = 0, most: int = 12, positive: bool = False) -> float:
    """The largest difference between symbolic and central-difference gradients, relative to max(1, |gradient|)."""
    program = training(analyze(net), wrt)
    arrays = draw_arrays(program, seed)
    if positive:
        arrays = {k: np.asarray(np.abs(a)) if a.dtype.kind == "f" else a for k, a in arrays.items()}
    values = run_program(program, arrays, BATCH)
    worst = 0.0
    compared = 0.0
    for t in program.tensors.values():
        if t.role != "gradient":
            continue
        analytic = values[t.name]
        rng = np.random.default_rng(seed)
        places = [tuple(int(rng.integers(0, e)) for e in arrays[t.of].shape) for _ in range(most)]
        for place in dict.fromkeys(places):
            numeric = _central(program, arrays, t.of, place)
            worst = max(worst, abs(numeric - analytic[place]) / max(1.0, abs(numeric)))
            compared = max(compared, abs(numeric))
    assert compared > 1e-6, "nothing but zeros was compared"
    return worst


def _central(program: Program, arrays: Mapping[str, np.ndarray], name: str, place: tuple[int, ...]) -> float:
    """Richardson's extrapolation of central differences."""

    def slope(h: float) -> float:
        ends = []
        for sign in (1, -1):
            moved = {**arrays, name: arrays[name].copy()}
            moved[name][place] += sign * h
            ends.append(float(run_program(program, moved, BATCH)["loss"]))
        return (ends[0] - ends[1]) / (2 * h)

    return (4 * slope(5e-5) - slope(1e-4)) / 3
