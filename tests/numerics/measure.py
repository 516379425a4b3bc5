"""Compiled formulas beside many digits: the worst error of values and derivatives in units in the last place."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

import bpcompile as bp
from bpcompile.calculus.forward import forward_program
from bpcompile.stability_exact import Exact, Place, Unknown
from tests.numerics.cases import Case

Array = np.ndarray[Any, Any]
FORMATS = {"float32": (24, -125, 128), "float64": (53, -1021, 1024)}
KINKS = (0.5, 1.0, 2.0, 3.0, 6.0, math.pi / 2, math.pi, 16.6, 17.4, 36.7, 37.5, 87.3, 88.7, 89.5, 103.9, 104.1, 708.3, 709.7, 710.4,
         744.4, 745.2)  # fmt: skip


def ulps(got: float, exact: Any, dtype: str, unit: float = 0.0) -> float:
    """The distance in units in the last place of ``max(unit, |exact|)``; infinity stands for the next power of two.

    What rounds to infinity may be it, or the largest number.
    """
    digits, lowest, highest = FORMATS[dtype]
    if math.isnan(got):
        return math.inf
    with mpmath.workprec(200):
        size = max(abs(exact), mpf(unit))
        if size >= mpf(2) ** highest * (1 - mpf(2) ** -(digits + 1)):
            return 0.0 if math.isinf(got) and (got > 0) == (exact > 0) else math.inf
        value = math.copysign(1, got) * mpf(2) ** highest if math.isinf(got) else mpf(got)
        exponent = max(mpmath.mag(size), lowest) if size else lowest
        return float(abs(value - exact) * mpf(2) ** (digits - exponent))


@dataclass
class Worst:
    """The largest error of a quantity and where it is.

    `subnormal` is the largest error of results below the smallest normal number, in units of the smallest subnormal one;
    `count` places were compared, and `unknown` ones have no exact value.
    """

    ulp: float = 0.0
    subnormal: float = 0.0
    at: tuple[float, ...] = ()
    got: float = 0.0
    exact: str = ""
    count: int = 0
    unknown: int = 0

    def add(self, got: float, exact: Any, dtype: str, unit: float, at: tuple[float, ...]) -> None:
        """Count one result."""
        self.count += 1
        error = ulps(got, exact, dtype, unit)
        if max(abs(exact), unit) < np.finfo(dtype).tiny and math.isfinite(error):
            self.subnormal = max(self.subnormal, error)
        elif error > self.ulp or not self.at:
            self.ulp, self.at, self.got, self.exact = error, at, got, mpmath.nstr(exact, 9)


def points(case: Case, dtype: str, count: int, seed: int = 0) -> list[tuple[float, ...]]:
    """Inputs of every magnitude and sign, moderate ones, special ones, in the case's intervals; each a flat tuple."""
    rng = np.random.default_rng(seed)
    limits = [(low, high) for shape, low, high in case.variables.values() for _ in range(math.prod(shape))]
    if len(limits) == 1:
        return [(x,) for x in _numbers(dtype, count, *limits[0], rng)]
    pools = [_numbers(dtype, count, *limit, rng) for limit in limits]
    drawn = [tuple(float(rng.choice(pool)) for pool in pools) for _ in range(count)]
    first = pools[0]
    # Close to one another, and of like size, is where differences and quotients are hard.
    near = [tuple(_within(float(x) * float(s), *limit, dtype) for s, limit in zip(scales, limits, strict=True))
            for x in first for scales in (rng.choice([1, -1, 1.001, 0.5, 3, 1e-3], len(limits)),)][:count]  # fmt: skip
    return drawn + near


def _within(x: float, low: float, high: float, dtype: str) -> float:
    top = float(np.finfo(dtype).max)
    return float(np.dtype(dtype).type(min(max(x, low, -top), high, top)))


