"""How a network, a check and a training run look in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from bpcompile.check_report import CheckReport
    from bpcompile.language.network import Network


def network_rows(network: Network) -> list[dict[str, Any]]:
    """Plain data of a network: a row an input, a target and a call."""
    leaves = [(v, "input") for v in network.inputs.values()] + [(v, "target") for v in network.targets.values()]
    rows: list[dict[str, Any]] = [
        {"name": v.name, "kind": role, "output": list(v.shape), "classes": v.classes, "parameters": 0} for v, role in leaves
    ]
    counted: set[str] = set()
    for call in network.calls:
        first = call.layer.outputs[0]
        own = [n for n in network.parameters if n.startswith(f"{call.owner}.") and n not in counted]
        counted.update(own)
        rows.append(
            {
                "name": call.name,
                "kind": call.layer.kind,
                "output": list(call.tensors[first].shape),
                "parameters": sum(network.parameters[n].size for n in own),
                "tensors": {n.removeprefix(f"{call.owner}."): list(network.parameters[n].shape) for n in own},
                "equations": [str(e) for e in call.equations],
            }
        )
    return rows


def network_table(network: Network, *, equations: bool = False) -> Table:
    """A network as a table: shapes, parameters and, if wanted, equations."""
    table = Table(title=f"network '{network.name}'", title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    columns = ("name", "kind", "output", "parameters") + (("equations",) if equations else ())
    for column in columns:
        table.add_column(column, justify="right" if column == "parameters" else "left", overflow="fold")
    for row in network_rows(network):
        tensors = "  ".join(f"{n} {shape_text(s)}" for n, s in row.get("tensors", {}).items())
        count = f"{row['parameters']:,}" if row["parameters"] else ""
        cells = [row["name"], row["kind"], shape_text(row["output"]), f"{tensors}  {count}" if tensors else count]
        table.add_row(*(_plain(c) for c in cells), *([_plain("\n".join(row.get("equations", [])))] if equations else []))
    table.add_section()
    table.add_row("total", "", "", f"{network.parameter_count:,}", *([""] if equations else []))
    return table


def check_table(report: CheckReport) -> Table:
    """A gradient check as a table, a row for each tensor and backend."""
    table = Table(title="gradient check", title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("tensor", "backend", "shape", "checked", "kinks", "largest |g|", "worst error", ""):
        table.add_column(column, justify="left" if column in ("tensor", "backend", "") else "right")
    colors = {"ok": "green", "wrong": "bold red", "zero": "yellow", "kinks": "yellow"}
    for row in report.rows:
        table.add_row(
            _plain(row.name), row.backend, shape_text(row.shape), str(row.checked), str(row.kinks or ""),
            f"{row.magnitude:.2g}", f"{row.error:.1e}", f"[{colors[row.verdict]}]{row.verdict}[/]",
        )  # fmt: skip
    return table


def bench_table(rows: Iterable[dict[str, Any]]) -> Table:
    """Timings as a table."""
    table = Table(title="loss and gradients", title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("", "batch", "time of a call", "operations/s", "times the first"):
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        speed = count_text(row["operations_per_second"])
        table.add_row(row["name"], str(row["batch"]), seconds_text(row["seconds"]), speed, f"{row['times_the_first']:.2f}")
    return table


def shape_text(shape: Iterable[int | None]) -> str:
    """A shape as text, the batch as ``n``."""
    return " x ".join("n" if e is None else str(e) for e in shape) or "scalar"


def seconds_text(seconds: float) -> str:
    """A time with as many digits as matter."""
    if seconds >= 0.1:
        return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"
    return f"{1e3 * seconds:.1f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.1f} us"


def count_text(number: float) -> str:
    """A large number with a unit."""
    if not math.isfinite(number) or number < 1000:
        return f"{number:.0f}"
    exponent = min(int(math.log10(number)) // 3, 4)
    return f"{number / 1000**exponent:.3g} {['', 'k', 'M', 'G', 'T'][exponent]}"


def _plain(text: str) -> str:
    """Text in which square brackets mean themselves."""
    return text.replace("[", r"\[")
