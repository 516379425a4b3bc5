"""A contraction as a kernel in C: ``target (= | +=) sum(left * right, depth)``, then its epilogue.

The sums of a tile of rows and columns stay in registers over a block of depth. The right operand is read from panels,
which are packed where that pays; reading it at any affine address, packing makes a convolution a product of matrices
without ever building that matrix. The left operand is read where it lies. See `contraction_plan` for the choices, and
``templates/c/contraction_*.j2`` for the tiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from bpcompile.emit.c.access import index_text, offset
from bpcompile.emit.c.affine import Affine
from bpcompile.emit.c.contraction_across import across_text, copied_example, own_copy
from bpcompile.emit.c.contraction_axes import count, count_text, digits, odometer, offset_text, single_stride, spans
from bpcompile.emit.c.contraction_epilogue import finish_tile
from bpcompile.emit.c.contraction_example import one_row
from bpcompile.emit.c.contraction_panels import pack_text, panel_elements, reads_panels
from bpcompile.emit.c.contraction_plan import ROW_STEP, Operand, Plan, make_plan
from bpcompile.emit.c.contraction_tiles import FAMILIES, joined, tiles_across, tiles_of
from bpcompile.emit.c.equations import equations
from bpcompile.emit.c.kernel_text import Arguments, KernelText, Phase, mangled
from bpcompile.emit.c.limits import DEFAULTS, Limits
from bpcompile.emit.c.loops import work
from bpcompile.emit.c.scope import ExpressionWriter, Memory, Scope
from bpcompile.emit.templates import environment
from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Tensor
from bpcompile.program.schedule_types import Contraction, Pack, Place


def emit_contraction(
    kernel: Contraction,
    places: Mapping[str, Place],
    tensors: Mapping[str, Tensor],
    dtype: str,
    name: str,
    limits: Limits = DEFAULTS,
) -> KernelText:
    """Write a contraction as a kernel.

    Parameters
    ----------
    kernel : Contraction
    places : mapping of str to Place
    tensors : mapping of str to Tensor
    dtype : str
        ``float32`` or ``float64``.
    name : str
        A C identifier.
    limits : Limits
        Where the ways to compute it part.
    """
    written = {s.target for s in (kernel.statement, *kernel.epilogue)} - kernel.local
    writer = ExpressionWriter(dtype, Arguments(tensors, places, written))
    writer.local.update({t: _local_memory(tensors[t]) for t in sorted(kernel.local)})
    if copy := kernel.copy:
        writer.local[copy.target] = own_copy(writer, places[copy.target].strides, tensors[copy.target].shape)
    plan = make_plan(kernel, writer, limits)
    if kernel.across or any(count(axes)[1] for axes in (plan.rows, plan.columns, plan.depth)):
        writer.arguments.n()
    across = across_text(kernel, writer)
    data, needed = _template_data(plan, writer)
    body = environment().get_template("c/contraction_kernel.j2").render(data, across=across)
    units, tiles = _units_text(plan), tiles_of(plan, str(data["family"]), dtype)
    if across:
        units = f"(BP_ACROSS(n, {across.gain}) ? BP_PARTS(n, LANES) * {across.lines} : {units})"
        needed += [part for part in ("tables", "across") if part not in needed]
        tiles = joined(tiles, tiles_across(across.rows, dtype))
    return KernelText(
        name,
        writer.arguments.in_order(),
        (Phase(body, units, _work_text(plan)),),
        equations(kernel),
        tuple(writer.names),
        (*(_helper(part) for part in needed), *writer.helpers),
        tuple(part for part in needed if part in FAMILIES),
        tiles,
        _dot_depth(plan),
    )


def emit_pack(kernel: Pack, places: Mapping[str, Place], tensors: Mapping[str, Tensor], dtype: str) -> KernelText:
    """Write a `Pack` as a kernel: its units are panels. It does nothing where the contraction does not take them."""
    product = replace(kernel.contraction, panels=kernel.panels)
    writer = ExpressionWriter(dtype, Arguments(tensors, places, {kernel.panels}))
    writer.local.update({t: _local_memory(tensors[t]) for t in sorted(product.local)})
    plan = make_plan(product, writer)
    name = f"pack_{mangled(plan.right.tensor).rstrip('_')}"
    if not reads_panels(plan):
        return KernelText(name, (), (Phase(""),), equations(kernel))
    unit, _ = _outer_scope(plan, Scope(writer))
    columns, right = count_text(plan.columns), _operand_text(plan, plan.right, unit)
    body = pack_text(plan, _width_text(plan), columns, right, writer.arguments.pointer(kernel.panels))
    phase = Phase(body, _strips_text(plan, columns), str(count(plan.columns)[0] * count(plan.depth)[0]))
    helpers = tuple(_helper(part) for part in ("tiles", "shuffles", "panels"))
    return KernelText(name, writer.arguments.in_order(), (phase,), equations(kernel), tuple(writer.names), helpers)


def _local_memory(tensor: Tensor) -> Memory:
    """A tensor that is never stored; its strides only tell which axes are neighbours."""
    strides = [math.prod(extent or 1 for extent in tensor.shape[k + 1 :]) for k in range(len(tensor.shape))]
    return Memory("", tuple(strides), tensor.shape, "real")


def _template_data(plan: Plan, writer: ExpressionWriter) -> tuple[dict[str, object], list[str]]:
    root = Scope(writer)
    unit, outer_lines = _outer_scope(plan, root)
    copy = plan.kernel.copy
    left = _operand_text(plan, plan.left, unit)
    panels = writer.arguments.pointer(plan.kernel.panels) if reads_panels(plan) else ""
    if panels:
        plan = replace(plan, in_place=False, dot=False, prefetch=False)
    right = "" if panels else _operand_text(plan, plan.right, unit)
    target = "" if not plan.direct else _place_text(plan, writer, unit)
    finish = finish_tile(plan, writer, unit) if plan.stored is None else []
    finish_back = finish_tile(plan.stored, writer, unit, "(column + r)", "(top + j)", "high") if plan.stored else []
    tables = plan.tables
    family = "steps" if not tables else "rows" if single_stride(plan.left_rows) is None else "tables"
    family = "turned" if plan.turned else family
    right_step = single_stride(plan.right_depth)
    right_table = right_step is None or plan.turned or (tables and plan.in_place)
    table_start = " + first" if plan.tables_once else ""
    right_from = f"{panels} + strip * {panel_elements(plan)} + first * WIDTH" if panels else "panel"
    if plan.in_place:
        start = "" if plan.packing == "table" else " + column"
        right_from = f"packed ? panel : right{start}{'' if tables else f' + first * {right_step}'}"
    products = family == "steps" and plan.packing == "rows" and plan.direct and not finish and not panels
    single = products and not plan.outer and count(plan.depth) == (1, True) and not count(plan.columns)[1]
    own = Scope(writer)
    example = [] if panels or family != "steps" else one_row(plan, own, _outer_scope(plan, own)[0], left, right)
    data = {
        "root": root.lines,
        "outer": [*outer_lines, *unit.lines],
        "finish": finish,
        "finish_back": finish_back,
        "halo": _halo_lines(plan),
        "right_fixed": not copy and not any(plan.right.form.factor(a) for a in plan.outer),
        "copy": copied_example(copy, writer, unit, plan.outer) if copy else None,
        "width": _width_text(plan),
        "strips": _strips_text(plan, "columns"),
        "pieces": plan.pieces,
        "by_pieces": _by_pieces_text(plan),
        "piece_start": offset_text(plan.right_columns, "start") or "0",
        "rows": count_text(plan.rows),
        "columns": count_text(plan.columns),
        "depths": _depths_text(plan),
        "run": plan.run,
        "row_block": _row_block_text(plan),
        "even_rows": plan.direct and not plan.turned and count(plan.rows)[1] and plan.row_block is not None,
        "block_step": ROW_STEP,
        "depth_block": plan.depth_block,
        "depths_first": plan.depths_first,
        "strips_first": plan.strips_first,
        "sum_rows": "ROWS" if (plan.blocks and not plan.direct) or finish_back else "BP_TILE_ROWS",
        "left": left,
        "right": right,
        "target": target,
        "panels": panels,
        "direct": plan.direct,
        "target_width": plan.row_width,
        "accumulate": plan.kernel.statement.accumulate,
        "packing": plan.packing,
        "in_place": plan.in_place,
        "in_place_text": _in_place_text(plan, writer.dtype),
        "dot": plan.dot,
        "turned": plan.turned,
        "single": single,
        "example": example,
        "prefetch": plan.prefetch,
        "prefetch_target": plan.prefetch_target,
        "prefetch_left": plan.prefetch_left,
        "dot_rows": plan.dot_rows,
        "tables": tables,
        "family": family,
        "blocks": plan.blocks,
        "left_row": offset_text(plan.left_rows, "index") or "0",
        "left_step": single_stride(plan.left_depth),
        "right_step": right_step,
        "row_step": single_stride(plan.left_rows),
        "right_first": "0" if right_table else f"first * {right_step}",
        "right_from": right_from,
        "right_width": f"packed ? WIDTH : {right_step}" if plan.in_place else "WIDTH",
        "right_table": f"packed ? inside : rights{table_start}" if plan.in_place else "inside",
        "lefts": f"lefts{table_start}",
        "rights": f"rights{table_start}" if right_table else "NULL",
        "target_column": "column" if single_stride(spans(plan.columns, (plan.target,))) else "0",
        "panel_depth": -(-plan.depth_block // 16) * 16 + (16 if plan.turned else 0),
        "column_step": single_stride(plan.right_columns),
        "table": _tables(plan, right_table),
    }
    needed = ["tiles", "shuffles", "sums", "runs"] if plan.run else ["tiles", family, "shuffles", "panels"]
    needed += ["sums", "dots"] if plan.dot else ["pieces"] if plan.pieces else ["single"] if single else []
    needed += ["step_row"] if example and not plan.dot else []
    return data, needed


@cache
def _helper(part: str) -> str:
    """Functions and macros that tiles use: the same text in every kernel."""
    return environment().get_template(f"c/contraction_{part}.j2").render()


def _outer_scope(plan: Plan, root: Scope) -> tuple[Scope, list[str]]:
    """Bind the axes that the units of work count, by dividing what is left of the unit's number."""
    writer = root.writer
    sizes = [a.extent or 1 for a in plan.outer]
    names = {a: writer.named(a.name) for a in plan.outer}
    lines = [
        f"const ptrdiff_t {names[a]} = {text};" for a, text in zip(plan.outer, digits(sizes, "rest"), strict=True)
    ]
    every = {s.target for s in (plan.kernel.statement, *plan.kernel.epilogue)}
    single = dict.fromkeys(_size_one_axes(plan), "0")
    return root.child({**names, **single}, writes=frozenset(every)), lines


