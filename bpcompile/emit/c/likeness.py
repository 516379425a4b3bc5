"""Which kernels are alike: known before their text is made, so that the text of twelve equal layers is made once.

The text of a kernel depends on its statements, on the axes, and on what is asked of its tensors: extents, strides, type of
element, and whether the kernel keeps them to itself. It does not depend on their names and places.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from bpcompile.emit.c.kernel_text import element_type
from bpcompile.nodes.likeness import Shapes
from bpcompile.nodes.statements import Tensor
from bpcompile.program.memory import kernel_statements
from bpcompile.program.schedule_types import Across, Clear, Contraction, Kernel, Pack, Place


def kernel_shape(
    kernel: Kernel, places: Mapping[str, Place], tensors: Mapping[str, Tensor]
) -> tuple[Hashable, tuple[str, ...]]:
    """A key that kernels of the same text share, and the tensors of this one in the order of the key's numbers."""
    shapes = Shapes()
    own: tuple[Hashable, ...] = ()
    local: frozenset[str] = frozenset()
    if isinstance(kernel, Clear):
        shapes.tensor(kernel.tensor)
    elif isinstance(kernel, Contraction | Pack):
        product = kernel.contraction if isinstance(kernel, Pack) else kernel
        for s in kernel_statements(product):
            shapes.statement(s)
        sides = (shapes.expression(product.left), shapes.expression(product.right))
        panels = (shapes.tensor(kernel.panels),) if kernel.panels else ()
        across = _across(product.across, shapes)
        own = (*sides, product.batch, product.rows, product.columns, product.depth, panels, product.halo, across)
        local = product.local
    else:
        for s in kernel.statements:
            shapes.statement(s)
        own = (kernel.axes, kernel.joined, kernel.sequential)
        local = kernel.local
    names = tuple(shapes.tensors)
    memory = [(tensors[t].shape, places[t].strides, element_type(tensors[t], places[t]), t in local) for t in names]
    return shapes.shape(type(kernel).__name__, own, *memory), names


def _across(across: Across | None, shapes: Shapes) -> Hashable:
    """What the text takes from it; the copy is among the kernel's statements."""
    if across is None:
        return None
    return shapes.expression(across.source), across.line, across.along, across.beside, across.copy is None, across.gain
