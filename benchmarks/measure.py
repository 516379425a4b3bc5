"""One row measured: the arrays, the contenders, whether they agree, and their times."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

import bpcompile as bp
from benchmarks.machine import all_cores, peak_loop
from benchmarks.networks import Row
from benchmarks.peers import Contender, Problem, jax_jit, torch_compiled, torch_eager
from bpcompile.commands.timing import Timing, timed

OWN = ("bpcompile", "bind")
PEAK = "multiply-adds"

REST = 0.2
"""Seconds between contenders with several threads: those of OpenBLAS and OpenMP spin for a while after each call."""


@dataclass(frozen=True)
class Setting:
    """What all rows of a run have in common."""

    dtype: str = "float32"
    threads: int = 1
    forward_only: bool = False
    peers: tuple[str, ...] = ("PyTorch", "torch.compile", "JAX", "NumPy")
    seconds: float = 2.0
    rounds: int = 15


@dataclass(frozen=True)
class Result:
    """A row's times and facts; ``peak`` are the operations per second of a loop of multiply-adds, in the same turns."""

    key: str
    title: str
    reach: float
    operations: float
    peak: float
    compile_seconds: dict[str, float]
    timings: dict[str, Timing]
    missing: dict[str, str]
    disagreement: float

    def best_peer(self) -> str:
        """The fastest peer."""
        peers = [name for name in self.timings if name not in OWN]
        return min(peers, key=lambda name: self.timings[name].median, default="")

    def ratio(self, own: str = "bpcompile") -> float:
        """How many times as fast as the best peer."""
        best = self.best_peer()
        return self.timings[best].median / self.timings[own].median if best and own in self.timings else float("nan")

    def share(self) -> float:
        """The part of the peak that is reached through ``bind``."""
        own = self.timings.get("bind", self.timings["bpcompile"])
        return self.operations / own.median / self.peak if self.peak else float("nan")

    def processor_ratio(self) -> float:
        """The same of the processor's time, which other processes disturb less."""
        times = {name: t.processor for name, t in self.timings.items()}
        best = min((t for name, t in times.items() if name not in OWN), default=float("nan"))
        return best / times["bpcompile"] if "bpcompile" in times else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        ratios = {"ratio": self.ratio(), "ratio_bind": self.ratio("bind"), "ratio_processor": self.processor_ratio()}
        return {**asdict(self), "best_peer": self.best_peer(), **ratios, "share": self.share()}


def problem_of(row: Row, model: Any, setting: Setting) -> Problem:
    """Arrays that all contenders share; parameters as the layers start, biases not zero."""
    rng = np.random.default_rng(0)
    real = np.dtype(setting.dtype)
    params = {name: np.array(value, real) for name, value in model.init(seed=0).items()}
    for value in params.values():
        value += rng.standard_normal(value.shape).astype(real) * real.type(0.01)
    arrays = {}
    for name in ("x", "y"):
        spec = model.signature.spec(name)
        shape = (row.batch, *(int(e) for e in spec.shape if e is not None))
        if spec.integer:
            arrays[name] = rng.integers(0, spec.classes, shape).astype(np.int32)
        else:
            arrays[name] = rng.standard_normal(shape).astype(real)
    return Problem(params, arrays["x"], arrays["y"], setting.forward_only, setting.threads)


