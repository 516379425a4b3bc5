"""A tiny C function to build, and what the tests of building it share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bpcompile import build as build_module
from bpcompile.build import Source, compiler_available, default_flags

FLAGS = default_flags("-O1")

needs_compiler = pytest.mark.skipif(not compiler_available(), reason="there is no C compiler")


def tiny(constant: int = 1, prefix: str = "tiny") -> Source:
    """A function that adds a constant to numbers."""
    signature = f"void {prefix}_add(double *x, long n)"
    return Source(
        prefix=prefix,
        c_text=f'#include "{prefix}.h"\n\n{signature}\n{{\n    for (long i = 0; i < n; i++)\n'
        f"        x[i] += {constant};\n}}\n",
        cdef_text=f"{signature};",
        header_text=f"{signature};\n",
        dtype="float64",
    )


def result(extension: Any, prefix: str = "tiny") -> float:
    """What the function makes of 2."""
    x = extension.ffi.new("double[]", [2.0])
    getattr(extension.lib, f"{prefix}_add")(x, 1)
    found: float = x[0]
    return found


def forget() -> None:
    """Let the process forget what it has loaded."""
    build_module._loaded.clear()


def script(path: Path, text: str) -> str:
    """A compiler of our own: it answers --version, and then does what the text says."""
    path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo "fake 1.0"; exit 0; fi\n{text}\n')
    path.chmod(0o755)
    return str(path)


def leftovers(path: Path) -> list[str]:
    """What builds that did not end have left in a cache."""
    return [p.name for p in path.iterdir() if p.name.startswith(".building-")] if path.is_dir() else []
