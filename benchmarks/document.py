"""docs/performance.md from what ``python -m benchmarks --json`` wrote.

``python -m benchmarks.document FILE... [-o docs/performance.md]``: the first file is the main table (float32, one thread);
the others are tables of their own.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.distance import section
from benchmarks.report import short

METHOD = """\
A step is `value_and_grad`: the loss and the gradients of all parameters, called from Python with ready arrays, which may be
new ones each time. `bind` is the same through `model.bind`, which checks its arrays once. Peers are PyTorch (eager),
`torch.compile`, `jax.jit(jax.value_and_grad(...))`, and NumPy: by hand for dense networks, this compiler's NumPy text for the
others. All run in one process pinned to as many cores as they have threads, in turn: each one for a short while, one after
another, many times over; a figure is the median over these turns. Each contender works on the same parameters and data, and
their losses and gradients are compared first: a difference of more than 1e-2 (float32) or 1e-8 (float64) of the greatest
element ends the run. The ratio is the fastest peer's time divided by ours. `of peak` is scalar operations in a second through
`bind`, divided by what a loop of multiply-adds reaches on one core in the same turns, times the threads.

    pip install -e .[bench]
    python -m benchmarks.everything                    # measures all tables and writes this page
    python -m benchmarks 784-30-10 --threads 2         # a row
    python -m benchmarks.profiles lenet                # where the time goes, kernel by kernel
    bpcompile bench net.toml                           # a network of your own

## Tuning

How a contraction is cut into tiles, panels and blocks follows from sizes alone, so that the same network gives the same text
everywhere. `bp.compile(net, tune=True)`, or `--tune` on the command line, looks further: it builds variants of the whole module
with a clock around each kernel, measures them in turn for about twenty seconds, and gives each kernel the variant that is
fastest for it, if the whole is then faster than before. `tune=256` does so for batches of 256 examples instead of 64. The
outcome is kept in the cache, under the network, the compiler and the processor: compiling again is as quick as ever, and gives
the same text. Tuned results differ from others in rounding only.
"""


def page(files: Sequence[dict[str, Any]], profiles: Sequence[dict[str, Any]] = ()) -> str:
    """The whole page."""
    return "\n".join(_page(files, profiles)).rstrip() + "\n"


def _page(files: Sequence[dict[str, Any]], profiles: Sequence[dict[str, Any]]) -> Iterator[str]:
    main = files[0]
    machine = main["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    yield "# Performance\n"
    yield f"Measured on {main['date']}: {machine['processor']}, {machine['vector_bits']}-bit vectors, {machine['system']},"
    yield f"{machine['peak'] * 1e-9:.0f} GFLOP/s peak of one core. {versions}."
    yield "This page is written by `python -m benchmarks.document`; nothing on it is typed by hand.\n"
    busy = _busy(files)
    if busy > 1.1:
        yield f"**The machine was busy while this was measured**: a step took {busy:.1f} times its processor time (median over"
        yield "the rows). Absolute times are that much too long, and ratios near 1 are not settled.\n"
    yield from _headline(files)
    for file in files:
        yield f"## {_title(file['setting'])}\n"
        yield from _table(file)
    for file in files:
        yield from _extra(file)
    if profiles:
        yield from section(profiles)
    yield "## Compile times\n"
    yield from _compile_times(main["rows"])
    yield "## Method\n"
    yield METHOD


def _headline(files: Sequence[dict[str, Any]]) -> Iterator[str]:
    """How many times as fast as the best peer, table by table."""
    yield "| times the best peer | geometric mean | from | to | rows behind |\n| --- | ---: | ---: | ---: | --- |"
    for file in files:
        ratios = {r["title"]: r["ratio"] for r in file["rows"] if r["ratio"]}
        if ratios:
            behind = ", ".join(title for title, ratio in ratios.items() if ratio < 1) or "none"
            least, most = min(ratios.values()), max(ratios.values())
            mean = statistics.geometric_mean(ratios.values())
            yield f"| {_title(file['setting'])} | **{mean:.2f}** | {least:.2f} | {most:.2f} | {behind} |"
    yield ""


def _busy(files: Sequence[dict[str, Any]]) -> float:
    """Time on the clock for each second of the processor's: 1 on a machine that does nothing else."""
    own = [r["timings"]["bpcompile"] for f in files for r in f["rows"] if f["setting"]["threads"] == 1]
    return statistics.median(t["median"] / t["processor"] for t in own) if own else 1.0


def _title(setting: dict[str, Any]) -> str:
    what = "The forward pass alone" if setting["forward_only"] else "Training steps"
    threads = "one thread" if setting["threads"] == 1 else f"{setting['threads']} threads"
    return f"{what}, {setting['dtype']}, {threads}"


