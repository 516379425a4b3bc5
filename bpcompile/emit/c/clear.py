"""Setting a tensor to zero as a kernel in C."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bpcompile.emit.c.kernel_text import Arguments, KernelText, Phase, mangled
from bpcompile.program.schedule_types import Clear, Place
from bpcompile.program.statements import Tensor


def emit_clear(kernel: Clear, places: Mapping[str, Place], tensors: Mapping[str, Tensor]) -> KernelText:
    """Write a `Clear` as a kernel."""
    tensor = tensors[kernel.tensor]
    arguments = Arguments(tensors, places, (kernel.tensor,))
    pointer = arguments.pointer(kernel.tensor)
    count = str(math.prod(e or 1 for e in tensor.shape))
    if None in tensor.shape:
        count = f"{count} * (size_t){arguments.n()}"
    body = f"    memset({pointer}, 0, sizeof *{pointer} * {count});\n"
    name = f"clear_{mangled(kernel.tensor).rstrip('_')}"
    return KernelText(name, arguments.in_order(), (Phase(body),), (f"{kernel.tensor} = 0",))
