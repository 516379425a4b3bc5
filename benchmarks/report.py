"""What is measured as lines of text, while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchmarks.measure import Result
from bpcompile.commands.timing import Timing


def header() -> str:
    """Title of the columns."""
    return (
        f"{'network':22s} {'ours':>10s} {'bind':>10s} {'best peer':>10s} {'':14s} {'ratio':>6s} {'bind':>6s} {'cpu':>6s}"
        f" {'reach':>6s} {'peak':>5s}"
    )


def line(result: Result) -> str:
    """A row."""
    own = result.timings["bpcompile"]
    bind = result.timings.get("bind", own)
    best = result.best_peer()
    peer = short(result.timings[best].median) if best else "-"
    others = ", ".join(f"{k} {short(t.median)}" for k, t in result.timings.items() if k not in ("bpcompile", "bind", best))
    return (
        f"{result.key:22s} {short(own.median):>10s} {short(bind.median):>10s} {peer:>10s} {best:14s} {result.ratio():6.2f}"
        f" {result.ratio('bind'):6.2f} {result.processor_ratio():6.2f} {result.reach:6.2f} {100 * result.share():4.0f}%"
        f"  [{others}] least {short(own.least)} / {short(result.timings[best].least) if best else '-'}"
    )


def summary(results: Sequence[Result]) -> str:
    """The geometric mean of the ratios, and their range."""
    ratios = [r.ratio() for r in results if math.isfinite(r.ratio())]
    if not ratios:
        return "no peer was measured"
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    behind = [r.key for r in results if r.ratio() < 1]
    text = f"geometric mean {mean:.2f} x the best peer, from {min(ratios):.2f} to {max(ratios):.2f}"
    return text + (f"; behind in {', '.join(behind)}" if behind else "")


def pair(title: str, timings: Mapping[str, Timing], reach: float) -> str:
    """Two contenders, ours first."""
    (_, own), (name, other) = timings.items()
    return (
        f"{title:34s} {short(own.median):>10s} {short(other.median):>10s} {name:12s} {other.median / own.median:6.2f}"
        f" cpu {other.processor / own.processor:6.2f} reach {reach:5.2f}"
    )


def short(seconds: float) -> str:
    """A time with three digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