def _table(file: dict[str, Any]) -> Iterator[str]:
    rows, setting = file["rows"], file["setting"]
    bound = not setting["forward_only"]
    names = ["network", "bpcompile", *(["bind"] if bound else []), "best peer", "ratio", *(["through bind"] if bound else []),
             "of peak", "the other peers"]  # fmt: skip
    yield "| " + " | ".join(names) + " |"
    yield "| --- |" + " ---: |" * (len(names) - 2) + " --- |"
    for r in rows:
        times = {k: t["median"] for k, t in r["timings"].items()}
        best = r["best_peer"]
        others = [f"{k} {short(t)}" for k, t in times.items() if k not in ("bpcompile", "bind", best)]
        others += [f"{k} failed" for k in r["missing"]]
        cells = [r["title"], short(times["bpcompile"]), *([short(times["bind"])] if bound else []),
                 f"{best} {short(times[best])}" if best else "none", _ratio(r["ratio"]),
                 *([_ratio(r["ratio_bind"])] if bound else []), _percent(r["share"]), ", ".join(others)]  # fmt: skip
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _percent(part: float | None) -> str:
    return "" if part is None else f"{100 * part:.0f} %"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _extra(file: dict[str, Any]) -> Iterator[str]:
    if file.get("epochs"):
        yield "## An epoch over 5,000 MNIST images\n"
        yield "Shuffling, batches, gradients and plain gradient descent in one call of C, against"
        yield "`MLPClassifier.partial_fit`.\n"
        yield "| network | bpcompile | scikit-learn | ratio |\n| --- | ---: | ---: | ---: |"
        for row in file["epochs"]:
            yield f"| {row['title']} | {_both(row['timings'])} |"
        yield ""
    if file.get("casadi"):
        found = file["casadi"]
        own, other = found["compile"].values()
        yield "## Against CasADi's generated C\n"
        yield "A step of 64-32-10 relu for one example in float64, called from a loop in C; and the seconds from the network to"
        yield "a loaded function, the middle one of three times, on every core. Reading every parameter once and writing every"
        yield f"gradient once, 38 KB together, takes {short(found['traffic']['median'])} in the same run.\n"
        yield "| | bpcompile | CasADi | ratio |\n| --- | ---: | ---: | ---: |"
        yield f"| step | {_both(found['timings'])} |"
        yield f"| compile | {short(own)} | {short(other)} | {other / own:.2f} |\n"
    yield from _large(file)


def _large(file: dict[str, Any]) -> Iterator[str]:
    """Attention over long sequences, and GPT-2's shape."""
    if file.get("attention"):
        yield "## Attention over long sequences\n"
        yield "A step of self-attention, width 256, 4 heads, one example, on one thread. No score matrix is ever whole: rows"
        yield "of it are made part by part, and again in the backward pass, from the maximum and the sum of each row.\n"
        yield "| tokens | step | arena | one matrix of scores |\n| ---: | ---: | ---: | ---: |"
        for r in file["attention"]:
            sizes = [f"{r[k] / 1e6:.1f} MB" for k in ("arena_bytes", "scores_bytes")]
            yield f"| {r['steps']} | {short(r['seconds'])} | {' | '.join(sizes)} |"
        yield ""
    if file.get("gpt2"):
        own, other = file["gpt2"]["bpcompile"], file["gpt2"]["reference"]
        yield "## GPT-2's shape\n"
        yield "`examples/gpt2.py`: 12 layers, width 768, 50,257 tokens, 124 million parameters; 4 x 64 tokens, random weights,"
        yield "the least time of a few steps. The reference is the C of llm.c's `train_gpt2.c` (Karpathy;"
        yield "`gcc -Ofast -march=native -fopenmp`): forward, gradients set to zero, backward.\n"
        yield "| threads | bpcompile | of peak | memory | compile | llm.c | memory | ratio |"
        yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        for threads, r in own.items():
            rate = r["operations"] / r["step"] / file["machine"]["peak"] / int(threads)
            cells = [threads, short(r["step"]), f"{100 * rate:.0f} %", f"{r['peak_bytes'] / 1e9:.2f} GB", short(r["compile"])]
            there = other.get(threads)
            cells += [short(there["step"]), f"{there['peak_bytes'] / 1e9:.2f} GB"] if there else ["", ""]
            yield "| " + " | ".join([*cells, f"{there['step'] / r['step']:.1f}" if there else ""]) + " |"
        yield ""


def _both(timings: dict[str, dict[str, Any]]) -> str:
    own, other = (t["median"] for t in timings.values())
    return f"{short(own)} | {short(other)} | {other / own:.2f}"


def _compile_times(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    stages = ("derive", "emit", "build")
    yield "From the network to a loaded extension, on every core, with nothing in the cache. The peers' columns are their first"
    yield "call, on the cores that they are measured on.\n"
    yield "| network | bpcompile | " + " | ".join(stages) + " | torch.compile | JAX |\n| --- |" + " ---: |" * 6
    for r in rows:
        times = r["compile_seconds"]
        keys = ("bpcompile", *(f"bpcompile {s}" for s in stages), "torch.compile", "JAX")
        yield f"| {r['title']} | " + " | ".join(short(times[k]) if k in times else "" for k in keys) + " |"
    yield ""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.document", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--profiles", type=Path, help="what python -m benchmarks.profiles --json wrote")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args()
    profiles = json.loads(options.profiles.read_text()) if options.profiles else ()
    options.out.write_text(page([json.loads(f.read_text()) for f in options.files], profiles))


if __name__ == "__main__":
    main()