def _numbers(dtype: str, count: int, low: float, high: float, rng: np.random.Generator) -> list[float]:
    info = np.finfo(dtype)
    bottom, top = math.log10(float(info.smallest_subnormal)), math.log10(float(info.max))
    magnitudes = 10 ** rng.uniform(bottom, top - 1e-9, count)
    near = np.array(KINKS)[:, None] * (1 + float(info.eps) * np.array([0, 1, -1, 3, -50]))
    special = [info.smallest_subnormal, info.tiny, info.max, info.eps, math.sqrt(float(info.max)), *near.ravel()]
    moderate = np.concatenate([rng.uniform(-8, 8, count // 3), rng.uniform(-110, 110, count // 3)])
    if 0 <= low < high <= 1:
        moderate = np.concatenate([rng.uniform(low, high, count // 2), 1 - 10 ** rng.uniform(-7, -1, count // 6)])
    kept = rng.choice(special, min(len(special), count // 3), replace=False)
    both = np.concatenate([magnitudes, kept, moderate])
    with np.errstate(over="ignore", under="ignore"):
        values = np.concatenate([[0.0], both, -both, [v for v in (low, high) if math.isfinite(v)]]).astype(dtype)
    inside = values[np.isfinite(values) & (values >= low) & (values <= high)]
    return [float(v) for v in np.unique(inside)]


@dataclass(frozen=True)
class Found:
    """The errors of a case on one backend: of its value, and of its derivatives in units of ``max(1, |f'|)``."""

    value: Worst
    slope: Worst


class Bundle:
    """Many cases in one network, compiled once for each backend."""

    def __init__(self, cases: Sequence[Case], dtype: str, backends: Sequence[str]) -> None:
        self.cases, self.dtype = cases, dtype
        self.names = [[f"c{k}_{v}" for v in case.variables] for k, case in enumerate(cases)]
        values = [case.make(*_given(case, names)) for case, names in zip(cases, self.names, strict=True)]
        network = bp.Network(tuple(values), loss=tuple(values))
        self.outputs = [v.name for v in network.outputs]
        wanted = [n for n, v in network.inputs.items() if not v.integer]
        self.real = set(wanted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.models = {b: bp.compile(network, backend=b, dtype=dtype, wrt=tuple(wanted)) for b in backends}
        self.exact = Exact(forward_program(network).equations)

    def elements(self, k: int) -> list[Place]:
        """The elements of the variables of a case."""
        return [(name, (0, *at)) for name, (shape, _, _) in zip(self.names[k], self.cases[k].variables.values(), strict=True)
                for at in itertools.product(*map(range, shape))]  # fmt: skip

    def run(self, backend: str, flat: Sequence[tuple[float, ...]]) -> tuple[list[float], dict[Place, float]]:
        """The values of all cases, each at its own point, and all derivatives."""
        data: dict[str, Array] = {}
        for k, point in enumerate(flat):
            for (name, at), x in zip(self.elements(k), point, strict=True):
                shape = self.cases[k].variables[name.partition("_")[2]][0]
                kind = self.dtype if name in self.real else "int64"
                data.setdefault(name, np.zeros((1, *shape), kind))[at] = x
        model = self.models[backend]
        with np.errstate(all="ignore"):
            made = model.predict(model.init(), **data)
            _, grads = model.value_and_grad(model.init(), **data)
        values = [float(np.ravel(v)[0]) for v in (made if isinstance(made, tuple) else (made,))]
        return values, {(n, at): float(g) for n in self.real for at, g in np.ndenumerate(np.asarray(grads[n]))}


def _given(case: Case, names: Sequence[str]) -> list[Any]:
    last = len(names) - 1 if case.classes else -1
    return [
        bp.Input(name, shape, classes=case.classes) if k == last else bp.Input(name, shape)
        for k, (name, (shape, _, _)) in enumerate(zip(names, case.variables.values(), strict=True))
    ]


def survey(cases: Sequence[Case], dtype: str, backends: Sequence[str], count: int, seed: int = 0) -> list[dict[str, Found]]:
    """Measure cases at about `count` points each: for each case, what each backend has."""
    bundle = Bundle(cases, dtype, backends)
    found = [{b: Found(Worst(), Worst()) for b in backends} for _ in cases]
    drawn = [points(case, dtype, count, seed + k) for k, case in enumerate(cases)]
    for j in range(max(map(len, drawn))):
        flat = [d[j % len(d)] for d in drawn]
        results = {b: bundle.run(b, flat) for b in backends}
        for k, case in enumerate(cases):
            if j < len(drawn[k]):
                _count(bundle, k, case, flat[k], results, found[k])
    return found


def _count(
    bundle: Bundle, k: int, case: Case, point: tuple[float, ...], results: dict[str, Any], found: dict[str, Found]
) -> None:
    elements = bundle.elements(k)
    place = (bundle.outputs[k], (0,))
    given = dict(zip(elements, point, strict=True))
    for i, by in enumerate(e for e in elements if e[0] in bundle.real):
        try:
            true = bundle.exact.dual(place, given, by)
        except Unknown:
            for entry in found.values():
                entry.slope.unknown += 1
            continue
        for backend, (values, slopes) in results.items():
            if i == 0:
                found[backend].value.add(values[k], true.value, bundle.dtype, case.value_unit, point)
            found[backend].slope.add(slopes[by], true.slope, bundle.dtype, 1.0, point)
