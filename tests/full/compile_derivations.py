"""Derivations of all examples: every equation holds, and pdflatex finds no error, no line too wide, nothing undefined.

Run it: python tests/full/compile_derivations.py [spec or module ...]
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpcompile as bp

ROOT = Path(__file__).resolve().parents[2]
COMPLAINT = re.compile(r"!|Overfull|LaTeX Warning: (Reference|There were undefined)")

MODULES: dict[str, Callable[[object], bp.Network]] = {
    "character_lstm": lambda m: m.network(60),  # type: ignore[attr-defined]
    "character_transformer": lambda m: m.network(60),  # type: ignore[attr-defined]
    "gpt2": lambda m: m.network(2, width=48, heads=4, tokens=300, steps=32),  # type: ignore[attr-defined]
    "rumelhart": lambda m: m.network(6, 2, "symmetry"),  # type: ignore[attr-defined]
    "siamese": lambda m: m.network(),  # type: ignore[attr-defined]
}
"""Examples that are modules, with the sizes that they are run with (of GPT-2, its shape in small)."""


def examples(wanted: list[str]) -> Iterator[tuple[str, bp.Network]]:
    """The networks of the given specs and modules, or of all examples."""
    sys.path.insert(0, str(ROOT / "examples"))
    specs = [Path(w) for w in wanted if w.endswith(".toml")] if wanted else sorted((ROOT / "examples").glob("*.toml"))
    for path in specs:
        yield path.name, bp.load_spec(path).network
    for name, make in MODULES.items():
        if not wanted or name in wanted:
            yield f"{name}.py", make(importlib.import_module(name))


def complaints(source: str) -> list[str]:
    """What pdflatex has to say against a document."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "d.tex").write_text(source, encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "d.tex"]
        for _ in range(3):  # tables that run over pages find their widths in three runs
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    found = [line for line in done.stdout.splitlines() if COMPLAINT.match(line)]
    return found or (["pdflatex failed"] if done.returncode else [])


def main(arguments: list[str]) -> int:
    """Compile the derivations of the given examples, or of all."""
    bad: list[str] = []
    for name, network in examples(arguments):
        start = time.perf_counter()
        derivation = bp.derive(network)
        check = derivation.check()
        seconds = time.perf_counter() - start
        found = complaints(derivation.latex())
        wrong = [f"does not hold: {r.equation.label}" for r in check.rows if not r.passed]
        skipped = sum(r.skipped for r in check.rows)
        said = f"{len(check.rows)} equations checked, worst {check.worst:.1e}, {skipped} lines too long, {seconds:.1f} s"
        print(f"{name}: {said}", *found[:5], *wrong, sep="\n    ", flush=True)
        if found or not check.passed:
            bad.append(name)
    print(f"not in order: {', '.join(bad)}" if bad else "all in order")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
