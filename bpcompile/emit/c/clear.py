"""Setting a tensor to zero as a kernel in C."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from bpcompile.emit.c.equations import equations
from bpcompile.emit.c.kernel_text import Arguments, KernelText, Phase, mangled
from bpcompile.nodes.statements import Tensor
from bpcompile.program.schedule_types import Clear, Place

BLOCK: Final = 1 << 16
"""Elements in a unit of work."""


def emit_clear(kernel: Clear, places: Mapping[str, Place], tensors: Mapping[str, Tensor]) -> KernelText:
    """Write a `Clear` as a kernel."""
    tensor = tensors[kernel.tensor]
    arguments = Arguments(tensors, places, (kernel.tensor,))
    pointer = arguments.pointer(kernel.tensor)
    size = math.prod(e or 1 for e in tensor.shape)
    name = f"clear_{mangled(kernel.tensor).rstrip('_')}"
    if None not in tensor.shape and size <= BLOCK:
        body = f"    memset({pointer}, 0, sizeof *{pointer} * {size});\n"
        return KernelText(name, arguments.in_order(), (Phase(body),), equations(kernel))
    count = f"{size} * {arguments.n()}" if None in tensor.shape else str(size)
    body = (
        f"    const ptrdiff_t last = end * {BLOCK} < {count} ? end * {BLOCK} : {count};\n"
        f"    memset({pointer} + begin * {BLOCK}, 0, sizeof *{pointer} * (size_t)(last - begin * {BLOCK}));\n"
    )
    phase = Phase(body, f"({count} + {BLOCK - 1}) / {BLOCK}", count)
    return KernelText(name, arguments.in_order(), (phase,), equations(kernel))
