"""All tables of docs/performance.md in one go: ``python -m benchmarks.everything``, on a machine that does nothing else.

Each table is measured in a process of its own, for threads and element types are settled before a framework is loaded. Only
the first one tells compile times, and starts with empty caches; for the others torch.compile keeps what it built last time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.document import page


@dataclass(frozen=True)
class Part:
    """A table: its name, the options that make it, and seconds for each contender in each row."""

    name: str
    options: tuple[str, ...]
    seconds: float


PARTS = (
    Part("training", ("--extra",), 1.2),
    Part("two-threads", ("--threads", "2"), 0.5),
    Part("float64", ("--dtype", "float64"), 0.5),
    Part("forward", ("--forward",), 0.4),
)


def main() -> None:
    """Measure what is chosen, tell how long each part took, and write the page of what is there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.everything", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(p.name for p in PARTS)}, profiles; all of them unless given")
    parser.add_argument("--folder", type=Path, default=Path("build/benchmarks"), help="where the figures are kept")
    parser.add_argument("--scale", type=float, default=1.0, help="how much longer than usual everything is measured")
    parser.add_argument("--reference", help="a program that takes a step of GPT-2, see benchmarks/gpt2.py")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if not options.parts or part.name in options.parts:
            reference = ("--reference", options.reference) if options.reference and "--extra" in part.options else ()
            _measure(part, options.folder, options.scale, reference)
    profiles = options.folder / "profiles.json"
    if not options.parts or "profiles" in options.parts:
        subprocess.run([sys.executable, "-m", "benchmarks.profiles", "--json", str(profiles)], check=True)
    files = [options.folder / f"{part.name}.json" for part in PARTS]
    if not files[0].exists():
        parser.error(f"the main table, '{PARTS[0].name}', was not measured yet")
    found = json.loads(profiles.read_text()) if profiles.exists() else ()
    options.out.write_text(page([json.loads(f.read_text()) for f in files if f.exists()], found))


def _measure(part: Part, folder: Path, scale: float, more: tuple[str, ...]) -> None:
    print(f"== {part.name}", flush=True)
    start = time.perf_counter()
    seconds = ("--seconds", f"{part.seconds * scale:g}", "--rounds", "9")
    target = ("--json", str(folder / f"{part.name}.json"))
    kept = {} if "--extra" in part.options else {"TORCHINDUCTOR_CACHE_DIR": str((folder / "torch").absolute())}
    command = [sys.executable, "-m", "benchmarks", *part.options, *more, *seconds, *target]
    subprocess.run(command, check=True, env={**os.environ, **kept})
    print(f"== {part.name} took {time.perf_counter() - start:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
