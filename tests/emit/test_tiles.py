"""The tiles that are compiled are those that are called: loops of the generated text, gone through here, name each of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bpcompile as bp
from bpcompile.build import default_flags, find_compiler
from bpcompile.driver import analyze, c_module, lower
from bpcompile.emit.c.contraction_tiles import DOT_ROWS, REGISTER_FILES, RegisterFile, tiles_of
from bpcompile.emit.c.source import Source
from bpcompile.nodes.expressions import Axis
from bpcompile.signature import signature_of
from tests.toolchain.tiny import needs_compiler


def plan(rows: int | None, columns: int | None, **others: Any) -> Any:
    """As much of a plan as decides which tiles are called; None is the batch."""
    kernel = SimpleNamespace(panels="")
    found = {"kernel": kernel, "rows": (Axis("r", rows),), "columns": (Axis("c", columns),), "row_block": None, "direct": True,
             "run": 0, "pieces": 0, "dot": False, "dot_rows": 0, "piece_vectors": 3}  # fmt: skip
    found |= others
    return SimpleNamespace(**({"serial_rows": found["row_block"]} | found))


def called(rows: int, columns: int, block: int | None, file: RegisterFile, lanes: int) -> set[tuple[int, int]]:
    """Rows and vectors of the tiles that the loops of a kernel call."""
    vectors = -(-columns // lanes)
    width = -(-vectors // -(-vectors // file.vectors)) * lanes
    found = set()
    for top in range(0, rows, block or rows):
        bottom = min(top + (block or rows), rows)
        for row in range(top, bottom, file.rows):
            for column in range(0, columns, width):
                found.add((min(bottom - row, file.rows), -(-min(columns - column, width) // lanes)))
    return found


@pytest.mark.parametrize("file", REGISTER_FILES, ids=lambda f: f.test)
def test_tiles_are_those_that_the_loops_call(file: RegisterFile) -> None:
    number = REGISTER_FILES.index(file)
    for rows in (*range(1, 20), 96, 97):
        for columns in (*range(1, 70, 3), 128, 400):
            for block in (None, 48, 64):
                listed = tiles_of(plan(rows, columns, row_block=block), "steps", "float64")[number]
                wanted = set().union(*(called(rows, columns, block, file, lanes) for lanes in file.lanes("float64")))
                assert listed == {("steps", r, v) for r, v in wanted}, (rows, columns, block)


@pytest.mark.parametrize("file", REGISTER_FILES, ids=lambda f: f.test)
def test_tiles_serve_one_thread_and_several(file: RegisterFile) -> None:
    listed = tiles_of(plan(150, 16, row_block=79, serial_rows=152), "steps", "float64")[REGISTER_FILES.index(file)]
    lanes = file.lanes("float64")
    wanted = set().union(*(called(150, 16, block, file, each) for block in (79, 152) for each in lanes))
    assert listed == {("steps", r, v) for r, v in wanted}


def test_a_batch_may_have_any_number_of_rows() -> None:
    (listed, *_) = tiles_of(plan(None, 32), "steps", "float64")
    assert listed == {("steps", r, 2) for r in range(1, 9)}
    (listed, *_) = tiles_of(plan(7, None), "steps", "float64")
    assert listed == {("steps", 7, v) for v in (1, 2, 3)}


def test_sums_along_the_depth_take_the_place_of_tiles_for_few_rows() -> None:
    (few, *_) = tiles_of(plan(4, 16, dot=True, dot_rows=9), "steps", "float32")
    assert few == {("dots", 4, 6), ("dots", 4, 2)}
    (many, *_) = tiles_of(plan(10, 16, dot=True, dot_rows=9), "steps", "float32")
    assert {family for family, _, _ in many} == {"steps"}
    (any_number, *_) = tiles_of(plan(None, 16, dot=True, dot_rows=9), "steps", "float32")
    assert {(r, c) for family, r, c in any_number if family == "dots"} == {(r, c) for r in range(2, DOT_ROWS + 1) for c in (2, 6)}


def source(sizes: tuple[int, ...]) -> Source:
    x, y = bp.Input("x", sizes[:1]), bp.Target("y", classes=sizes[-1])
    h: Any = bp.Activation("tanh")(x)
    for size in sizes[1:]:
        h = bp.Dense(size)(h)
    programs = lower(analyze(bp.Network(h, loss=bp.SoftmaxCrossEntropy(h, y))), ("parameters",), None)
    signature = signature_of(bp.Network(h, loss=bp.SoftmaxCrossEntropy(h, y)), programs.predict, programs.gradient, "float64")
    return c_module(programs, signature, "bp_tiles_test")


def test_a_network_brings_the_tiles_of_its_own_sizes_only() -> None:
    text = source((64, 32, 16)).c_text
    first = text[: text.index("static bp_tile_function")]
    assert "BP_TILE(8, 2)" in first
    assert "BP_TILE(8, 1)" not in first


def functions(text: str, part: int, folder: Path) -> dict[str, tuple[bool, bool]]:
    """The functions of tiles that a compiler meets in one part: whether each is static, and whether it has a body."""
    (folder / "x.c").write_text(text)
    command = [*find_compiler().command, *default_flags("-O1"), f"-DBP_PART={part}", "-E", "-P", "x.c"]
    seen = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    found = re.findall(r"([^;{}]*)\bvoid (bp_(?:dot|tile)_\dx\d)\([^)]*\)\s*([{;])", seen)
    return {name: ("static" in before, opened == "{") for before, name, opened in found}


@needs_compiler
def test_one_part_has_the_tiles_and_the_other_calls_them(tmp_path: Path) -> None:
    text = source((64, 32, 10)).c_text
    tiles, kernels, whole = (functions(text, part, tmp_path) for part in (1, 2, 0))
    assert kernels and set(kernels) == set(tiles) == set(whole)
    assert set(tiles.values()) == {(False, True)}
    assert set(kernels.values()) == {(False, False)}
    assert set(whole.values()) == {(True, True)}


@pytest.mark.parametrize(("sizes", "depth"), [((64, 32, 16), 32), ((64, 32, 20, 8), 4), ((64, 9, 16), 1), ((4,), None)])
def test_tails_of_sums_along_the_depth_only_where_a_depth_has_one(sizes: tuple[int, ...], depth: int | None) -> None:
    found = re.findall(r"#define BP_DOT_DEPTH (\d+)", source(sizes).c_text)
    assert found == ([str(depth)] if depth else [])


def test_without_tiles_there_is_one_part() -> None:
    bare = source((4,))
    assert bare.parts == 1 and "BP_PART" not in bare.c_text
    assert source((64, 32, 10)).parts == 2
