"""Which tensors of a layer depend on themselves, along which index, in which direction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sympy

from bpcompile.errors import LanguageError
from bpcompile.language.affine import NotAffineError, affine
from bpcompile.language.equation import Equation, accesses
from bpcompile.language.symbols import Access, Index

__all__ = ["Cycle", "find_cycles", "is_start", "strongly_connected"]


@dataclass(frozen=True)
class Cycle:
    """Tensors that are computed together, step by step, over one index.

    Attributes
    ----------
    tensors : tuple of str
        In the order of their equations.
    index : str
        The index that is stepped.
    direction : int
        1 if the steps go up (reads are at ``t - k``), -1 if they go down (reads are at ``t + k``).
    axes : mapping of str to int
        For each tensor, which of its axes is stepped.
    """

    tensors: tuple[str, ...]
    index: str
    direction: int
    axes: Mapping[str, int]


def is_start(equation: Equation) -> bool:
    """Whether the equation gives the start of a recurrence, as ``h[n,-1,j] = ...`` does."""
    return any(not isinstance(s, Index) for s in equation.lhs.subscripts)


def find_cycles(
    equations: Sequence[Equation], state: Collection[str], extents: Mapping[str, int | None]
) -> tuple[Cycle, ...]:
    """Return the recurrences among `equations`; reads of state see the old value and make none.

    Raises
    ------
    LanguageError
        If a tensor depends on itself otherwise than along one index in one direction.
    """
    steps = {e.lhs.tensor: e for e in equations if not is_start(e) and e.lhs.tensor not in state}
    reads = {name: [a for a in accesses(e.rhs) if a.tensor in steps] for name, e in steps.items()}
    groups = strongly_connected({name: [a.tensor for a in reads[name]] for name in steps})
    order = {name: k for k, name in enumerate(steps)}
    cycles = []
    for group in groups:
        if len(group) == 1 and group[0] not in [a.tensor for a in reads[group[0]]]:
            continue
        names = tuple(sorted(group, key=order.__getitem__))
        cycles.append(_cycle(names, steps, reads, extents))
    _check_starts(equations, cycles)
    return tuple(sorted(cycles, key=lambda c: order[c.tensors[0]]))


def strongly_connected(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the strongly connected groups of a directed graph, by Tarjan's algorithm, without recursion."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []
    for root in graph:
        if root in number:
            continue
        work = [(root, iter(graph[root]))]
        number[root] = low[root] = len(number)
        stack.append(root)
        while work:
            node, successors = work[-1]
            following = next(successors, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    cut = stack.index(node)
                    groups.append(stack[cut:])
                    del stack[cut:]
            elif following not in number:
                number[following] = low[following] = len(number)
                stack.append(following)
                work.append((following, iter(graph[following])))
            elif following in stack:
                low[node] = min(low[node], number[following])
    return groups


def _cycle(
    names: tuple[str, ...],
    steps: Mapping[str, Equation],
    reads: Mapping[str, Sequence[Access]],
    extents: Mapping[str, int | None],
) -> Cycle:
    shared = [i for i in steps[names[0]].indices if all(i in steps[name].indices for name in names)]
    for index in shared:
        axes = {name: steps[name].lhs.subscripts.index(Index(index)) for name in names}
        offsets = [
            (name, a.tensor, _offset(a.subscripts[axes[a.tensor]], index, extents) if _fits(a, axes) else None)
            for name in names
            for a in reads[name]
            if a.tensor in axes
        ]
        distances = [offset for _, _, offset in offsets if offset is not None]
        one_way = all(d <= 0 for d in distances) or all(d >= 0 for d in distances)
        if len(distances) < len(offsets) or not one_way or not any(distances):
            continue
        at_once = {name: [read for reader, read, offset in offsets if reader == name and not offset] for name in names}
        if all(len(g) == 1 and g[0] not in at_once[g[0]] for g in strongly_connected(at_once)):
            return Cycle(names, index, 1 if min(distances) < 0 else -1, axes)
    first = steps[names[0]]
    through = f" through {', '.join(repr(name) for name in names[1:])}" if len(names) > 1 else ""
    raise LanguageError(
        f"Tensor '{names[0]}' depends on itself{through}.",
        where=f"Equation '{first}'",
        hint="A recurrence reads earlier steps only, at t-1, t-2, ..., or later ones only, at t+1, ...; all along one index.",
    )


def _fits(access: Access, axes: Mapping[str, int]) -> bool:
    return axes[access.tensor] < len(access.subscripts)


def _offset(subscript: sympy.Expr, index: str, extents: Mapping[str, int | None]) -> int | None:
    """The k of a subscript ``t + k``."""
    try:
        form = affine(subscript, extents)
    except NotAffineError:
        return None
    return form.constant if form.terms == ((index, 1),) else None


def _check_starts(equations: Sequence[Equation], cycles: Sequence[Cycle]) -> None:
    for equation in equations:
        if not is_start(equation):
            continue
        name = equation.lhs.tensor
        cycle = next((c for c in cycles if name in c.tensors), None)
        if cycle is None:
            raise LanguageError(
                f"'{equation.lhs}' would start a recurrence, and '{name}' is none.",
                where=f"Equation '{equation}'",
                hint=f"Some equation has to read '{name}' at an earlier step, such as t-1.",
            )
        inner = [a.tensor for a in accesses(equation.rhs) if a.tensor in cycle.tensors]
        if inner:
            raise LanguageError(
                f"The start of '{name}' reads '{inner[0]}', which is computed after it.", where=f"Equation '{equation}'"
            )
