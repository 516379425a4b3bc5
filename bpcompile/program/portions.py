"""Kernels in order for a few examples at a time: what one kernel writes is still in the cache when the next one reads it.

Requires fused kernels in order. Establishes: runs of kernels that treat every example alike, and whose tensors are large
for each example, stand in a `BatchLoop`. What they keep to themselves needs memory for one portion of the batch only.

A kernel may stand there if its examples are independent: the batch axis is bare, in the place of the batch, in every
access. Sums over the batch (gradients of weights) grow from portion to portion; who reads one comes behind the loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bpcompile.nodes.access import accesses, elements, reads, reads_of_body
from bpcompile.nodes.expressions import Axis, Expr
from bpcompile.nodes.statements import Statement, Tensor
from bpcompile.program.memory import kernel_statements
from bpcompile.program.schedule_types import BatchLoop, Clear, Contraction, Kernel, KernelLoop, Nest, ScheduledStep

PORTION: Final = 1 << 21
"""Elements that the kernels of a loop touch for one portion: a few times the second-level cache."""
MOST_EXAMPLES: Final = 8
"""Examples in a portion up to which a loop pays: beyond, tensors are small and a whole batch of them stays in a cache."""
LEAST_KERNELS: Final = 3
"""Kernels from which a loop is worth its calls."""
WEIGHT: Final = 0.25
"""How large tensors without the batch axis, gone through again for each portion, may be beside those of the portion."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """A step, what it reads and writes, and whether it may run for some examples and then for others."""

    step: ScheduledStep
    read: frozenset[str]
    written: frozenset[str]
    divides: bool


@dataclass
class _Part:
    """Steps that stand before a loop, in it or behind it; what they read and write."""

    steps: list[_Facts] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    def precedes(self, s: _Facts) -> bool:
        """True if a step has to come after something in this part."""
        free = s.read.isdisjoint(self.written) and s.written.isdisjoint(self.written) and s.written.isdisjoint(self.read)
        return not free

    def add(self, s: _Facts) -> None:
        """Append a step."""
        self.steps.append(s)
        self.read |= s.read
        self.written |= s.written


def in_portions(steps: Sequence[ScheduledStep], tensors: Mapping[str, Tensor]) -> tuple[ScheduledStep, ...]:
    """Put kernels into loops over portions of the batch where that pays.

    Parameters
    ----------
    steps : sequence of ScheduledStep
        Fused kernels in order.
    tensors : mapping of str to Tensor
    """
    facts = [_Facts(step, *_touched(step), _divides(step, tensors)) for step in steps]
    summed = {name for s in facts for name in s.written if None not in tensors[name].shape}
    return tuple(_in_loops(facts, summed, tensors))


def _in_loops(facts: list[_Facts], summed: set[str], tensors: Mapping[str, Tensor]) -> list[ScheduledStep]:
    before, inside, behind = _Part(), _Part(), _Part()
    for s in facts:
        if behind.precedes(s) or not inside.written.isdisjoint(s.read & summed):
            behind.add(s)
        elif s.divides:
            inside.add(s)
        else:
            (behind if inside.precedes(s) else before).add(s)
    body = [s.step for s in inside.steps if isinstance(s.step, Nest | Contraction)]
    if not body:
        return [s.step for s in facts]
    each, fixed = _elements(body, tensors)
    examples = max(1, PORTION // max(1, each))
    rest = _in_loops(behind.steps, summed, tensors)
    start = [s.step for s in before.steps]
    if examples <= MOST_EXAMPLES and len(body) >= LEAST_KERNELS and fixed <= WEIGHT * examples * each:
        return [*start, BatchLoop(examples, tuple(_growing(k, tensors) for k in body)), *rest]
    return [s.step for s in facts] if rest == [s.step for s in behind.steps] else [*start, *body, *rest]


def _touched(step: ScheduledStep) -> tuple[frozenset[str], frozenset[str]]:
    """The tensors that a step reads, and those that it writes."""
    kernels = step.body if isinstance(step, KernelLoop | BatchLoop) else (step,)
    read: set[str] = set()
    written: set[str] = set()
    for kernel in kernels:
        written |= {kernel.tensor} if isinstance(kernel, Clear) else {s.target for s in kernel_statements(kernel)}
        read |= {name for s in kernel_statements(kernel) for name in reads(s)}
    return frozenset(read), frozenset(written)


def _divides(kernel: ScheduledStep, tensors: Mapping[str, Tensor]) -> bool:
    """True if a kernel may run for some examples and then for others, and goes through little again for each portion."""
    if not isinstance(kernel, Nest | Contraction) or _elements([kernel], tensors)[1] > WEIGHT * PORTION:
        return False
    statements = kernel_statements(kernel)
    if not all(each_example(s, tensors) for s in statements):
        return False
    sums = {s.target for s in statements if None not in tensors[s.target].shape}
    if isinstance(kernel, Contraction) and kernel.statement.target in sums and kernel.epilogue:
        return False
    return not sums & {name for s in statements for name in reads_of_body(s)}


def each_example(s: Statement, tensors: Mapping[str, Tensor]) -> bool:
    """True if a statement has one batch axis, which does nothing but choose the example in each access."""
    batch = [a for a in (*s.axes, *s.over) if a.extent is None]
    if len(batch) != 1:
        return False
    if batch[0] in s.over or None not in tensors[s.target].shape:
        if not (s.accumulate and s.reduce is None) and s.reduce != "sum":
            return False
    elif not _bare(s.subscripts, tensors[s.target], batch[0]):
        return False
    own = [e for e, size in zip(s.subscripts, tensors[s.target].shape, strict=True) if size is not None]
    return all(_chooses(e, batch[0], tensors) for e in (*own, s.body))


def _bare(subscripts: Iterable[Expr], tensor: Tensor, batch: Axis) -> bool:
    """True if the batch axis stands alone in the place of the batch."""
    pairs = zip(subscripts, tensor.shape, strict=True)
    return all(e.op == "axis" and e.value == batch for e, size in pairs if size is None)


def _chooses(e: Expr, batch: Axis, tensors: Mapping[str, Tensor]) -> bool:
    """True if the batch axis occurs in an expression in the batch's place of loads only."""
    if e.op == "axis":
        return bool(e.value != batch)
    if e.op != "load":
        return all(_chooses(a, batch, tensors) for a in e.args)
    tensor = tensors[e.value[0]]
    own = [a for a, size in zip(e.args, tensor.shape, strict=True) if size is not None]
    return _bare(e.args, tensor, batch) and all(_chooses(a, batch, tensors) for a in own)


def _elements(kernels: Iterable[Kernel], tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Elements that kernels touch for one example, and elements that they would touch again for each portion."""
    names = {a.tensor for k in kernels for s in kernel_statements(k) for a in accesses(s)}
    sizes = [(None in tensors[name].shape, elements(tensors[name])) for name in names]
    return sum(size for batch, size in sizes if batch), sum(size for batch, size in sizes if not batch)


def _growing(kernel: Kernel, tensors: Mapping[str, Tensor]) -> Kernel:
    """The same kernel with sums over the batch added to what earlier portions left."""

    def grown(s: Statement) -> Statement:
        return replace(s, accumulate=True) if None not in tensors[s.target].shape else s

    if isinstance(kernel, Contraction):
        return replace(kernel, statement=grown(kernel.statement))
    assert isinstance(kernel, Nest)
    return replace(kernel, statements=tuple(map(grown, kernel.statements)))
