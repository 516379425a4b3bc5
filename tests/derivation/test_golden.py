"""Whole documents, as they were read and found right. Written anew with the environment variable BPCOMPILE_WRITE_GOLDEN=1."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import bpcompile as bp
from tests.derivation.networks import NETWORKS

FOLDER = Path(__file__).parent / "golden"
SECTIONS = "network,chain,fundamental,layers,general,batch,worked"


@pytest.mark.parametrize("name", ["sigmoid", "cross_entropy", "recurrence", "normalization", "convolution"])
def test_document(name: str) -> None:
    text = bp.derive(NETWORKS[name](), sections=SECTIONS).text()
    path = FOLDER / f"{name}.txt"
    if os.environ.get("BPCOMPILE_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