def _size_one_axes(plan: Plan) -> list[Axis]:
    kernel = plan.kernel
    return [a for a in (*kernel.batch, *kernel.rows, *kernel.columns, *kernel.depth) if a.extent == 1]


def _outside_tile(plan: Plan, form: Affine) -> Affine:
    """An address without what rows, columns and depth add to it."""
    inner = {*plan.rows, *plan.columns, *plan.depth}
    return Affine(form.constant, tuple((t, c) for t, c in form.terms if t.op != "axis" or t.value not in inner))


def _operand_text(plan: Plan, operand: Operand, unit: Scope) -> str:
    pointer = unit.writer.memory(operand.tensor).pointer
    return offset(pointer, index_text(unit, _outside_tile(plan, operand.form), ()))


def _place_text(plan: Plan, writer: ExpressionWriter, unit: Scope) -> str:
    pointer = writer.memory(plan.host).pointer
    return offset(pointer, index_text(unit, _outside_tile(plan, plan.target), ()))


def _in_place_text(plan: Plan, dtype: str) -> str:
    """C condition under which contiguous columns are read where they lie."""
    size = 4 if dtype == "float32" else 8
    stride = max((s.strides[0] for s in plan.right_depth), default=0) * size
    depth = 16 if stride % 1024 == 0 else plan.limits.packed_depth
    return f"rows <= {plan.limits.packed_rows} || depths <= {depth}"


