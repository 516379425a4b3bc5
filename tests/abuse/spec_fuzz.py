"""Spec files changed at random, for hours: ``python -m tests.abuse.spec_fuzz --first 0 --seconds 3600``.

Files of the examples are changed as trees (values, keys, tables, the tokens of equations) and as bytes; some are joined with
others. Each must be read, compiled and derived, or refused with an error of ours, within limits of time and memory. Cases
run in a process of their own, so that a crash or a hang of the interpreter itself is a finding as well.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import random
import re
import resource
import signal
import sys
import tempfile
import tomllib
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import bpcompile as bp
from bpcompile.errors import BPCompileError, BuildError
from bpcompile.language.network import Network
from bpcompile.language.spec import load_spec
from tests.abuse.spec_corpus import CORPUS, HOSTILE_VALUES, HOSTILE_WORDS, TOKENS, written

SECONDS = 20.0
"""What one case may take, of the processor."""
HANGS = 600.0
"""So long without an answer, by the clock on the wall, and the process hangs."""
MEMORY = 3 * 2**30
"""Address space of the process that runs cases."""
CHUNK = 250
SMALL = 8
"""Networks of at most so many calls are compiled as well."""


class TooSlow(BaseException):
    """A case has used up its time."""


@dataclass
class Fuzz:
    """The figures of a run; seconds are the processor's."""

    first: int
    files: int = 0
    read: int = 0
    compiled: int = 0
    derived: int = 0
    refused: int = 0
    failures: int = 0
    seconds: float = 0.0
    findings: dict[str, int] = field(default_factory=dict)


def changed(seed: int) -> bytes:
    """A file of the corpus with some things changed."""
    rng = random.Random(seed)
    text = rng.choice(CORPUS)
    if rng.random() < 0.85:
        tree = tomllib.loads(text)
        for _ in range(rng.choice((1, 1, 2, 3))):
            _change_tree(rng, tree)
        text = written(tree)
    if rng.random() < 0.15:
        text = _changed_lines(rng, text)
    data = text.encode("utf-8", "surrogatepass")
    return _changed_bytes(rng, data) if rng.random() < 0.1 else data


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from _places(tree[key])


def _change_tree(rng: random.Random, tree: dict[str, Any]) -> None:
    places = list(_places(tree))
    if not places:
        return
    container, key = rng.choice(places)
    value = container[key]
    kind = rng.randrange(8)
    if kind == 0:
        del container[key]
    elif kind == 1:
        container[key] = deepcopy(rng.choice(HOSTILE_VALUES))
    elif kind == 2:
        other, place = rng.choice(places)
        container[key] = deepcopy(other[place])
    elif kind == 3 and isinstance(container, dict):
        container[rng.choice([*HOSTILE_WORDS, *(str(k) for _, k in places)])] = container.pop(key)
    elif kind == 4 and isinstance(container, list):
        container.insert(key, deepcopy(value))
    elif kind == 5:
        donor = tomllib.loads(rng.choice(CORPUS))
        table = rng.choice(list(donor))
        tree[table] = donor[table]
    elif isinstance(value, str):
        container[key] = _changed_text(rng, value)
    elif isinstance(value, bool):
        container[key] = not value
    elif isinstance(value, (int, float)):
        container[key] = rng.choice([-value, value + 1, value - 1, 0, value * 2**31, value / 3, 10 ** rng.randrange(40)])
    if kind == 6:
        container[key] = rng.choice([[value], {"a": value}, [value, value]])


def _changed_text(rng: random.Random, text: str) -> str:
    """Tokens of an equation or a name left out, doubled, exchanged, nested."""
    parts = re.findall(r"\w+|\*\*|//|[<>=!]=|\s+|.", text) or [""]
    for _ in range(rng.randint(1, 3)):
        k = rng.randrange(len(parts))
        kind = rng.randrange(6)
        if kind == 0 and len(parts) > 1:
            del parts[k]
        elif kind == 1:
            parts.insert(k, rng.choice(parts))
        elif kind == 2:
            parts[k] = rng.choice(TOKENS)
        elif kind == 3:
            parts[k] = rng.choice(parts)
        elif kind == 4:
            parts[k] = rng.choice(("({})", "-({})", "sum({}, i)", "where({} > 0, {}, 1)", "({})**({})", "{}[{}]")).replace(
                "{}", parts[k]
            )
        else:
            parts[k] = rng.choice(HOSTILE_WORDS)
    return "".join(parts)


