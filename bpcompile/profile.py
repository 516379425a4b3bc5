"""Where the time of a training step goes: seconds, operations and bytes of each kernel, measured in the generated C.

The module is built a second time with a clock read before and after each call of a kernel; nothing else in it changes.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from bpcompile import build
from bpcompile.calculus.gradient import analyze
from bpcompile.cost import statement_operations
from bpcompile.driver import build_source, c_module, c_prefix, lower
from bpcompile.emit.c.source import Source as Module
from bpcompile.errors import BPCompileError
from bpcompile.model import Model
from bpcompile.model_c import CBackend
from bpcompile.nodes.access import TYPICAL_BATCH, elements, reads
from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Statement
from bpcompile.parameters import Parameters, State
from bpcompile.program.memory import kernel_statements
from bpcompile.program.schedule import flat_offsets, schedule
from bpcompile.program.schedule_types import BatchLoop, Clear, Contraction, Kernel, KernelLoop, Nest, Pack, Schedule

_CALL: Final = re.compile(r"^( +)(k_\w+)(\(.*\);)$")
_PART: Final = re.compile(r"^ +bp_in_parts\((\w+), .*;$")
_LONG: Final = 1e5  # nanoseconds from which reading the processor's time costs little
_KINDS: Final = {"contraction": Contraction, "nest": Nest, "clear": Clear, "pack": Pack}
_CLOCK: Final = """
#include <time.h>
double {prefix}_profile[{count}][2];
static double profile_clock(clockid_t clock) {{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}}
#define PROFILED(place, call) \\
    {{ const double used = profile_clock(CLOCK_THREAD_CPUTIME_ID), from = profile_clock(CLOCK_MONOTONIC); call; \\
      place[0] += profile_clock(CLOCK_MONOTONIC) - from; place[1] += profile_clock(CLOCK_THREAD_CPUTIME_ID) - used; }}
"""


@dataclass(frozen=True)
class KernelProfile:
    """What one kernel does in a step.

    Attributes
    ----------
    name : str
        Its C function.
    kind : str
        ``contraction``, ``nest``, ``clear`` or ``pack``.
    phase : str
        ``forward`` or ``backward``.
    equations : tuple of str
        What it computes.
    calls : int
        Calls in a step: one, or the iterations of the loops around it.
    seconds : float
        The least time of all its calls in a step: the clock's, and of long kernels the processor's.
    operations : float
        Scalar operations in a step.
    bytes : float
        The size of all tensors that it reads and writes, once for each call.
    """

    name: str
    kind: str
    phase: str
    equations: tuple[str, ...]
    calls: int
    seconds: float
    operations: float
    bytes: float


@dataclass(frozen=True)
class Profile:
    """Kernels in the order in which they run, and the time of the step without clocks in it."""

    network: str
    batch: int
    step_seconds: float
    kernels: tuple[KernelProfile, ...]

    def __str__(self) -> str:
        total = sum(k.seconds for k in self.kernels) or 1.0
        lines = [f"{self.network}, batch {self.batch}: {1e6 * self.step_seconds:.1f} us a step"]
        for k in sorted(self.kernels, key=lambda k: -k.seconds):
            rate = k.operations / k.seconds * 1e-9 if k.seconds else 0.0
            traffic = k.bytes / k.seconds * 1e-9 if k.seconds else 0.0
            text = k.equations[0] if k.equations else ""
            more = f" (+{len(k.equations) - 1})" if len(k.equations) > 1 else ""
            lines.append(
                f"{1e6 * k.seconds:10.2f} us {100 * k.seconds / total:5.1f} %  {rate:7.1f} Gop/s {traffic:7.1f} GB/s"
                f"  {k.kind:11s} {k.phase:8s} {k.name:24s} {text[:140]}{more}"
            )
        return "\n".join(lines)


def profile(model: Model, params: Parameters, *, state: State | None = None, repeat: int = 20, **data: Any) -> Profile:
    """Measure each kernel of a step.

    Parameters
    ----------
    model : Model
        A model of the C backend whose network has a loss.
    params : Parameters
        Its parameters.
    state : State, optional
        Needed where the network has a state, which moves on in place.
    repeat : int
        Steps that are measured; of each kernel the least time counts.
    **data
        Inputs and targets by name, batch first.

    Returns
    -------
    Profile

    Raises
    ------
    BPCompileError
        If the model does not run in C, or has no loss.
    """
    backend = model._backend
    if not isinstance(backend, CBackend) or not model.signature.has_loss:
        raise BPCompileError("profile takes a model of the C backend, compiled from a network with a loss.")
    signature = model.signature
    programs = lower(analyze(model.network), ("parameters", *signature.input_gradients), None)
    module = c_module(programs, signature, c_prefix(signature.name))
    assert programs.gradient is not None
    scheduled = schedule(programs.gradient, flat_offsets(programs.reference))
    run = clocked(model, module, params, state, data)
    names, kernels = run.names, list(_flat(scheduled))
    if len(kernels) != len(names):
        raise AssertionError(f"{len(kernels)} kernels and {len(names)} calls")
    n = model.intake.arrays(data, targets=True)[1]
    plain = model.bind(params, state=state, **data)
    least, best = np.full(2 * len(names), np.inf), float("inf")
    for _ in range(repeat + 1):
        least = np.minimum(least, run.times())
        best = min(best, _seconds(plain))
    rows = tuple(
        _row(name, kernel, loops, scheduled, n, seconds * 1e-9, signature.real.itemsize)
        for name, (kernel, loops), seconds in zip(names, kernels, _chosen(least), strict=True)
    )
    return Profile(signature.name, n, best, rows)


@dataclass(frozen=True)
class Clocked:
    """A training step whose kernels are timed, one by one.

    Attributes
    ----------
    names : list of str
        The C functions of the kernels, call after call.
    """

    names: list[str]
    _step: Callable[[], object]
    _table: np.ndarray[Any, np.dtype[np.float64]]

    def times(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Run a step; give the nanoseconds of each call, by the clock and of the processor in turn."""
        self._table[:] = 0
        self._step()
        return self._table.copy()

    def least(self, seconds: float) -> list[float]:
        """Run steps for so long (three at least); give the least nanoseconds of each call."""
        least, deadline, steps = self.times(), time.perf_counter() + seconds, 1
        while steps < 3 or time.perf_counter() < deadline:
            least, steps = np.minimum(least, self.times()), steps + 1
        return _chosen(least)


