"""`bpcompile bench`: a step of a spec's network in C and NumPy, and in the frameworks that are installed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from bpcompile.check import drawn_array
from bpcompile.commands.session import Session, compiled, open_spec
from bpcompile.commands.tables import bench_table
from bpcompile.commands.timing import timed
from bpcompile.errors import BPCompileError

if TYPE_CHECKING:
    from bpcompile.model import Model


def bench_spec(
    spec: Path,
    console: Console,
    *,
    batch: int,
    seconds: float,
    frameworks: bool = True,
    profiled: bool = False,
    tune: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    """Time the loss and its gradients on random arrays, all contenders in turn in one process."""
    session = open_spec(spec)
    own = compiled(session, **{**changes, "backend": "c", "tune": batch if tune else None})
    threads = int(changes.get("threads") or session.spec.compile.threads)
    _prepare(threads)
    arrays = _random_arrays(own, batch)
    params, state = own.init(0), own.init_state()
    states: dict[str, Any] = {"state": state} if state else {}
    calls: dict[str, Callable[[], Any]] = {}
    if own.backend == "c":
        calls["C"] = lambda: own.value_and_grad(params, **states, **arrays)
        calls["C, bound"] = own.bind(params, state=state, **arrays)
    plain = compiled(session, **{**changes, "backend": "numpy"})
    calls["NumPy"] = plain.bind(plain.init(0), state=plain.init_state(), **arrays)
    left_out = _frameworks(session, calls, params, arrays, batch, threads) if frameworks else {}
    timings = timed(calls, seconds)
    operations = (own.cost.forward_ops + own.cost.backward_ops) * batch
    first = next(iter(timings.values())).median
    rows = [
        {"name": name, "batch": batch, "seconds": t.median, "least_seconds": t.least,
         "operations_per_second": operations / t.median, "times_the_first": t.median / first}
        for name, t in timings.items()
    ]  # fmt: skip
    console.print(bench_table(rows))
    for name, why in left_out.items():
        console.print(f"{name} is left out: {why}", markup=False)
    result: dict[str, Any] = {"network": session.spec.network.name, "rows": rows, "left_out": left_out}
    if profiled and own.backend == "c":
        from bpcompile.profile import profile

        found = profile(own, params, state=state, **arrays)
        console.print(str(found), markup=False, soft_wrap=True)
        result["profile"] = [vars(k) for k in found.kernels]
    return result


def _random_arrays(model: Model, batch: int) -> dict[str, Any]:
    """Arrays that any loss can take, in the model's element type."""
    rng = np.random.default_rng(0)
    drawn = {a.name: drawn_array(a, batch, rng) for a in model.signature.arrays}
    return {name: a.astype(model.signature.real) if a.dtype.kind == "f" else a for name, a in drawn.items()}


def _prepare(threads: int) -> None:
    """As many cores and framework threads as the model has, before a framework is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    if threads == 1:
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def _frameworks(
    session: Session, calls: dict[str, Callable[[], Any]], params: Any, arrays: dict[str, Any], batch: int, threads: int
) -> dict[str, str]:
    """Add a call for each framework; give the reason for each one that is left out."""
    from bpcompile.commands.frameworks import FRAMEWORKS, framework_step

    left_out: dict[str, str] = {}
    values = {name: np.asarray(v) for name, v in params.items()}
    for name in FRAMEWORKS:
        try:
            step = framework_step(name, session.spec.network, values, arrays, batch, threads)
            step()
        except ImportError as error:
            left_out[name] = f"it is not installed ({error.name or error})"
        except BPCompileError as error:
            left_out[name] = str(error).splitlines()[0]
        except Exception as error:  # whatever a framework raises about a network that it cannot take
            left_out[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
        else:
            calls[name] = step
    return left_out
