"""Let sums that are only added up accumulate into one tensor.

Requires a well-formed program, sums brought into the form of contractions. Establishes: where ``z = s1 + s2 + r`` and
``s1``, ``s2`` are sums that nothing else reads, ``s2`` accumulates into ``s1``, and ``z = s1 + r``. The gradient of a
value that is used in three places needs one tensor, and not four.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bpcompile.nodes.access import bare, covers, reads, step_statements
from bpcompile.nodes.expressions import Axis, Expr, load, loads, node
from bpcompile.nodes.statements import Program, Statement, TimeLoop
from bpcompile.program.contract import as_contraction
from bpcompile.program.product import terms_of


@dataclass(frozen=True, slots=True)
class _Part:
    """A sum that one statement reads, its subscripts there, and when it is computed."""

    statement: Statement
    subscripts: tuple[Expr, ...]
    when: tuple[int, int]


def chain_sums(program: Program) -> Program:
    """Merge the tensors of contractions that one statement adds up."""
    parts = _only_added(program)
    changed: dict[int, Statement] = {}
    gone: set[str] = set()
    for step in program.steps:
        for s in step_statements(step):
            if s.reduce is None:
                _merge(s, parts, changed, gone)
    if not gone:
        return program
    steps = tuple(
        replace(step, body=tuple(changed.get(id(s), s) for s in step.body))
        if isinstance(step, TimeLoop)
        else changed.get(id(step), step)
        for step in program.steps
    )
    return program.with_steps(steps, {n: t for n, t in program.tensors.items() if n not in gone})


def _only_added(program: Program) -> dict[str, tuple[Statement, tuple[int, int]]]:
    """The contractions into temporaries that are written and read by one statement each."""
    writers = Counter(s.target for s in program.statements())
    readers = Counter(name for s in program.statements() for name in reads(s))
    found = {}
    for position, step in enumerate(program.steps):
        free: tuple[Axis, ...] = (step.axis,) if isinstance(step, TimeLoop) else ()
        for inner, s in enumerate(step_statements(step)):
            name = s.target
            if (
                writers[name] == readers[name] == 1
                and program.tensors[name].role == "temporary"
                and not s.accumulate
                and all(bare(e) for e in s.subscripts)
                and covers(s, program.tensors[name].shape, free)
                and as_contraction(s, program.tensors)
            ):
                found[name] = (s, (position, inner))
    return found


def _merge(
    s: Statement,
    parts: Mapping[str, tuple[Statement, tuple[int, int]]],
    changed: dict[int, Statement],
    gone: set[str],
) -> None:
    """Let the later of the sums that the statement adds accumulate into the earliest."""
    terms = terms_of(s.body)
    uses = Counter(e.value[0] for e in loads(s.body))
    groups: dict[frozenset[Axis], list[_Part]] = {}
    for minus, e in terms:
        if minus or e.op != "load" or e.value[0] not in parts or uses[e.value[0]] != 1:
            continue
        axes = [bare(x) for x in e.args]
        if None not in axes and len(set(axes)) == len(axes):
            statement, when = parts[e.value[0]]
            groups.setdefault(frozenset(a for a in axes if a), []).append(_Part(statement, e.args, when))
    dropped: set[Expr] = set()
    for group in groups.values():
        first, *rest = sorted(group, key=lambda p: p.when)
        for part in rest:
            own = changed.get(id(part.statement), part.statement)
            places = [part.subscripts.index(e) for e in first.subscripts]
            subscripts = tuple(own.subscripts[k] for k in places)
            changed[id(part.statement)] = replace(own, target=first.statement.target, subscripts=subscripts,
                                                  accumulate=True)  # fmt: skip
            gone.add(part.statement.target)
            dropped.add(load(part.statement.target, part.subscripts))
    if not dropped:
        return
    body: Expr | None = None
    for minus, e in [t for t in terms if not t[0]] + [t for t in terms if t[0]]:
        if e not in dropped:
            body = e if body is None else node("sub" if minus else "add", (body, e))
    if body is not None:
        changed[id(s)] = replace(changed.get(id(s), s), body=body)