def clocked(
    model: Model,
    module: Module,
    params: Parameters,
    state: State | None,
    data: Mapping[str, Any],
    *,
    flags: Sequence[str] | None = None,
    directory: Path | None = None,
) -> Clocked:
    """Build a text of the model's network with clocks in it, and bind it to arrays.

    Parameters
    ----------
    directory : Path, optional
        Where to build, instead of the cache.
    """
    signature, prefix = model.signature, module.prefix
    text, names = _with_clocks(module.c_text, f"{prefix}_value_and_grad", prefix)
    declaration = f"\nextern double {prefix}_profile[{max(1, len(names))}][2];\n"
    source = replace(
        build_source(module, 1),
        c_text=text,
        cdef_text=module.cdef_text + declaration,
        header_text=module.header_text + declaration,
    )
    extension = build.build(source, flags=flags, directory=directory)
    backend = CBackend(signature, text, extension.lib, extension.ffi, prefix, model._backend.moments, module.interface)
    arrays, n = model.intake.arrays(data, targets=True)
    step = backend.bind(params, arrays, n, model.intake.state(state), True)
    return Clocked(names, step, np.frombuffer(extension.ffi.buffer(getattr(extension.lib, f"{prefix}_profile")), np.float64))


def _chosen(least: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
    """The clock's time of short kernels; of long ones the processor's, which other processes do not disturb."""
    return [used if clock > _LONG else clock for clock, used in least.reshape(-1, 2).tolist()]


def _seconds(step: Any) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _with_clocks(text: str, function: str, prefix: str) -> tuple[str, list[str]]:
    """The text with each call of a kernel in a function between two readings of the clock, and the kernels' names."""
    lines = text.splitlines()
    names: list[str] = []
    starts: list[int] = []

    def insert(head: str) -> None:
        start = next(i for i, line in enumerate(lines) if line.startswith(head) and line.endswith("{"))
        end = next(i for i in range(start, len(lines)) if lines[i] == "}")
        starts.append(start)
        for i in range(start, end):
            part, found = _PART.match(lines[i]), _CALL.match(lines[i])
            if part:
                insert(f"static void {part[1]}(")
            elif found:
                space, name, rest = found.groups()
                place = f"{prefix}_profile[{len(names)}]"
                lines[i] = f"{space}PROFILED({place}, {name}{rest.removesuffix(';')})"
                names.append(name)

    insert(f"int {function}(")
    lines.insert(min(starts), _CLOCK.format(prefix=prefix, count=max(1, len(names))))
    return "\n".join(lines) + "\n", names


def _flat(scheduled: Schedule) -> Iterator[tuple[Kernel, tuple[Axis, ...]]]:
    for step in scheduled.steps:
        if isinstance(step, KernelLoop):
            yield from ((kernel, (*step.outer, step.axis)) for kernel in step.body)
        elif isinstance(step, BatchLoop):
            yield from ((kernel, ()) for kernel in step.body)
        else:
            yield step, ()


def _row(
    name: str, kernel: Kernel, loops: tuple[Axis, ...], scheduled: Schedule, n: int, seconds: float, itemsize: int
) -> KernelProfile:
    statements = kernel_statements(kernel)
    calls = math.prod(a.extent or n for a in loops)
    kind = next(name for name, of in _KINDS.items() if isinstance(kernel, of))
    phase = statements[0].origin.phase if statements else "backward"
    tensors = _tensors(kernel, statements, scheduled)
    return KernelProfile(
        name, kind, phase, tuple(map(str, statements)), calls, seconds,
        calls * sum(_operations(s, n) for s in statements),
        sum(_size(scheduled, t, n) for t in tensors) * itemsize,
    )  # fmt: skip


def _operations(s: Statement, n: int) -> float:
    batch = any(a.extent is None for a in (*s.axes, *s.over))
    return statement_operations(s) * (n / TYPICAL_BATCH if batch else 1.0)


def _tensors(kernel: Kernel, statements: tuple[Statement, ...], scheduled: Schedule) -> list[str]:
    found = dict.fromkeys(t for s in statements for t in (s.target, *reads(s)))
    local: frozenset[str] = getattr(kernel, "local", frozenset())
    return [t for t in found if t not in local and t in scheduled.program.tensors]


def _size(scheduled: Schedule, tensor: str, n: int) -> int:
    shape = scheduled.program.tensors[tensor].shape
    return elements(scheduled.program.tensors[tensor]) * (n if None in shape else 1)
