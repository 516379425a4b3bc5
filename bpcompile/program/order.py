"""The cheapest order of a sum of products, by pairs.

``sum(A[j,k,l]*x[n,k]*x[n,l], k, l)`` is two contractions (over ``l``, then over ``k``) and not one fourfold loop. All
orders are compared (dynamic programming over the subsets of the factors) at the actual extents, the batch typical.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bpcompile.nodes.access import volume
from bpcompile.nodes.expressions import Axis

MOST_FACTORS: Final = 7
"""The most factors whose orders are compared."""

CONTRACTED: Final = 0.1
REDUCED: Final = 0.5
ELEMENTWISE: Final = 1.0
"""Relative costs of a product: in a tiled kernel, in a plain reduction, in an elementwise loop that stores it."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One factor (``leaf``), or two trees multiplied and summed over ``over``; ``axes`` is what remains."""

    axes: frozenset[Axis]
    leaf: int = -1
    left: Tree | None = None
    right: Tree | None = None
    over: frozenset[Axis] = frozenset()


def best_order(factors: Sequence[frozenset[Axis]], summed: frozenset[Axis]) -> tuple[float, Tree] | None:
    """The cheapest tree for factors over the given axes, and its cost; nothing for too many factors."""
    count = len(factors)
    if count > MOST_FACTORS:
        return None
    best: dict[int, tuple[float, Tree]] = {1 << k: (0.0, Tree(f, leaf=k)) for k, f in enumerate(factors)}
    full = (1 << count) - 1
    for mask in sorted(range(1, full + 1), key=lambda m: (m.bit_count(), m)):
        if mask in best:
            continue
        elsewhere = frozenset().union(*(f for k, f in enumerate(factors) if not mask >> k & 1))
        part = (mask - 1) & mask
        while part:
            other = mask ^ part
            if part & -part == mask & -mask:
                cost, tree = _joined(best[part], best[other], summed - elsewhere)
                if mask not in best or cost < best[mask][0]:
                    best[mask] = (cost, tree)
            part = (part - 1) & mask
    return best[full]


def _joined(left: tuple[float, Tree], right: tuple[float, Tree], free: frozenset[Axis]) -> tuple[float, Tree]:
    a, b = left[1], right[1]
    together = a.axes | b.axes
    over = together & free
    tree = Tree(together - over, left=a, right=b, over=over)
    return left[0] + right[0] + volume(together) * _weight(a, b, over), tree


def _weight(a: Tree, b: Tree, over: frozenset[Axis]) -> float:
    if not over:
        return ELEMENTWISE
    sides = min(volume(a.axes - b.axes), volume(b.axes - a.axes))
    return CONTRACTED if sides >= 4 and over <= a.axes & b.axes else REDUCED
