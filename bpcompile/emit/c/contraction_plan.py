"""How a contraction is computed: which operand is packed, how its loops are cut into tiles, blocks and units.

Everything is decided from sizes and strides when the text is written, except what only the number of examples can tell:
there the text compares a count with a limit. The limits are those at which the variants measured alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from bpcompile.emit.c.affine import Affine
from bpcompile.emit.c.blocks import WIDEST
from bpcompile.emit.c.contraction_axes import Span, address_form, count, ordered, single_stride, spans
from bpcompile.emit.c.contraction_streams import block_of, goes_by
from bpcompile.emit.c.limits import DEFAULTS, Limits
from bpcompile.emit.c.loops import Loop, Uses, collapse, target_load, uses
from bpcompile.emit.c.scope import ExpressionWriter
from bpcompile.nodes.access import one_to_one
from bpcompile.nodes.expressions import Axis, Expr, loads
from bpcompile.program.schedule_types import Contraction, Halo

Packing = Literal["rows", "transposed", "table", "runs"]
"""How the right operand comes to the tiles: packed from contiguous columns, by turning squares, by a table of columns; or
not packed at all, but summed along runs of the depth that are contiguous in both operands."""

USUAL_BATCH: Final = 64
MOST_DOT_ROWS: Final = 72
"""Rows above which adding up lanes, once for each sum, costs more than turning the right operand, whatever the depth."""
NARROW: Final = 12
"""Columns that fill less than a vector."""
VECTOR_ROWS: Final = 128
"""Rows up to which vectors of columns that lie apart are read in place."""
TURNED_ROWS: Final = 160
"""The most rows of sums that share a panel of turned squares."""
TURNED_LANES: Final = 16
"""Lanes for which the cost of turning is estimated."""
TURNED_SQUARE: Final = 8
"""Operations on vectors, for each column of a square of sums, that turn it."""
PACKED_STRETCH: Final = 10
"""Operations on vectors that packing one vector of columns costs, in stretches of a few."""
PACKED_ELEMENTS: Final = 30
"""Operations on vectors that packing one vector of columns costs, element by element."""
STRIP_COST: Final = {1: 1.0, 2: 1.05, 3: 1.0}
"""What a product costs in strips of so many pieces, measured on windows of 3 by 3 in images of 16 and 32 columns."""
UNIT_COST: Final = 60
"""Operations on vectors for which a strip of columns costs its begin."""
MOST_VECTORS: Final = 3
"""The most vectors in a strip of columns on any processor."""
MOST_PRODUCTS: Final = 0.985
"""The part of the products up to which leaving out those with a halo is worth another order of depths."""
ONCE_DEPTHS: Final = 1024
"""Depths whose addresses are found once for all units of work, and not block by block."""
RUN_BLOCK: Final = 1024
"""Depths that are summed along runs before the lanes are added up."""
LARGE_ROWS: Final = 480
"""Rows of the left operand that stay in the second-level cache with a block of their depth."""
MANY_ROWS: Final = 1024
"""Rows that share a panel where they are known: tiles ask ahead of time for those that fall out of the second-level cache.
More would save a per cent, and leave too few units of work for many threads."""
LARGE_MATRIX: Final = 1 << 18
"""Elements of a matrix from which its next part is asked for while this one is computed."""
ROW_STEP: Final = 24
"""What rows of a block are a multiple of: the rows of a tile on every processor divide it."""
LOCAL_ROWS: Final = 64
"""Rows of sums that are held while several blocks of depth are added up."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A side of the product: its load, and its address as a form of the axes."""

    load: Expr
    form: Affine

    @property
    def tensor(self) -> str:
        """The tensor that is read."""
        name: str = self.load.value[0]
        return name