def _changed_lines(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    for _ in range(rng.randint(1, 3)):
        k = rng.randrange(len(lines))
        kind = rng.randrange(4)
        if kind == 0:
            lines.insert(k, rng.choice(lines))
        elif kind == 1 and len(lines) > 1:
            del lines[k]
        elif kind == 2:
            lines[k] = lines[k].partition("=")[0] + "= " + rng.choice(TOKENS)
        else:
            depth = rng.choice((3, 50, 2000))
            lines[k] = "a = " + rng.choice(("[" * depth + "]" * depth, "{ b = " * depth + "1" + "}" * depth, ".".join("a" * depth)))
    return "\n".join(lines)


def _changed_bytes(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        k = rng.randrange(len(changed) + 1)
        piece = rng.choice((b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\xc0\x80", b"\xed\xa0\x80", b"\x1b[2J", b"\xe2\x80\xae"))
        changed[k : k + rng.randrange(3)] = rng.choice((piece, bytes([rng.randrange(256)]), b""))
    return bytes(changed)


def run_case(seed: int, folder: Path) -> tuple[str, str]:
    """How far a case came (read, compiled, derived, refused), or "failure" and what happened."""
    path = folder / "case.toml"
    path.write_bytes(changed(seed))
    stage = "read"
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = load_spec(path).network
            if _small(net):
                bp.compile(net, backend="numpy")
                stage = "compiled"
                if seed % 8 == 0:
                    bp.derive(net).latex()
                    stage = "derived"
    except BuildError as error:
        return "failure", f"not the file's fault: {error}"
    except BPCompileError as error:
        return ("refused", "") if len(str(error)) > 15 else ("failure", f"says too little: {error}")
    except (Exception, TooSlow) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "bpcompile" in f.filename] or [None]
        at = frames[-1] and f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
        return "failure", f"{type(error).__name__} at {at}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return stage, ""


def _small(net: Network) -> bool:
    return len(net.calls) <= SMALL


def _too_slow(*_: object) -> None:
    raise TooSlow


def _run_chunk(seeds: range, connection: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, _too_slow)
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            connection.send((seed, *run_case(seed, Path(folder))))


def fuzz(first: int, count: int | None, *, seconds: float = float("inf"), summary: Path | None = None) -> Fuzz:
    """Run cases until there were so many or the processor's time is used up."""
    figures = Fuzz(first)
    found: Counter[str] = Counter()
    context = multiprocessing.get_context("fork")
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    starts = itertools.count(first, CHUNK) if count is None else range(first, first + count, CHUNK)
    for start in starts:
        end = start + CHUNK if count is None else min(start + CHUNK, first + count)
        while start < end:
            start = _one_process(context, range(start, end), figures, found)
        figures.seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - spent
        figures.findings = dict(found.most_common())
        if summary is not None:
            summary.write_text(json.dumps(asdict(figures), indent=1) + "\n")
        if figures.seconds >= seconds:
            break
    return figures


def _one_process(context: Any, seeds: range, figures: Fuzz, found: Counter[str]) -> int:
    """Run these in a process; gives the seed to go on with, past one that ended the process."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run_chunk, args=(seeds, theirs))
    process.start()
    theirs.close()
    following = seeds.start
    while following < seeds.stop:
        try:
            answer = ours.recv() if ours.poll(HANGS) else None
        except EOFError:
            answer = None
        if answer is None:
            process.kill()
        seed, outcome, what = answer or (following, "failure", "the process ended, or hung")
        following = seed + 1
        figures.files += 1
        figures.read += outcome in ("read", "compiled", "derived")
        figures.compiled += outcome in ("compiled", "derived")
        figures.derived += outcome == "derived"
        figures.refused += outcome == "refused"
        if outcome == "failure":
            figures.failures += 1
            found[what] += 1
            if found[what] <= 3:
                print(f"seed {seed}: {what}", flush=True)
        if answer is None:
            break
    process.join()
    return following


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of processor time")
    parser.add_argument("--summary", type=Path, help="where the figures are written, as JSON")
    parser.add_argument("--show", action="store_true", help="print the file of seed --first, and run it with its traceback")
    options = parser.parse_args()
    if options.show:
        data = changed(options.first)
        sys.stdout.buffer.write(data + b"\n")
        sys.stdout.flush()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "case.toml"
            path.write_bytes(data)
            net = load_spec(path).network
            bp.compile(net, backend="numpy")
            bp.derive(net).latex()
        return 0
    figures = fuzz(options.first, options.count, seconds=options.seconds, summary=options.summary)
    print(figures)
    return int(figures.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