def _width_text(plan: Plan) -> str:
    """C text of the columns of a panel."""
    columns, batch = count(plan.columns)
    if batch:
        return "BP_TILE_VECTORS * LANES"
    vectors = f"BP_PANEL_VECTORS({columns})"
    if plan.pieces:
        vectors = f"({_by_pieces_text(plan)} ? BP_PIECE_VECTORS({columns}, {plan.pieces}, {plan.piece_vectors}) : {vectors})"
    return f"{vectors} * LANES"


def _strips_text(plan: Plan, columns: str) -> str:
    """C text of the number of panels that cover some columns."""
    width = _width_text(plan)
    whole = f"BP_PARTS({columns}, {width})"
    if not plan.pieces:
        return whole
    return f"({_by_pieces_text(plan)} ? BP_PARTS(BP_PIECES({columns}, {plan.pieces}), {width} / LANES) : {whole})"


def _row_block_text(plan: Plan) -> str:
    """C text of the rows of a unit of work; empty for all of them."""
    if plan.row_block is None:
        return ""
    return str(plan.row_block) if plan.serial_rows == plan.row_block else f"(BP_SERIAL ? {plan.serial_rows} : {plan.row_block})"


def _by_pieces_text(plan: Plan) -> str:
    return f"BP_BY_PIECES({plan.pieces}, {count_text(plan.rows)})"


