"""Spec files, data and weights as bytes that nobody should write: an error of ours, soon, and nothing is executed."""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.arrays import ArraySpec
from bpcompile.errors import BPCompileError
from bpcompile.language.spec import SpecFile, load_spec
from bpcompile.training.data import load_data
from tests.abuse.spec_fuzz import fuzz

SPEC = """
[inputs]
x = [4]
[targets]
y = { classes = 3 }
[network]
loss = "softmax_cross_entropy"
[[layers]]
name = "a"
kind = "dense"
units = 3
"""


def spec(folder: Path, data: bytes) -> SpecFile:
    path = folder / "net.toml"
    path.write_bytes(data)
    return load_spec(path)


@pytest.mark.parametrize("change", [lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b"\n", b"\r\n")], ids=["mark", "crlf"])
def test_files_of_other_editors(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    assert spec(tmp_path, change(SPEC.encode())).network.parameters


LAYER = '[[layers]]\nname = "{}"\nkind = "{}"\nfrom = {}\n'
BAD_SPECS: dict[str, bytes] = {
    "zero bytes": SPEC.replace("dense", "den\0se").encode(),
    "latin": SPEC.replace("dense", "dénse").encode("latin-1"),
    "sixteen bits": SPEC.encode("utf-16"),
    "nothing": b"",
    "brackets": (SPEC + "b = " + "[" * 50000 + "]" * 50000).encode(),
    "tables in tables": (SPEC + "b = " + "{a=" * 50000 + "1" + "}" * 50000).encode(),
    "a key of many parts": ("a" + ".a" * 50000 + " = 1\n" + SPEC).encode(),
    "a long word": (SPEC + "b" * 3_000_000).encode(),
    "a long integer": SPEC.replace("units = 3", "units = " + "9" * 5000).encode(),
    "a long file": (SPEC + "#" * 5_000_000).encode(),
    "a table twice": (SPEC + "[inputs]\nz = [3]").encode(),
    "a layer twice": (SPEC + '[[layers]]\nname = "a"\nkind = "dense"\nunits = 3').encode(),
    "a layer that reads itself": (SPEC + 'from = "a"').encode(),
    "layers in a circle": (SPEC + 'from = "b"\n' + LAYER.format("b", "flatten", '"a"')).encode(),
    "doubled sixty times": (
        SPEC + "".join(LAYER.format(f"b{k}", "concatenate", [f"b{k - 1}" if k else "a"] * 2) for k in range(60))
    ).replace("'", '"').encode(),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_SPECS)
def test_spec_files_are_refused_soon(what: str, tmp_path: Path) -> None:
    start = time.process_time()
    with pytest.raises(BPCompileError) as caught:
        spec(tmp_path, BAD_SPECS[what])
    assert len(str(caught.value)) > 20 and time.process_time() - start < 5


def test_places_that_hold_no_spec(tmp_path: Path) -> None:
    os.symlink("loop.toml", tmp_path / "loop.toml")
    for path in (tmp_path, tmp_path / "loop.toml", tmp_path / "none.toml", "a\0b", "a" * 5000, "/dev/zero"):
        with pytest.raises(BPCompileError):
            load_spec(path)


X, Y = ArraySpec("x", (4,)), ArraySpec("y", (), True, 3)


@pytest.mark.parametrize("source", ["", "\0.csv", "a" * 5000 + ".csv", "~nobody-of-that-name/x.csv", "sklearn:os", "mlxtend:", "x.pkl",
                                    "http://host/x.csv", "/etc/passwd"])  # fmt: skip
def test_sources_that_are_none(source: str, tmp_path: Path) -> None:
    with pytest.raises(BPCompileError):
        load_data(source, tmp_path, [X], [Y])


def test_damaged_archives(tmp_path: Path) -> None:
    """Cut short, or with bytes changed: read, or refused."""
    path = tmp_path / "d.npz"
    np.savez(path, x=np.ones((6, 4), np.float32), y=np.array([0, 1, 2, 0, 1, 2]))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for k in range(100):
        damaged = bytearray(whole)
        if k % 2:
            damaged = damaged[: rng.integers(len(damaged))]
        else:
            for place in rng.integers(len(damaged), size=3):
                damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            load_data("d.npz", tmp_path, [X], [Y])
        except BPCompileError:
            refused += 1
    assert refused > 50


def _safetensors(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _tensors(dtype: str, size: int, shape: tuple[int, ...] = (3, 4), name: str = "a.W") -> bytes:
    end = 12 * size
    return _safetensors({
        name: {"dtype": dtype, "shape": shape, "data_offsets": [0, end]},
        "a.b": {"dtype": dtype, "shape": [3], "data_offsets": [end, end + 3 * size]},
    }, b"\0" * (15 * size))  # fmt: skip


BAD_WEIGHTS: dict[str, bytes] = {
    "empty": b"",
    "a header longer than the file": struct.pack("<Q", 2**40) + b"{}",
    "a header of all bits": struct.pack("<Q", 2**64 - 1) + b"{}",
    "a header in a header": _safetensors(b"[" * 100000),
    "tensors that overlap": _safetensors({k: {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]} for k in "ab"}, b"\0" * 12),
    "a shape beyond all memory": _tensors("F32", 4, (2**62, 4)),
    "bfloat16": _tensors("BF16", 2),
    "eight bits": _tensors("F8_E4M3", 1),
    "another shape": _tensors("F32", 4, (4, 3)),
    "another network": _tensors("F32", 4, name="b.W"),
    "a pickle": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
}


@pytest.mark.parametrize("what", BAD_WEIGHTS)
def test_weights_are_refused(what: str, tmp_path: Path) -> None:
    m = bp.compile(spec(tmp_path, SPEC.encode()).network, backend="numpy")
    path = tmp_path / "w.safetensors"
    path.write_bytes(BAD_WEIGHTS[what])
    with pytest.raises(BPCompileError):
        m.load(path)
    path.write_bytes(_tensors("F32", 4))
    assert not m.load(path)["a.W"].any()


def test_weights_that_are_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(BPCompileError):
        bp.compile(spec(tmp_path, SPEC.encode()).network, backend="numpy").load_state_dict(None)  # type: ignore[arg-type]


def test_changed_specs() -> None:
    """A part of the long run of `tests.abuse.spec_fuzz`."""
    figures = fuzz(5_000_000, 60)
    assert figures.failures == 0, figures.findings
    assert figures.read and figures.refused
