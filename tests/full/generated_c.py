"""Judge the C of all examples and of many random networks: ``python -m tests.full.generated_c [PART ...] [--random 50]``.

Parts are ``text``, ``needs``, ``warnings``, ``arrays``, ``sanitizers``, ``valgrind`` and ``processors``; all of them unless
some are named. Prints what is wrong, adds the figures to a summary (``--summary``, JSON) and writes docs/generated_c.md from it,
unless only some examples or targets were asked for: a quick look must not take the place of the whole.
Compilers, emulators and processors that are missing are named, and nothing is said about them.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.portable.networks import OPTIMIZERS, WRITTEN, Judged, drawn
from tests.portable.reference import TOLERANCE
from tests.portable.targets import NATIVE, PROCESSORS, SANITIZERS, VALGRIND, Target
from tests.portable.text import differing
from tests.portable.verdicts import COMPILERS, SMALL, computes, needs, stays_inside, warnings

DOCS = Path(__file__).parents[2] / "docs"
DTYPES = ("float32", "float64")
BATCHES = (1, 2, 3, 5, 7, 12, 17)
FIRST_SEED = 400
PAGE = """\
# Generated C: what it was put through

Written by `python -m tests.full.generated_c`. The networks are those of `examples/` (GPT-2 in a small shape) and random
ones, each with its predictions, every gradient there is, and an epoch of training, as C programs without Python around them.

| what | networks | checks | wrong | minutes | date |
| --- | --- | --- | --- | --- | --- |
{rows}

- *No warnings*: `-Wall -Wextra -Wconversion -Wdouble-promotion -Wshadow -Werror`; with `-std=c11 -Wpedantic` and no GNU
  extensions, and with `-std=gnu11` for the least processor and, with one thread, for this one; the pool and the header as well.
- *Needs only mathematics*: the object refers to functions of `math.h`, to `memcpy` and its like, and to nothing else; for
  an ARM Cortex-M4 too, a processor for devices, where 64-bit floats are the compiler's own affair.
- *Within its arrays*: each array lies between two pages that cannot be touched, once at the end of its memory and once at
  the beginning; every batch size from 1 to the network's largest; one thread and two give the same bits.
- *Sanitizers, valgrind, processors*: batches of {batches}, as far as the network's memory and the emulator's patience go; what
  is computed is compared with generated NumPy in float64: it may differ by {tolerance} of the largest
  element of an array (of 1 where all are smaller).
