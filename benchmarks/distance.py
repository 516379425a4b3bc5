"""Where the remaining distance to the peak goes: a section of docs/performance.md from kernel profiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.report import short

COSTLIEST = 3
"""Kernels that are named for each network."""
NAMED = 0.005
"""The least part of a step that is worth a name."""


def section(profiles: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The section's lines.

    Parameters
    ----------
    profiles : sequence of dict
        What ``python -m benchmarks.profiles --json`` wrote: beside the kernels' times, the ``peak`` around them, operations per
        second of a loop of multiply-adds.
    """
    yield "## Where the remaining distance to the peak goes\n"
    yield "A step is the time in which a loop of multiply-adds does the operations of its contractions (`at peak`), what the"
    yield "contractions lose to that (loads, edges of tiles, packing, what an epilogue adds; below zero where products with a"
    yield "halo of zeros are left out), all other kernels (activations, pooling, copies, sums), and the calls. The kernels"
    yield "named are those that lose most.\n"
    yield "| network | step | at peak | contractions lose | other kernels | calls | most is lost in |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for found in profiles:
        step, kernels, peak = found["seconds"], found["kernels"], found["peak"]
        products = [k for k in kernels if k["kind"] == "contraction"]
        ideal = sum(k["operations"] for k in products) / peak
        lost = sum(k["seconds"] for k in products) - ideal
        others = sum(k["seconds"] for k in kernels if k["kind"] != "contraction")
        calls = max(0.0, step - ideal - lost - others)
        parts = [f"{100 * t / step:.0f} %" for t in (ideal, lost, others, calls)]
        yield f"| {found['title']} | {short(step)} | {' | '.join(parts)} | {'; '.join(_costliest(kernels, step, peak))} |"
    yield ""


def _costliest(kernels: Sequence[dict[str, Any]], step: float, peak: float) -> Iterator[str]:
    """The targets of the kernels that lose most, with the part of the step that they lose."""
    losses = []
    for k in kernels:
        ideal = k["operations"] / peak if k["kind"] == "contraction" else 0.0
        losses.append((k["seconds"] - ideal, k["equation"].split("[")[0].split(" =")[0]))
    for lost, target in sorted(losses, key=lambda pair: -pair[0])[:COSTLIEST]:
        if lost > NAMED * step:
            yield f"`{target}` {100 * lost / step:.1f} %"
