"""What a kernel computes, for the comments in generated text."""

from __future__ import annotations

from bpcompile.nodes.statements import Statement
from bpcompile.program.schedule_types import Clear, Contraction, Kernel


def equation_text(s: Statement) -> str:
    """What a statement computes, for a comment: its layer call, and the statement in the user's names."""
    call = f"{s.origin.call}: " if s.origin.call else ""
    return f"{call}{s}".replace("*/", "* /").replace("/*", "/ *")


def equations(kernel: Kernel) -> tuple[str, ...]:
    """The equations of a kernel in the user's names, in order."""
    if isinstance(kernel, Clear):
        return (f"{kernel.tensor} = 0",)
    if isinstance(kernel, Contraction):
        return tuple(str(s) for s in (kernel.statement, *kernel.epilogue))
    return tuple(equation_text(s) for s in kernel.statements)