def measure(row: Row, setting: Setting) -> Result:
    """Measure one row."""
    with all_cores():
        start = time.perf_counter()
        model: Any = bp.compile(row.network(), dtype=setting.dtype, threads=setting.threads)
        own_seconds = time.perf_counter() - start
    problem = problem_of(row, model, setting)
    own = list(_own(model, problem))
    missing: dict[str, str] = {}
    contenders, compile_seconds = list(own), {"bpcompile": own_seconds}
    compile_seconds |= {f"bpcompile {k}": v for k, v in model.cost.seconds.items()}
    reference = own[0].read(own[0].call())
    worst = 0.0
    for name in setting.peers:
        contender = _peer(name, row, problem, setting, missing)
        if contender is not None:
            contenders.append(contender)
            compile_seconds[name] = contender.seconds
            worst = max(worst, _disagreement(name, contender.read(contender.call()), reference, setting.dtype))
    rest = REST if setting.threads > 1 else 0.0
    calls, loop = {c.name: c.call for c in contenders}, peak_loop(setting.dtype)
    timings = timed(calls | ({PEAK: loop.call} if loop else {}), setting.seconds, setting.rounds, rest)
    peak = loop.operations / timings.pop(PEAK).median * setting.threads if loop else 0.0
    operations = (model.cost.forward_ops + (0 if setting.forward_only else model.cost.backward_ops)) * row.batch
    return Result(row.key, row.title, row.reach, operations, peak, compile_seconds, timings, missing, worst)


def _own(model: Any, problem: Problem) -> Iterator[Contender]:
    params = model.parameters(problem.params)
    x, y = problem.x, problem.y
    if problem.forward_only:
        yield Contender("bpcompile", lambda: model.predict(params, x=x), lambda out: {"output": out})
        return

    def read(result: Any) -> dict[str, Any]:
        return {"loss": np.asarray(result[0]), **result[1]}

    value_and_grad = model.value_and_grad
    yield Contender("bpcompile", lambda: value_and_grad(params, x=x, y=y), read)
    yield Contender("bind", model.bind(params, x=x, y=y), read)


def _peer(name: str, row: Row, problem: Problem, setting: Setting, missing: dict[str, str]) -> Contender | None:
    makers: dict[str, Callable[[], Contender]] = {
        "PyTorch": lambda: torch_eager(row.torch, problem),
        "torch.compile": lambda: torch_compiled(row.torch_compiled or row.torch, problem),
        "JAX": lambda: jax_jit(row.jax, problem),
        "NumPy": lambda: _numpy(row, problem, setting),
    }
    start = time.perf_counter()
    try:
        _set_threads(name, setting)
        contender = makers[name]()
        contender.call()
    except Exception as error:  # a peer that fails is left out, and the table says so
        missing[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        print(f"  {name} is left out: {missing[name]}", file=sys.stderr, flush=True)
        return None
    return replace(contender, seconds=time.perf_counter() - start)


def _set_threads(name: str, setting: Setting) -> None:
    if name in ("PyTorch", "torch.compile"):
        import torch

        torch.compiler.reset()  # rows share functions, and what was compiled for one is of no use to the next
        torch.set_num_threads(setting.threads)
        torch.set_default_dtype(getattr(torch, setting.dtype))
    elif name == "JAX" and setting.dtype == "float64":
        import jax

        jax.config.update("jax_enable_x64", True)


def _numpy(row: Row, problem: Problem, setting: Setting) -> Contender:
    """By hand where the row has it, else this compiler's NumPy text."""
    x, y = problem.x, problem.y
    if row.numpy is not None and not problem.forward_only:
        step, arrays = row.numpy, dict(problem.params)
        return Contender("NumPy", lambda: step(arrays, x, y), lambda result: result)
    model: Any = bp.compile(row.network(), dtype=setting.dtype, backend="numpy")
    params = model.parameters(problem.params)
    if problem.forward_only:
        return Contender("NumPy", lambda: model.predict(params, x=x), lambda out: {"output": out})
    return Contender(
        "NumPy", lambda: model.value_and_grad(params, x=x, y=y), lambda r: {"loss": np.asarray(r[0]), **r[1]}
    )


def _disagreement(name: str, found: dict[str, Any], expected: dict[str, Any], dtype: str) -> float:
    """The greatest difference, relative to the greatest element of each array; too great a one ends the run."""
    worst = 0.0
    for key, value in expected.items():
        scale = float(np.abs(value).max()) or 1.0
        difference = float(np.abs(np.asarray(found[key]) - value).max()) / scale
        if not difference < (1e-2 if dtype == "float32" else 1e-8):
            raise AssertionError(f"{name} and bpcompile disagree about '{key}' by {difference:.2g}")
        worst = max(worst, difference)
    return worst