"""



@dataclass(frozen=True)
class Check:
    """One network and what is asked of it; the verdict works in a folder."""

    title: str
    network: str
    verdict: Callable[[Path], list[str]]


def _warnings(networks: Sequence[Judged], dtypes: Sequence[str]) -> Iterator[Check]:
    for compiler in COMPILERS:
        title = f"no warnings, {compiler}"
        if _skipped(title, Target(compiler, (compiler,))):
            continue
        for j, dtype in itertools.product(networks, dtypes):
            optimizers = range(len(OPTIMIZERS)) if j.name == "xor" else (0,)
            yield Check(title, j.name, partial(warnings, j, dtype, compiler, optimizers))


def _arrays(networks: Sequence[Judged], dtypes: Sequence[str]) -> Iterator[Check]:
    for j, dtype in itertools.product(networks, dtypes):
        yield Check("within its arrays", j.name, partial(stays_inside, j, dtype, tuple(range(1, 21))))


def _targets(networks: Sequence[Judged], targets: Sequence[Target], dtypes: Sequence[str]) -> Iterator[Check]:
    for target in targets:
        if _skipped(target.name, target):
            continue
        for j, dtype in itertools.product(networks, dtypes):
            most = j.largest if target.slower == 1 or j.random else min(j.largest, 5)
            yield Check(target.name, j.name, partial(computes, j, dtype, target, tuple(n for n in BATCHES if n <= most)))


def _valgrind(networks: Sequence[Judged], dtypes: Sequence[str]) -> Iterator[Check]:
    few = [j for j in networks if j.name in ("symmetry", "two_inputs", "siamese")]
    return _targets([*few, *[j for j in networks if j.random][:3]], [VALGRIND], dtypes)


def _text(networks: Sequence[Judged], dtypes: Sequence[str]) -> Iterator[Check]:
    different = differing([j.name for j in networks])
    for j in networks:
        yield Check("the same text in three processes", j.name, lambda _, name=j.name: [name] * (name in different))


def _needs(networks: Sequence[Judged], dtypes: Sequence[str]) -> Iterator[Check]:
    for title, command in (("needs only mathematics", NATIVE.command), ("needs only mathematics, Cortex-M4", SMALL)):
        if _skipped(title, Target(title, tuple(command))):
            continue
        for j, dtype in itertools.product(networks, dtypes):
            yield Check(title, j.name, partial(needs, j, dtype, command))


def _skipped(title: str, target: Target) -> bool:
    if target.missing:
        print(f"NOT CHECKED: {title}, because {target.missing}", flush=True)
    return bool(target.missing)


PARTS: dict[str, Callable[[Sequence[Judged], Sequence[str]], Iterator[Check]]] = {
    "text": _text,
    "needs": _needs,
    "warnings": _warnings,
    "arrays": _arrays,
    "sanitizers": lambda networks, dtypes: _targets(networks, SANITIZERS, dtypes[:1]),
    "valgrind": _valgrind,
    "processors": lambda networks, dtypes: _targets([j for j in networks if not j.random], PROCESSORS, dtypes),
}


@dataclass
class Row:
    """The figures of one title; seconds are the processor's, the C compiler's among them."""

    checks: int = 0
    wrong: int = 0
    seconds: float = 0.0
    networks: list[str] = field(default_factory=list)
    date: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"which of {', '.join(PARTS)}")
    parser.add_argument("--random", type=int, default=50, help="how many random networks")
    parser.add_argument("--only", nargs="*", help="these examples only")
    parser.add_argument("--target", help="sanitizers and processors whose name contains this only")
    parser.add_argument("--dtypes", nargs="*", choices=DTYPES, default=DTYPES)
    parser.add_argument("--summary", type=Path, default=Path("runs/generated_c.json"))
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    networks = [j for j in WRITTEN.values() if options.only is None or j.name in options.only]
    networks += [drawn(seed) for seed in range(FIRST_SEED, FIRST_SEED + options.random)]
    options.summary.parent.mkdir(parents=True, exist_ok=True)
    figures = json.loads(options.summary.read_text()) if options.summary.exists() else {}
    wrong: dict[str, int] = {}
    for part in options.parts or PARTS:
        checks = PARTS[part](networks, options.dtypes)
        for title, row in _judge(c for c in checks if options.target is None or options.target in c.title):
            figures[title] = asdict(row)
            options.summary.write_text(json.dumps(figures, indent=1) + "\n")
            if options.only is None and options.target is None:
                (DOCS / "generated_c.md").write_text(page(figures))
            wrong[title] = row.wrong
    return int(any(wrong.values()))


def page(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The page of figures."""
    rows = [
        f"| {title} | {len(row['networks'])} | {row['checks']} | {row['wrong']} | {row['seconds'] / 60:.1f} | {row['date']} |"
        for title, row in figures.items()
    ]
    bound = " and ".join(f"{TOLERANCE[d]:g} in {d}" for d in DTYPES)
    return PAGE.format(rows="\n".join(rows), batches=", ".join(map(str, BATCHES)), tolerance=bound)


def _judge(checks: Iterable[Check]) -> Iterator[tuple[str, Row]]:
    """Go through checks that are grouped by title; give the figures of a title after each of its checks."""
    for title, group in itertools.groupby(checks, lambda check: check.title):
        row = Row(date=datetime.date.today().isoformat())
        start = _processor_seconds()
        for check in group:
            with tempfile.TemporaryDirectory(prefix="bpcompile-generated-") as folder:
                found = check.verdict(Path(folder))
            row.checks += 1
            row.wrong += bool(found)
            row.seconds = round(_processor_seconds() - start, 1)
            if check.network not in row.networks:
                row.networks.append(check.network)
            for line in found:
                print(f"WRONG: {title}: {line}", flush=True)
            yield title, row
        networks = len(row.networks)
        print(f"{title}: {row.checks} checks of {networks} networks in {row.seconds:.0f} s, {row.wrong} wrong", flush=True)


def _processor_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


if __name__ == "__main__":
    sys.exit(main())
