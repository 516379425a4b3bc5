"""What a kernel computes, for the comments in generated text."""

from __future__ import annotations

from collections.abc import Sequence

from bpcompile.nodes.renaming import Renaming
from bpcompile.nodes.statements import Statement
from bpcompile.program.memory import kernel_statements
from bpcompile.program.schedule_types import Clear, Contraction, Kernel, Pack


def equation_text(s: Statement) -> str:
    """What a statement computes, for a comment: its layer call, and the statement in the user's names."""
    call = f"{s.origin.call}: " if s.origin.call else ""
    return f"{call}{s}".replace("*/", "* /").replace("/*", "/ *")


def equations(kernel: Kernel) -> tuple[str, ...]:
    """The equations of a kernel in the user's names, in order."""
    if isinstance(kernel, Clear):
        return (f"{kernel.tensor} = 0",)
    if isinstance(kernel, Pack):
        return (f"{kernel.contraction.right.value[0]} in panels",)
    if isinstance(kernel, Contraction):
        return tuple(str(s) for s in kernel_statements(kernel))
    return tuple(equation_text(s) for s in kernel.statements)


Pattern = tuple[str, ...]
"""A statement's text, cut where the names of tensors stand: text, a number, text, ..."""


def patterns(kernel: Kernel, tensors: Sequence[str]) -> tuple[Pattern, ...]:
    """The statements of a kernel without the names of its tensors: written once for all kernels that are alike."""
    numbered = Renaming({name: f"\0{k}\0" for k, name in enumerate(tensors)})
    return tuple(tuple(str(numbered.statement(s)).split("\0")) for s in kernel_statements(kernel))


def comments(found: Sequence[Pattern], kernel: Kernel, tensors: Sequence[str]) -> list[str]:
    """What a kernel computes, by the patterns of those that are alike, each with its layer call."""
    if isinstance(kernel, Clear | Pack):
        return list(equations(kernel))
    lines = []
    for s, pattern in zip(kernel_statements(kernel), found, strict=True):
        text = "".join([tensors[int(part)] if k % 2 else part for k, part in enumerate(pattern)])
        lines.append(f"{s.origin.call}: {text}" if s.origin.call and not isinstance(kernel, Contraction) else text)
    return lines
