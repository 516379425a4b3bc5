"""Sums over a depth that only the number of examples bounds: the operands go by once, and the target stays in a cache.

The gradient of a weight that a sequence uses at every step is such a sum. Blocks of depth are the outermost loop then:
all units of work use a block before the next one is read, and what the next unit reads is asked for ahead of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bpcompile.emit.c.contraction_axes import count
from bpcompile.nodes.expressions import Axis

TARGET: Final = 1 << 17
"""Elements of a target that stays in the second-level cache."""
BLOCK: Final = 1 << 17
"""Elements of the operands in a block of depth, so that this one and the next fit into the second-level cache."""
LEAST_BLOCK: Final = 128
"""Depths from which a block is worth adding to sums that lie in memory."""


def goes_by(target: Sequence[Axis], depth: Sequence[Axis]) -> bool:
    """True if the depth may have any length, and the target, over these axes, is small."""
    size, batch = count(target)
    return count(depth)[1] and not batch and size <= TARGET


def block_of(rows: Sequence[Axis], columns: Sequence[Axis], most: int) -> int:
    """Depths in a block, in whole cache lines."""
    return min(most, max(LEAST_BLOCK, BLOCK // (count(rows)[0] + count(columns)[0]) // 16 * 16))