def _halo_lines(plan: Plan) -> list[str]:
    """C statements that find the stretch of depth in which a strip of columns meets more than zeros."""
    halo = plan.halo
    if halo is None:
        return []
    row, extent = count(plan.columns[1:])[0], halo.inner.extent or 1
    each = count(plan.depth)[0] // extent
    top, bottom = f"column / {row}", f"(column + here - 1) / {row}"
    if halo.sign == 1:
        near, far = f"{halo.low} - {bottom}", f"{halo.high} - {top}"
    else:
        near, far = f"{top} + {1 - halo.high}", f"{bottom} + {1 - halo.low}"
    return [
        f"ptrdiff_t near = {near}, far = {far};",
        "near = near > 0 ? near : 0;",
        f"far = far < {extent} ? far : {extent};",
        f"if (near >= far) near = 0, far = {extent};",
        f"const ptrdiff_t depth_from = near * {each}, depth_to = far * {each};",
    ]


def _dot_depth(plan: Plan) -> int:
    """A number that divides the depth of the plan's sums along it; 0 where lanes never run along the depth."""
    return count(plan.depth)[0] if plan.dot else 0  # for each example, where the depth has the batch


def _depths_text(plan: Plan) -> str:
    size, batch = count(plan.depth)
    size //= max(plan.run, 1)
    return str(size) if not batch else "n" if size == 1 else f"n * {size}"


def _tables(plan: Plan, right_table: bool) -> dict[str, object]:
    """Statements that fill tables of addresses along the depth (and, for panels, along the columns)."""
    needed: dict[str, object] = {"left": plan.tables, "right": right_table, "once": plan.tables_once}
    needed["size"] = count(plan.depth)[0] if plan.tables_once else "DEPTH"
    depth = {0: "left_at"} if plan.tables else {}
    if right_table:
        depth[1] = "right_at"
    needed["depth_start"], needed["depth_next"] = odometer(plan.both_depth, depth, "d", "first")
    needed["column_start"], needed["column_next"] = odometer(plan.right_columns, {0: "c"}, "e", "column")
    return needed


def _units_text(plan: Plan) -> str:
    size, batch = count(plan.outer)
    parts = [str(size) if not batch else f"n * {size}", _strips_text(plan, count_text(plan.columns))]
    if plan.row_block is not None:
        parts.append(f"BP_PARTS({count_text(plan.rows)}, {_row_block_text(plan)})")
    return " * ".join(p for p in parts if p != "1") or "1"


def _work_text(plan: Plan) -> str:
    outputs, per_output, batch = 1, 2, 0
    for axes in (plan.outer, plan.rows, plan.columns, plan.depth):
        size, by_n = count(axes)
        outputs, batch = outputs * size, batch + by_n
    depth = count(plan.depth)[0]
    extra = sum(work(s.body) for s in plan.kernel.epilogue)
    operations = float(outputs * per_output + outputs // max(depth, 1) * extra)
    return f"{operations!r}" + " * (double)n" * min(batch, 1)
