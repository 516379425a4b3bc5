"""Move statements that only a caller waits for to where their operands are fresh.

Requires a well-formed program. Establishes that a gradient which nothing in the program reads is computed right after
the last of what it needs: the error that it sums is still in the cache, and errors and activations die early.
"""

from __future__ import annotations

from bpcompile.nodes.access import reads_of_body, step_statements
from bpcompile.nodes.statements import Program, Statement, Step, TimeLoop


def gradients_early(program: Program) -> Program:
    """The program with each gradient statement as early as its operands allow."""
    read = {name for s in program.statements() for name in reads_of_body(s)}
    looped = {s.target for step in program.steps if isinstance(step, TimeLoop) for s in step.body}
    last_write = {s.target: i for i, step in enumerate(program.steps) for s in step_statements(step)}
    summed: dict[str, int] = {}  # where a gradient's terms so far stand: they keep their order
    after: dict[int, list[Statement]] = {}
    moved: set[int] = set()
    for position, step in enumerate(program.steps):
        if isinstance(step, TimeLoop) or program.tensors[step.target].role != "gradient":
            continue
        if step.target in read or step.target in looped:
            continue
        ready = max((last_write.get(name, -1) for name in reads_of_body(step)), default=-1)
        ready = max(ready, summed.get(step.target, -1))
        if 0 <= ready < position:
            moved.add(position)
            after.setdefault(ready, []).append(step)
        else:
            ready = position
        summed[step.target] = ready
    steps: list[Step] = []
    for position, step in enumerate(program.steps):
        if position not in moved:
            steps.append(step)
        steps += after.get(position, ())
    return program.with_steps(tuple(steps))
