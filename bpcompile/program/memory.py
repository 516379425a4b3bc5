"""Give every tensor its place: liveness over the kernels, then offsets in one arena with two regions.

Requires kernels in order. Establishes a place for each tensor that a kernel uses, so that two tensors overlap only if
no kernel needs both. Tensors with the batch axis lie in the ``batch`` region, at ``offset * n``; the rest in the
``fixed`` one; so does what a loop over portions of the batch keeps to itself: it has room for one portion. Nothing that
lives inside one kernel only gets memory in the arena.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import replace

from bpcompile.nodes.access import accesses, elements
from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Program, Statement, Tensor
from bpcompile.program.schedule_types import (
    BatchLoop,
    Clear,
    Contraction,
    Kernel,
    KernelLoop,
    Nest,
    Pack,
    Place,
    Region,
    ScheduledStep,
)

ALIGNMENT = 16
"""Offsets are multiples of so many elements."""

LOCAL_ELEMENTS = 4096
"""The most elements of a buffer that lives inside one kernel."""

Interval = tuple[int, int]


def kernel_statements(kernel: Kernel) -> tuple[Statement, ...]:
    """The statements of a kernel in the order in which they run."""
    if isinstance(kernel, Contraction):
        return (*((kernel.copy,) if kernel.copy else ()), kernel.statement, *kernel.epilogue)
    return kernel.statements if isinstance(kernel, Nest) else ()


def _uses(step: ScheduledStep) -> list[str]:
    """The tensors that a step touches."""
    if isinstance(step, Clear):
        return [step.tensor]
    if isinstance(step, Pack):
        return [step.contraction.right.value[0], step.panels]
    if isinstance(step, KernelLoop | BatchLoop):
        return list(dict.fromkeys(name for kernel in step.body for name in _uses(kernel)))
    panels = [step.panels] if isinstance(step, Contraction) and step.panels else []
    return list(dict.fromkeys([*(a.tensor for s in kernel_statements(step) for a in accesses(s)), *panels]))


def localize(program: Program, steps: tuple[ScheduledStep, ...]) -> tuple[ScheduledStep, ...]:
    """Mark the temporaries that never leave a kernel."""
    users: dict[str, int] = {}
    for kernel in _flat(steps):
        for name in _uses(kernel):
            users[name] = users.get(name, 0) + 1
    return tuple(
        replace(step, body=tuple(_localized(k, program.tensors, users) for k in step.body))
        if isinstance(step, KernelLoop | BatchLoop)
        else _localized(step, program.tensors, users)
        for step in steps
    )


def _flat(steps: Iterable[ScheduledStep]) -> Iterable[Kernel]:
    for step in steps:
        if isinstance(step, KernelLoop | BatchLoop):
            yield from step.body
        else:
            yield step


def _localized(kernel: Kernel, tensors: Mapping[str, Tensor], users: Mapping[str, int]) -> Kernel:
    if isinstance(kernel, Clear | Pack):
        return kernel
    statements = kernel_statements(kernel)
    own = kernel.statement.axes if isinstance(kernel, Contraction) else kernel.axes
    # A value that an epilogue adds to has to be somewhere.
    added = {s.target for s in statements if s.accumulate} if isinstance(kernel, Contraction) else set()
    local = [
        name
        for name in dict.fromkeys(s.target for s in statements)
        if tensors[name].role == "temporary" and users[name] == 1 and name not in added
        and _stays(name, kernel, statements, own, tensors[name])
    ]  # fmt: skip
    return replace(kernel, local=frozenset((*local, *_own_copy(kernel))))


def _own_copy(kernel: Nest | Contraction) -> tuple[str, ...]:
    """The padded copy that a contraction makes for itself, of one example at a time."""
    return (kernel.copy.target,) if isinstance(kernel, Contraction) and kernel.copy else ()


def _groups(name: str, kernel: Nest | Contraction) -> set[int]:
    """The groups of joined statements that use a tensor."""
    if isinstance(kernel, Contraction):
        return {0}
    pairs = zip(kernel.statements, kernel.joined, strict=True)
    return {g for s, g in pairs if name in (a.tensor for a in accesses(s))}


def _stays(
    name: str, kernel: Nest | Contraction, statements: tuple[Statement, ...], own: tuple[Axis, ...], tensor: Tensor
) -> bool:
    """True if each iteration writes the tensor before it reads it, in a buffer that is small enough."""
    first = next(s for s in statements if name in (a.tensor for a in accesses(s)))
    if first.target != name or first.accumulate or any(a.tensor == name for a in accesses(first)[1:]):
        return False
    size = 1
    alone = len(_groups(name, kernel)) == 1
    for k, e in enumerate(first.subscripts):
        if e.op == "axis" and (e.value in own or (alone and e.value in first.axes)):
            continue
        extent = tensor.shape[k]
        if extent is None or e.op != "axis" or e.value not in first.axes:
            return False
        size *= extent
    return size <= LOCAL_ELEMENTS


def _strides(tensor: Tensor) -> tuple[int, ...]:
    """Row-major strides, the batch axis first in memory."""
    strides = [0] * len(tensor.shape)
    step = 1
    batch = [k for k, e in enumerate(tensor.shape) if e is None]
    if len(batch) > 1:
        raise AssertionError(f"tensor {tensor.name} has the batch axis more than once")
    for k in [*(k for k in range(len(tensor.shape) - 1, -1, -1) if k not in batch), *batch]:
        strides[k] = step
        step *= tensor.shape[k] or 1
    return tuple(strides)


def _local_strides(name: str, kernel: Nest | Contraction, tensor: Tensor) -> tuple[int, ...]:
    """Strides inside one kernel: zero along its own axes, and everywhere for what lives inside one inner iteration."""
    if name in _own_copy(kernel):
        return tuple(step if extent else 0 for step, extent in zip(_strides(tensor), tensor.shape, strict=True))
    if isinstance(kernel, Contraction):
        return (0,) * len(tensor.shape)
    first = next(s for s in kernel.statements if s.target == name)
    shared = set(kernel.axes) | (set(first.axes) if len(_groups(name, kernel)) == 1 else set())
    strides = [0] * len(tensor.shape)
    step = 1
    for k in range(len(tensor.shape) - 1, -1, -1):
        if first.subscripts[k].value not in shared:
            strides[k] = step
            step *= tensor.shape[k] or 1
    return tuple(strides)


_CALLER: Mapping[str, Region] = {
    "input": "input", "target": "input", "parameter": "params", "state": "state", "output": "output", "loss": "loss",
    "gradient": "grads",
}  # fmt: skip


def place(
    program: Program, steps: tuple[ScheduledStep, ...], offsets: Mapping[str, int]
) -> tuple[dict[str, Place], int, int]:
    """The place of each tensor, the fixed elements and the elements for one example.

    Parameters
    ----------
    program : Program
        The program.
    steps : tuple of ScheduledStep
        Its kernels, local tensors marked.
    offsets : mapping of str to int
        The offset of each parameter in the flat parameter vector, and of each state in the flat state vector.
    """
    places: dict[str, Place] = {}
    for kernel in _flat(steps):
        if not isinstance(kernel, Clear | Pack):
            for name in sorted(kernel.local):
                places[name] = Place("local", 0, _local_strides(name, kernel, program.tensors[name]))
    slots = {"input": 0, "output": 0, "input_grad": 0}
    arena: list[Tensor] = []
    for tensor in program.tensors.values():
        region = _region(tensor, program.tensors)
        if tensor.name in places:
            continue
        if region is None:
            arena.append(tensor)
            continue
        offset = offsets.get(tensor.of or tensor.name, 0) if region in ("params", "grads", "state") else 0
        slot = slots.get(region, 0)
        if region in slots:
            slots[region] += 1
        places[tensor.name] = Place(region, offset, _strides(tensor), slot)
    own = _private(steps, program.tensors)
    live = _liveness(steps, {t.name for t in arena if t.role == "next_state"}, own)
    totals = {}
    for batch in (False, True):
        some = [t for t in arena if t.name in live and (None in t.shape and t.name not in own) == batch]
        found, totals[batch] = _pack([(t.name, elements(t) * own.get(t.name, 1), live[t.name]) for t in some])
        for t in some:
            places[t.name] = Place("batch" if batch else "fixed", found[t.name], _strides(t))
    return places, totals[False], totals[True]


def _region(tensor: Tensor, tensors: Mapping[str, Tensor]) -> Region | None:
    """The caller's region that a tensor lies in, or nothing if it is the arena's."""
    if tensor.role == "gradient" and tensors[tensor.of].role != "parameter":
        return "input_grad"
    return _CALLER.get(tensor.role)


def _private(steps: tuple[ScheduledStep, ...], tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Tensors of values for each example that one loop over the batch keeps to itself, with the examples of its portion."""
    found: dict[str, int] = {}
    shared: set[str] = set()
    for step in steps:
        names = _uses(step)
        shared.update(name for name in names if name in found)
        for name in names:
            if isinstance(step, BatchLoop) and tensors[name].role == "temporary" and None in tensors[name].shape:
                found.setdefault(name, step.examples)
            else:
                shared.add(name)
    return {name: examples for name, examples in found.items() if name not in shared}


