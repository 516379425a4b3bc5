"""Derivations of all examples through pdflatex: no error, no line that is too wide, no undefined reference.

Run it: python tests/full/compile_derivations.py [spec ...]
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import bpcompile as bp

ROOT = Path(__file__).resolve().parents[2]
COMPLAINT = re.compile(r"!|Overfull|LaTeX Warning: (Reference|There were undefined)")


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
    """Compile the derivations of the given specs, or of all examples."""
    bad = 0
    for path in [Path(a) for a in arguments] or sorted((ROOT / "examples").glob("*.toml")):
        derivation = bp.derive(bp.load_spec(path).network)
        check = derivation.check()
        found = complaints(derivation.latex())
        wrong = [r.equation.label for r in check.rows if not r.passed]
        print(f"{path.name}: {len(check.rows)} equations checked, worst {check.worst:.1e}", *found[:5], *wrong, sep="\n    ")
        bad += bool(found or wrong)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
