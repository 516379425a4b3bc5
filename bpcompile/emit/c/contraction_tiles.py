"""Which tiles a contraction calls, on each kind of register file: only these are compiled.

A tile is a function for so many rows by so many vectors of columns (by so many columns, where lanes run along the depth).
Rows, columns and blocks are known when the text is written, lanes and registers when it is compiled: the text lists the
tiles for each kind of register file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from bpcompile.emit.c.contraction_axes import count
from bpcompile.emit.c.contraction_panels import reads_panels
from bpcompile.emit.c.contraction_plan import Plan
from bpcompile.emit.templates import environment

Tile = tuple[str, int, int]
"""Its family, rows, and vectors of columns (or columns)."""
Tiles = tuple[frozenset[Tile], ...]
"""Tiles for each of `REGISTER_FILES`."""

WITH_KERNELS: Final = frozenset({"runs"})
"""Families whose tiles are compiled with the kernels: to know the length of a run is worth 2 % of a step of LeNet-5."""
DOT_ROWS: Final = 4
DOT_COLUMNS: Final = (1, 2, 6)
FAMILIES: Final[Mapping[str, tuple[str, str]]] = {
    "steps": ("bp_tile", "bp_tiles"),
    "rows": ("bp_row_tile", "bp_row_tiles"),
    "tables": ("bp_table_tile", "bp_table_tiles"),
    "pieces": ("bp_piece_tile", "bp_piece_tiles"),
    "turned": ("bp_turned_tile", "bp_turned_tiles"),
    "dots": ("bp_dot", "BP_EACH_DOT"),
    "runs": ("bp_run", "BP_EACH_RUN"),
}
"""The families of tiles, by the template of their text: the name of a tile, and of the table (or list) to call them by."""


@dataclass(frozen=True, slots=True)
class RegisterFile:
    """Registers as the text tells them apart: a test of the preprocessor, and the largest tiles.

    ``vector_bytes`` are the widths that vectors can have there; 0 stands for vectors of one number.
    """

    test: str
    rows: int
    vectors: int
    dot_columns: int
    vector_bytes: tuple[int, ...]

    def lanes(self, dtype: str) -> tuple[int, ...]:
        """The lanes that vectors can have."""
        return tuple(b // (4 if dtype == "float32" else 8) or 1 for b in self.vector_bytes)


REGISTER_FILES: Final = (
    RegisterFile("if BP_AVX512", 8, 3, 6, (64,)),
    RegisterFile("elif defined(__aarch64__)", 8, 3, 6, (16, 0)),
    RegisterFile("elif BP_AVX", 6, 2, 2, (32,)),
    RegisterFile("else", 4, 2, 2, (16, 0)),
)


def tiles_of(plan: Plan, family: str, dtype: str) -> Tiles:
    """Give the tiles that a contraction calls; `family` is that of its tiles in registers, if lanes run along the columns."""
    return tuple(
        frozenset(t for lanes in file.lanes(dtype) for t in _tiles(plan, family, file, lanes)) for file in REGISTER_FILES
    )


def tiles_across(rows: int, dtype: str) -> Tiles:
    """Give the tiles of a contraction whose lanes run across examples: where vectors are long, see BP_ACROSS."""
    return tuple(
        frozenset(("tables", h, 1) for h in {min(rows, file.rows), rows % file.rows} if h and max(file.lanes(dtype)) >= 8)
        for file in REGISTER_FILES
    )


def _tiles(plan: Plan, family: str, file: RegisterFile, lanes: int) -> Iterator[Tile]:
    rows, batch = count(plan.rows)
    dot = plan.dot and not reads_panels(plan)
    if plan.run or (dot and (batch or rows <= plan.dot_rows)):
        heights = _heights(plan, None if plan.direct else file.rows)
        yield from _dots(plan, "runs" if plan.run else "dots", heights, file, lanes)
    if plan.run or (dot and not batch and rows <= plan.dot_rows):
        return
    by_pieces = bool(plan.pieces) and file.test == "if BP_AVX512" and _by_pieces(plan.pieces, rows, lanes)
    name = "pieces" if by_pieces else family
    for v in _piece_vectors(plan, file, lanes) if by_pieces else _vectors(plan, file, lanes):
        yield from ((name, r, v) for r in _heights(plan, file.rows))


def _heights(plan: Plan, most: int | None) -> Collection[int]:
    """Rows that are computed at a time, at most so many."""
    rows, batch = count(plan.rows)
    if batch:
        return range(1, (most or 2 * DOT_ROWS) + 1)
    blocks = {min(block or rows, rows) for block in (plan.row_block, plan.serial_rows)}
    segments = {s for block in blocks for s in (block, rows % block)}
    if most is None:
        return {s for s in segments if s}
    return {h for s in segments for h in (min(s, most), s % most) if h}


def _vectors(plan: Plan, file: RegisterFile, lanes: int) -> Collection[int]:
    """Vectors of columns in a panel."""
    if count(plan.columns)[1]:
        return range(1, file.vectors + 1)
    total = -(-count(plan.columns)[0] // lanes)
    return _split(total, _panel_vectors(total, file.vectors))


def _panel_vectors(total: int, most: int) -> int:
    """As many as a tile has, or fewer where that divides the columns more evenly: BP_PANEL_VECTORS."""
    return -(-total // -(-total // most))


def _split(total: int, size: int) -> set[int]:
    return {v for v in (min(size, total), total % size) if v}


def _by_pieces(stretch: int, rows: int, lanes: int) -> bool:
    """The same as BP_BY_PIECES."""
    return rows * (-(-stretch // lanes) * lanes - stretch) <= 5 * stretch


def _piece_vectors(plan: Plan, file: RegisterFile, lanes: int) -> Collection[int]:
    """The same as BP_PIECE_VECTORS, and what is left for the last strip."""
    columns, batch = count(plan.columns)
    if batch:
        return range(1, file.vectors + 1)
    total = columns // plan.pieces * -(-plan.pieces // lanes)
    return _split(total, _panel_vectors(total, min(plan.piece_vectors, file.vectors)))


def _dots(plan: Plan, family: str, heights: Collection[int], file: RegisterFile, lanes: int) -> Iterator[Tile]:
    columns, batch = count(plan.columns)
    if batch:
        strips: Collection[int] = range(1, file.vectors * lanes + 1)
    else:
        strips = _split(columns, _panel_vectors(-(-columns // lanes), file.vectors) * lanes)
    least = 2 if family == "dots" else 1  # one row is summed by as many columns as there are lanes
    rows = {r for height in heights for r in (min(height, DOT_ROWS), height % DOT_ROWS) if r >= least}
    yield from ((family, r, c) for r in rows for c in {c for strip in strips for c in _dot_columns(strip, file)})


def _dot_columns(columns: int, file: RegisterFile) -> set[int]:
    """Columns that are summed at a time: by sixes where there are registers for them, by twos, one by one."""
    found, left = set(), columns
    for c in reversed(DOT_COLUMNS):
        if c <= min(left, file.dot_columns):
            found.add(c)
            left %= c
    return found


def joined(some: Tiles, others: Tiles) -> Tiles:
    """Give the tiles of both."""
    return tuple(a | b for a, b in zip(some, others, strict=True)) if some and others else some or others


def instances(tiles: Tiles, families: Collection[str]) -> list[str]:
    """Give the text of tiles, with the tables of some families by which kernels call them."""
    return [
        _instances(family, tuple(frozenset(t[1:] for t in used if t[0] == family) for used in tiles))
        for family in FAMILIES
        if family in families
    ]


@cache
def _instances(family: str, tiles: tuple[frozenset[tuple[int, int]], ...]) -> str:
    name, table = FAMILIES[family]
    by_columns = family in ("dots", "runs")
    files = [
        (
            file.test,
            sorted(used),
            DOT_ROWS if by_columns else file.rows,
            DOT_COLUMNS if by_columns else tuple(range(1, file.vectors + 1)),
        )
        for file, used in zip(REGISTER_FILES, tiles, strict=True)
    ]
    template = environment().get_template("c/contraction_instances.j2")
    return template.render(family=family, name=name, table=table, files=files)