@dataclass(frozen=True)
class Plan:
    """A contraction, ready to be written.

    ``outer`` axes are counted by the units of work, outermost first. ``columns`` are what a panel runs along, as one loop
    where the target is stored by vectors (``column_loop``). ``direct``: tiles are added up in the target itself, or, if
    that is not stored, where the epilogue stores one of its results in the end (``host`` names the tensor).
    ``pieces``: the length of the contiguous stretches that the columns consist of, if they may be read in place by vectors
    that end with them. ``turned``: rows and columns are exchanged; ``stored`` is then the plan by which finished sums, turned
    back, are stored, or nothing if the target is stored column by column.
    ``halo``: the stretch of depth that a strip of columns goes through, its axis outermost, ends where only zeros are left;
    ``piece_vectors``: the most pieces in a strip. ``prefetch``: the next panel's memory, (``prefetch_target``) the next
    tile's, and (``prefetch_left``) what the next unit reads of the left operand, is asked for ahead of time.
    ``serial_rows``: the rows of a unit of work, instead of ``row_block``, where there are no threads to share with.
    """

    kernel: Contraction
    left: Operand
    right: Operand
    host: str
    target: Affine
    outer: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    depth: tuple[Axis, ...]
    row_loops: tuple[Loop, ...]
    column_loop: Loop
    direct: bool
    packing: Packing
    in_place: bool
    dot: bool
    tables: bool
    depth_block: int
    row_block: int | None
    depths_first: bool
    strips_first: bool
    run: int = 0
    pieces: int = 0
    turned: bool = False
    prefetch: bool = False
    prefetch_target: bool = False
    prefetch_left: bool = False
    stored: Plan | None = None
    halo: Halo | None = None
    piece_vectors: int = MOST_VECTORS
    limits: Limits = DEFAULTS
    serial_rows: int | None = None

    @property
    def left_rows(self) -> tuple[Span, ...]:
        """The rows as the left operand sees them."""
        return spans(self.rows, (self.left.form,))

    @property
    def right_columns(self) -> tuple[Span, ...]:
        """The columns as the right operand sees them."""
        return spans(self.columns, (self.right.form,))

    @property
    def left_depth(self) -> tuple[Span, ...]:
        """The depth as the left operand sees it."""
        return spans(self.depth, (self.left.form,))

    @property
    def right_depth(self) -> tuple[Span, ...]:
        """The depth as the right operand sees it."""
        return spans(self.depth, (self.right.form,))

    @property
    def both_depth(self) -> tuple[Span, ...]:
        """The depth as both operands see it, strides of the left one first; without the run, if there is one."""
        found = spans(self.depth, (self.left.form, self.right.form))
        return found[:-1] if self.run else found

    @property
    def blocks(self) -> bool:
        """True if the depth may be cut into several blocks."""
        size, batch = count(self.depth)
        return batch or size // max(self.run, 1) > self.depth_block

    @property
    def tables_once(self) -> bool:
        """True if addresses along the depth are found once, before all units of work."""
        size, batch = count(self.depth)
        return not batch and not self.run and size <= ONCE_DEPTHS

    @property
    def dot_rows(self) -> int:
        """Rows up to which sums along the depth beat a transposed panel, whose cost all rows share."""
        if self.limits.dot_rows is not None:
            return self.limits.dot_rows
        if count(self.columns)[0] <= NARROW:
            return 8 * MOST_DOT_ROWS  # a panel would be padded
        depth, batch = count(self.depth)
        return MOST_DOT_ROWS if batch else min(MOST_DOT_ROWS, max(8, depth // 5))

    @property
    def row_width(self) -> int:
        """The stride of the target's rows, where the plan is direct."""
        return single_stride(spans(self.rows, (self.target,))) or 0


def make_plan(kernel: Contraction, writer: ExpressionWriter, limits: Limits = DEFAULTS) -> Plan:
    """Decide how to compute a contraction."""
    plan = draft(kernel, writer)
    if _turns(plan):
        plan = draft(kernel, writer, turned=True)
    elif _far_apart(plan):
        turned = draft(kernel, writer, turned=True)
        if _turns_back(plan, turned):
            rows = ordered(plan.columns, (plan.right.form,))
            plan = replace(turned, rows=rows, outer=plan.outer, stored=replace(plan, direct=False), direct=False)
    return _with_halo(_with_tiles(replace(plan, limits=limits)))


def draft(kernel: Contraction, writer: ExpressionWriter, turned: bool = False) -> Plan:
    """Which axes are rows, columns and depth, in which order; tiles are decided later."""
    host = _host(kernel, writer)
    target = address_form(host, writer.layout(host.value[0])[0])
    written = _elementwise_uses(kernel, writer)
    left, right = (Operand(e, address_form(e, writer.layout(e.value[0])[0])) for e in (kernel.left, kernel.right))
    rows, columns = kernel.rows, kernel.columns
    if _swapped(target, rows, columns) != turned:
        left, right, rows, columns = right, left, columns, rows
    rows = ordered(rows, (target, left.form))
    columns = ordered(columns, (target, right.form))
    depth = ordered(kernel.depth, (left.form, right.form))
    outer = ordered(kernel.batch, (target, left.form))
    column_loops = collapse(columns, written) or [Loop(_nothing("columns"), 1, False)]
    column_loop = column_loops[-1]
    panel = (*column_loop.collapsed, column_loop.axis) if columns else ()
    outer = tuple(sorted((*outer, *(a for a in columns if a not in panel)), key=lambda a: a.extent is not None))
    row_loops = tuple(collapse(rows, written))
    local = host.value[0] in kernel.local
    stored_whole = single_stride(spans(panel, (target,))) in (0, 1)
    direct = not local and stored_whole and single_stride(spans(rows, (target,))) is not None
    return Plan(
        kernel, left, right, host.value[0], target, outer, rows, panel, depth, row_loops, column_loop, direct,
        packing="table", in_place=False, dot=False, tables=False, depth_block=0, row_block=None, depths_first=False,
        strips_first=False, turned=turned,
    )  # fmt: skip


def _turns(plan: Plan) -> bool:
    """True if the left operand should be the packed one: a sum over examples whose packed operand would be a window.

    Its columns are then contiguous along the depth, and turning squares of them is cheap where many rows use the panel.
    The target, small beside the depth, is stored column by column.
    """
    found, last = spans(plan.depth, (plan.left.form,)), single_stride(spans(plan.rows, (plan.left.form,)))
    size, batch = count(plan.rows)
    windows, any_batch = count(plan.columns)
    if plan.outer or batch or any_batch or last is None or not count(plan.depth)[1] or _packing(plan) != "table":
        return False
    if found[-1].strides != (1,) or found[-1].size < 2 * TURNED_LANES or windows < 2 * TURNED_LANES:
        return False
    vectors = -(-size // TURNED_LANES)
    turned = vectors * (1 / 0.95 + 6 / windows)
    length = _run(plan)
    along_runs = size / TURNED_LANES * (-(-length // TURNED_LANES) * TURNED_LANES) / length / 0.84 if length else turned + 1
    return turned < along_runs


def _far_apart(plan: Plan) -> bool:
    """True if the columns are windows that have to be packed element by element, or in short stretches."""
    return bool(plan.right_columns) and _packing(plan) == "table" and not count(plan.rows)[1]


def _turns_back(plan: Plan, turned: Plan) -> bool:
    """True if the left operand should be the packed one, and sums be turned before they are stored.

    Its panel serves all examples; windows are read where they lie, one number at a time. The costs count operations on
    vectors for each one that is needed; those of packing are measured.
    """
    rows, depth = count(plan.rows)[0], count(plan.depth)
    if set(turned.columns) != set(plan.rows) or depth[1] or count(plan.columns)[1] or _packing(turned) != "transposed":
        return False
    last = plan.right_columns[-1]
    lanes = TURNED_LANES
    stretch = last.size if last.strides == (1,) else 1
    pieces = -(-stretch // lanes) * lanes / stretch if single_stride(plan.left_rows) is not None else math.inf
    packed = 1 + (PACKED_STRETCH if stretch >= 3 else PACKED_ELEMENTS) / rows
    lost = -(-rows // lanes) * lanes / rows
    return lost + TURNED_SQUARE / depth[0] + 0.1 < min(pieces, packed)


def _packing(plan: Plan) -> Packing:
    columns, depth = single_stride(plan.right_columns), single_stride(plan.right_depth)
    if columns in (0, 1) and count(plan.columns) != (1, False):
        return "rows"
    return "transposed" if columns is not None and (depth == 1 or plan.turned) else "table"


def _with_tiles(plan: Plan) -> Plan:
    columns, depth = single_stride(plan.right_columns), single_stride(plan.right_depth)
    packing = _packing(plan)
    # Vectors of columns that lie apart are read in place where the panel would serve few rows only.
    size, batch = count(plan.rows)
    few_rows = not batch and size <= VECTOR_ROWS
    last = plan.right_columns[-1] if plan.right_columns else None
    apart = packing == "table" and few_rows and last is not None and last.strides == (1,) and last.size >= 8
    pieces = last.size if apart and last is not None and single_stride(plan.left_rows) is not None else 0
    in_place = packing == "rows" or apart
    left_steps_rows = single_stride(plan.left_rows) is not None
    left_steps = left_steps_rows and single_stride(plan.left_depth) is not None
    tables = not left_steps or apart or plan.turned or (in_place and depth is None)
    run = _run(plan) if packing == "table" and left_steps_rows else 0
    dot = packing == "transposed" and not plan.turned and left_steps and single_stride(plan.left_depth) == 1
    if run:
        packing, in_place, tables, pieces = "runs", False, True, 0
    if pieces and plan.kernel.epilogue:
        # An epilogue would wait for what has just been stored under masks: whole vectors of sums are kept aside.
        plan = replace(plan, direct=False)
    (size, batch), most = count(plan.depth), plan.limits.depth_block
    depth_block = most - 16 if batch else _balanced(size, most, 16)
    if run:
        size, depth_block = size // run, max(1, RUN_BLOCK // run)
    blocks = batch or size > depth_block
    row_block, strips_first = _row_block(plan, blocks)
    serial_rows = _turned_rows(plan, 1) if plan.turned else row_block
    # Where units share the operands, a block of them stays in cache while all units use it.
    target = (*plan.outer, *plan.rows, *plan.columns)
    streamed = packing in ("rows", "transposed") and not plan.turned and not strips_first and goes_by(target, plan.depth)
    depths_first = blocks and plan.direct and (packing == "table" or streamed) and not any(a.extent is None for a in plan.outer)
    if depths_first and streamed:
        depth_block = block_of(plan.rows, plan.columns, depth_block)
    left_lines = depths_first and streamed and single_stride(plan.left_rows) == 1 and not tables
    return replace(
        plan, packing=packing, dot=dot, in_place=in_place, tables=tables, depth_block=depth_block, row_block=row_block, run=run,
        pieces=pieces, strips_first=strips_first, depths_first=depths_first, serial_rows=serial_rows,
        prefetch=packing in ("rows", "transposed") and None not in (columns, depth) and not plan.turned
        and _large(plan.columns, plan.depth),
        prefetch_target=plan.direct and _large(plan.rows, plan.columns), prefetch_left=left_lines,
    )  # fmt: skip


def _with_halo(plan: Plan) -> Plan:
    """Leave out depths that meet zeros only, where that pays; strips may have to be lower for it."""
    halo = plan.kernel.halo
    tabled = plan.packing == "table" and plan.tables and not plan.turned and not plan.depths_first
    if halo is None or not tabled or not plan.columns or plan.columns[0] != halo.outer or halo.inner not in plan.depth:
        return plan
    if count(plan.depth)[1] or count(plan.columns)[1]:
        return plan
    each = UNIT_COST / (count(plan.rows)[0] * count(plan.depth)[0])
    choices = (1, 2, 3) if plan.pieces else (3,)
    cost, vectors = min((_products(plan, halo, v) + each / v, -v) for v in choices)
    if cost > MOST_PRODUCTS + each / MOST_VECTORS:
        return plan
    depth = (halo.inner, *(a for a in plan.depth if a != halo.inner))
    return replace(plan, halo=halo, depth=depth, piece_vectors=-vectors)


def _products(plan: Plan, halo: Halo, vectors: int) -> float:
    """The part of the products that is left in strips of so many vectors, weighed by what they cost there."""
    columns, row = count(plan.columns)[0], count(plan.columns[1:])[0]
    width = vectors * TURNED_LANES
    if plan.pieces:
        each = -(-plan.pieces // TURNED_LANES)
        total = columns // plan.pieces * each
        strips = -(-total // vectors)
        width = -(-total // strips) * plan.pieces // each
    extent = halo.inner.extent or 1
    left = 0
    for column in range(0, columns, width):
        last = min(column + width, columns) - 1
        rows = range(column // row, last // row + 1)
        kept = {k for h in rows for k in halo.met(h)}
        left += (last + 1 - column) * len(kept)
    return left / (columns * extent) * STRIP_COST[vectors]


def _run(plan: Plan) -> int:
    """The length of the runs to sum along: 0 if there are none, or if packing costs less."""
    found = spans(plan.depth, (plan.left.form, plan.right.form))
    rows, batch = count(plan.rows)
    if not found or found[-1].strides != (1, 1) or found[-1].batch or batch:
        return 0
    length, lanes = found[-1].size, 16
    along_runs = rows / lanes * (-(-length // lanes) * lanes) / length / 0.9
    packed = 1.3 + rows / lanes / 0.95
    return length if length >= 6 and along_runs < packed else 0


def _large(*groups: Sequence[Axis]) -> bool:
    """True if a matrix of fixed size is far beyond the second-level cache."""
    size, batch = count([a for axes in groups for a in axes])
    return not batch and size >= LARGE_MATRIX


def _row_block(plan: Plan, blocks: bool) -> tuple[int | None, bool]:
    """Rows of a unit of work (``None``: all), and whether neighbouring units go along the columns.

    Enough units to share out, and panels that pay for themselves; rows whose block of depth fills the second-level cache
    are cut, and all strips use one block of them before the next.
    """
    if plan.turned:
        return _turned_rows(plan, 1 if plan.outer else 2), False
    if not plan.direct and blocks:
        return LOCAL_ROWS, False
    most, strips_first = _most_rows(plan)
    size, batch = count(plan.rows)
    return (most if batch or most is None else _balanced(size, most, ROW_STEP)), strips_first


def _most_rows(plan: Plan) -> tuple[int | None, bool]:
    size, batch = count(plan.rows)
    if plan.limits.row_block is not None:
        return plan.limits.row_block, False
    rows = size * (USUAL_BATCH if batch else 1)
    others, others_batch = count((*plan.outer, *plan.columns))
    strips = max(1, others * (USUAL_BATCH if others_batch else 1) // 48)
    if strips >= 16 and (rows > MANY_ROWS or batch):
        return (LARGE_ROWS if batch else MANY_ROWS), True
    if strips >= 16 or rows <= 96:
        return None if not batch else 960, False
    return (192 if rows >= 768 else 48), False


def _turned_rows(plan: Plan, threads: int) -> int:
    """Rows that share a panel of turned squares: enough to pay for it, and a unit of work for each of so many threads."""
    size, _ = count(plan.rows)
    blocks = max(-(-size // TURNED_ROWS), threads if size >= 96 and count(plan.columns)[0] <= 48 else 1)
    step = WIDEST if plan.stored else 8
    return (size + step * blocks - 1) // (step * blocks) * step


def _balanced(size: int, limit: int, step: int) -> int:
    """The size of blocks of about equal size, none above the limit, in whole steps."""
    if size <= limit:
        return size
    blocks = -(-size // limit)
    each = -(-size // blocks)
    return min(limit, -(-each // step) * step)


def _host(kernel: Contraction, writer: ExpressionWriter) -> Expr:
    """The access at which sums may be added up: the target's, or that of a result which the epilogue only writes."""
    statement = kernel.statement
    if statement.target not in kernel.local:
        return target_load(writer, statement)
    read = {e.value[0] for s in kernel.epilogue for e in loads(s.body)} | {kernel.left.value[0], kernel.right.value[0]}
    for s in kernel.epilogue:
        described = writer.arguments.tensors[s.target]
        own = {*kernel.local, *(other.target for other in kernel.epilogue if other is not s)}
        whole = one_to_one(s) and set(s.axes) == set(statement.axes)
        if described.kind == "real" and whole and not s.accumulate and s.target not in read | own:
            return target_load(writer, s)
    return target_load(writer, statement)


def _swapped(target: Affine, rows: Sequence[Axis], columns: Sequence[Axis]) -> bool:
    """True if the rows, not the columns, are contiguous in the target."""
    return any(target.factor(a) == 1 for a in rows) and not any(target.factor(a) == 1 for a in columns)


def _elementwise_uses(kernel: Contraction, writer: ExpressionWriter) -> Uses:
    """How the target and the epilogue use their axes: what the product reads does not matter here."""
    target = target_load(writer, kernel.statement)
    own = uses(writer, kernel.epilogue)
    form = address_form(target, writer.layout(kernel.statement.target)[0])
    return Uses((form, *own.forms), own.targets, own.values)


def _nothing(name: str) -> Axis:
    return Axis(name, 1)