def _liveness(steps: tuple[ScheduledStep, ...], kept: set[str], private: Mapping[str, int]) -> dict[str, Interval]:
    """The first and last kernel that touches each tensor; what is kept lives to the end.

    What a loop shares with others lives as long as the loop.
    """
    live: dict[str, Interval] = {}
    position = 0
    for step in steps:
        kernels = step.body if isinstance(step, BatchLoop) else (step,)
        last = position + len(kernels) - 1
        for place, kernel in enumerate(kernels, position):
            for name in _uses(kernel):
                begin, end = (place, place) if name in private else (position, last)
                live[name] = (live.get(name, (begin, end))[0], end)
        position = last + 1
    return {name: (first, position if name in kept else last) for name, (first, last) in live.items()}


def _pack(requests: list[tuple[str, int, Interval]]) -> tuple[dict[str, int], int]:
    """Offsets for tensors with lifetimes, the largest first, each as low as its neighbours in time allow."""
    offsets: dict[str, int] = {}
    placed: list[tuple[int, int, Interval]] = []
    total = 0
    for name, size, (first, last) in sorted(requests, key=lambda r: (-r[1], r[2], r[0])):
        room = -(-size // ALIGNMENT) * ALIGNMENT
        offset = 0
        for start, end, (a, b) in placed:
            if a <= last and first <= b and start < offset + room and offset < end:
                offset = end
        offsets[name] = offset
        insort(placed, (offset, offset + room, (first, last)))
        total = max(total, offset + room)
    return offsets, total
