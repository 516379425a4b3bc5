"""Layers that follow each other alike: the calculus and the passes meet three of them, whatever their number.

A statement is described by its structure and by where its tensors come from: written so many statements before, first
used so many statements before. Periods of equal descriptions are copies of each other, and what is derived for one whose
neighbours are copies too holds for all such. So the first, one for all in the middle, and the last are kept;
`program.unroll` puts the others back.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from bpcompile.calculus.forward import Forward
from bpcompile.nodes.likeness import Shapes
from bpcompile.nodes.renaming import Renaming
from bpcompile.nodes.statements import Statement

if TYPE_CHECKING:
    from bpcompile.language.network import Network

FEWEST: Final = 5
"""Periods below which nothing is gained."""


@dataclass(frozen=True)
class Names:
    """What belongs to one period, in an order that all periods share: tensors, layer calls, streams of random numbers."""

    tensors: tuple[str, ...]
    calls: tuple[str, ...]
    streams: tuple[int, ...]


@dataclass(frozen=True)
class Repeats:
    """The periods of a network, and its forward statements with the first, the second and the last of them alone.

    In ``short`` the last period reads what the second one wrote.
    """

    periods: tuple[Names, ...]
    short: Forward


def find_repeats(forward: Forward, network: Network) -> Repeats | None:
    """The longest repetition among the statements of a network; nothing if it would save little or cannot be cut out."""
    statements = forward.statements
    described = _Descriptions(forward, network)
    codes = np.array([described.code(k) for k in range(len(statements))])
    found = _longest(codes)
    if found is None:
        return None
    start, length, end = found
    start = next((k for k in range(start, start + length) if k == 0 or _begins_call(statements[k - 1], statements[k])), start)
    count = (end - start) // length
    borders = [start + length * k for k in range(count + 1)]
    periods = tuple(described.names(a, b) for a, b in pairwise(borders))
    inner = {name for p in periods[1:-1] for name in p.tensors}
    outside = (*statements[:start], *statements[borders[-1] :])
    if not inner.isdisjoint(v.name for v in network.outputs) or any(not inner.isdisjoint(_names(s)) for s in outside):
        return None
    joined = Renaming(dict(zip(periods[-2].tensors, periods[1].tensors, strict=True)))
    last = map(joined.statement, statements[borders[-2] : borders[-1]])
    kept = (*statements[: borders[2]], *last, *statements[borders[-1] :])
    gone = {name for p in periods[2:-1] for name in p.tensors}
    tensors = {name: t for name, t in forward.tensors.items() if name not in gone}
    return Repeats(periods, replace(forward, tensors=tensors, statements=kept))


class _Descriptions:
    """Describes statements so that copies of a layer get the same numbers."""

    def __init__(self, forward: Forward, network: Network) -> None:
        self._forward = forward
        self._network = network
        self._numbers: dict[Hashable, int] = {}
        self._seen: list[Shapes] = []
        self._written: dict[str, int] = {}
        self._first: dict[Hashable, int] = {}
        for k, s in enumerate(forward.statements):
            self._written.setdefault(s.target, k)
            shapes = Shapes(streams={})
            shapes.statement(s)
            self._seen.append(shapes)
            for x in (*shapes.tensors, *(shapes.streams or ())):
                self._first.setdefault(x, k)

    def code(self, k: int) -> int:
        """The number of a statement's description."""
        s, shapes = self._forward.statements[k], self._seen[k]
        target = self._forward.tensors[s.target]
        described = (
            shapes.shape(),
            tuple(self._source(name, k) for name in shapes.tensors),
            tuple(k - self._first[stream] for stream in shapes.streams or ()),
            (target.shape, target.role, target.kind, target.classes, s.origin.equation, s.origin.phase),
        )
        return self._numbers.setdefault(described, len(self._numbers))

    def _source(self, name: str, k: int) -> Hashable:
        """Where a tensor comes from, as statement ``k`` sees it."""
        t = self._forward.tensors[name]
        if t.role in ("parameter", "state"):
            info = self._network.parameters.get(name)
            return (k - self._first[name], t.role, t.shape, t.kind, info is None or info.trainable)
        return k - self._written[name] if name in self._written else name

    def names(self, start: int, end: int) -> Names:
        """What the statements from ``start`` to ``end`` write or use first."""
        tensors: dict[str, None] = {}
        calls: dict[str, None] = {}
        streams: dict[int, None] = {}
        for k in range(start, end):
            shapes = self._seen[k]
            owned = ("parameter", "state")
            tensors.update(
                (name, None)
                for name in shapes.tensors
                if self._written.get(name) == k
                or (self._first[name] == k and self._forward.tensors[name].role in owned)
            )
            streams.update((x, None) for x in shapes.streams or () if self._first[x] == k)
            calls[self._forward.statements[k].origin.call] = None
        return Names(tuple(tensors), tuple(calls), tuple(streams))


def _begins_call(before: Statement, s: Statement) -> bool:
    """True between two layer calls: periods that begin there leave the statements of a layer together."""
    return before.origin.call != s.origin.call


def _names(s: Statement) -> Collection[str]:
    shapes = Shapes()
    shapes.statement(s)
    return shapes.tensors


def _longest(codes: np.ndarray) -> tuple[int, int, int] | None:
    """Start and length of the periods whose repetition covers the most statements, and its end; the shortest such periods."""
    best: tuple[int, int, int] | None = None
    saved = 0
    for length in range(1, len(codes) // FEWEST + 1):
        same = np.concatenate(([False], codes[:-length] == codes[length:], [False]))
        edges = np.flatnonzero(same[1:] != same[:-1])
        starts, ends = edges[::2], edges[1::2]
        if not len(starts):
            continue
        k = int(np.argmax(ends - starts))
        end = int(ends[k]) + length
        count = (end - int(starts[k])) // length
        if count >= FEWEST and (count - 3) * length > saved:
            best, saved = (int(starts[k]), length, end), (count - 3) * length
    return best
