"""The scheduled program: kernels in order, and a place in memory for every tensor.

`schedule` (in ``schedule.py``) makes it from a `Program`; the C emitter reads it. A kernel is a group of statements that
share loops. Its text depends only on its structure and strides, so equal kernels are emitted once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bpcompile.nodes.expressions import Axis, Expr
from bpcompile.nodes.statements import Program, Statement

Region = Literal["input", "params", "state", "output", "loss", "grads", "input_grad", "batch", "fixed", "local"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies.

    Element ``s`` of the tensor is at ``base + offset + sum(s[k] * strides[k])``, in elements. The base by region:
    ``params``/``grads`` the flat vectors, ``state`` the flat state vector, ``input``/``output``/``input_grad`` the caller's
    array number ``slot`` (offset 0), ``loss`` one element, ``fixed`` the arena, ``batch`` the arena behind its fixed
    part: there the tensor starts at ``offset * n`` for ``n`` examples. ``local`` tensors live inside one kernel
    (registers, or a small array on the stack: shape and strides are those of the axes which are not the nest's own).
    Integer tensors hold ``sint`` (as wide as a real) in the arena, ``int32_t`` in inputs.
    Axes of extent ``None`` come first in memory, so that every stride is a constant.
    """

    region: Region
    offset: int
    strides: tuple[int, ...]
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Nest:
    """Loops over ``axes`` around statements in order.

    Each statement's own ``axes`` begin with the nest's (the very same `Axis` objects); the rest are inner loops of that
    statement. Consecutive statements with equal inner axes may share the inner loop where ``joined`` says so
    (one group number for each statement; equal numbers are adjacent and legal to run element by element).
    No iteration over the nest's axes depends on another one, unless ``sequential``.
    """

    axes: tuple[Axis, ...]
    statements: tuple[Statement, ...]
    joined: tuple[int, ...]
    local: frozenset[str] = frozenset()
    sequential: bool = False


@dataclass(frozen=True, slots=True)
class Halo:
    """Products of a contraction are zero unless ``low <= outer + sign * inner < high``.

    ``outer`` is an axis of the rows or columns, ``inner`` one of the depth.
    """

    outer: Axis
    inner: Axis
    sign: int
    low: int
    high: int

    def met(self, position: int) -> range:
        """The offsets ``inner`` that meet more than zeros from a position ``outer``."""
        first, end = self.low - position, self.high - position
        if self.sign < 0:
            first, end = 1 - end, 1 - first
        return range(max(first, 0), max(min(end, self.inner.extent or 1), first, 0))


@dataclass(frozen=True, slots=True)
class Across:
    """A contraction whose lanes run across examples, where there are enough of them.

    ``source`` is the operand that every example has; if what the contraction reads is a padded copy of it, ``copy`` defines
    that, and the kernel makes it for itself, one example at a time, where lanes do not run across examples. Target and source
    are contiguous along the axis ``line``. Products are left out along the line (``along``) and along one axis ``beside`` it.
    ``gain``: the time it takes within examples, in per cent of the time across them.
    """

    source: Expr
    line: Axis
    along: Halo | None
    beside: Halo | None
    copy: Statement | None
    gain: int

    def windows(self) -> list[range]:
        """For each position on a line, which part of the window it meets."""
        length = self.line.extent or 1
        return [self.along.met(k) for k in range(length)] if self.along else [range(1)] * length


@dataclass(frozen=True, slots=True)
class Contraction:
    """``target (= | +=) sum(left * right, depth)``: both operands are loads with affine subscripts that stay inside.

    ``batch`` axes stand in the target and both operands, ``rows`` in target and left, ``columns`` in target and right,
    ``depth`` in both operands only. ``epilogue``: statements without reduction over exactly the target's axes (same
    `Axis` objects) that run on each element once its sum is complete; they may read the target at that element. If the
    target is in ``local`` it is never stored. ``panels``: the tensor into which a `Pack` has packed the right operand.
    ``halo``: which products are zero, if that is known. ``across``: how lanes may run across examples.
    """

    statement: Statement
    left: Expr
    right: Expr
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    depth: tuple[Axis, ...]
    epilogue: tuple[Statement, ...] = ()
    local: frozenset[str] = frozenset()
    panels: str = ""
    halo: Halo | None = None
    across: Across | None = None

    @property
    def copy(self) -> Statement | None:
        """What defines the padded copy of an operand that the kernel makes for itself."""
        return self.across.copy if self.across else None


@dataclass(frozen=True, slots=True)
class Clear:
    """Sets a tensor to zero before statements accumulate into it."""

    tensor: str


@dataclass(frozen=True, slots=True)
class Pack:
    """Packs the right operand of a contraction, which runs later and several times, into panels."""

    contraction: Contraction
    panels: str


@dataclass(frozen=True, slots=True)
class KernelLoop:
    """Kernels that run in order for each value of an axis, and of the ``outer`` axes around it.

    The whole loop runs for ``examples`` examples at a time, which do not depend on others; 0: for all at once.
    """

    axis: Axis
    reverse: bool
    body: tuple[Kernel, ...]
    outer: tuple[Axis, ...] = ()
    examples: int = 0


@dataclass(frozen=True, slots=True)
class BatchLoop:
    """Kernels that run in order for ``examples`` examples at a time; sums over the batch grow from turn to turn."""

    examples: int
    body: tuple[Kernel, ...]


Kernel = Nest | Contraction | Clear | Pack
ScheduledStep = Kernel | KernelLoop | BatchLoop


@dataclass(frozen=True)
class Schedule:
    """A program with its kernels and the place of each tensor.

    The arena has ``fixed_elements + n * batch_elements`` elements of the real type.
    """

    program: Program
    steps: tuple[ScheduledStep, ...]
    places: Mapping[str, Place]
    fixed_elements: int
    batch_elements: int

    def arena_elements(self, n: int) -> int:
        """Elements of the arena for ``n`` examples."""
        return self.fixed_elements + n * self.batch_elements
