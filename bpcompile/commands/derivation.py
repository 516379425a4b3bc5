"""Derivations and tables: what is only shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from bpcompile.commands.run import write_text
from bpcompile.commands.session import compiled, derivation_texts, open_spec
from bpcompile.commands.tables import network_rows, network_table
from bpcompile.errors import BPCompileError, nearest

_KINDS = ("tex", "md", "html", "pdf")


def derive_spec(spec: Path, console: Console, *, out: Path | None) -> dict[str, Any]:
    """Write the derivation to a file, or as Markdown to stdout."""
    session = open_spec(spec)
    if out is None:
        text = derivation_texts(session, ("md",))["md"]
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        return {"network": session.spec.network.name, "markdown": text}
    kind = out.suffix.lstrip(".").lower()
    if kind not in _KINDS:
        guess = nearest(kind, _KINDS)
        raise BPCompileError(
            f"The derivation cannot be written to '{out}': its name must end in {', '.join('.' + k for k in _KINDS)}.",
            hint=guess[:1].upper() + guess[1:],
        )
    if kind == "pdf":
        from bpcompile.derivation.derive import derive

        derive(session.spec.network).pdf(out)
    else:
        write_text(out, derivation_texts(session, (kind,))[kind])
    console.print(f"derivation written to {out}", highlight=False)
    return {"network": session.spec.network.name, "artifacts": {"derivation": str(out)}}


def show_spec(spec: Path, console: Console, *, equations: bool, source: str | None) -> dict[str, Any]:
    """Show the network as a table, or the text generated for it."""
    session = open_spec(spec)
    network = session.spec.network
    result: dict[str, Any] = {
        "network": network.name,
        "parameters": network.parameter_count,
        "rows": network_rows(network),
        "warnings": session.warnings,
    }
    if source is not None:
        result["source"] = compiled(session, backend=source).source
        console.print(result["source"], markup=False, highlight=False, soft_wrap=True)
        return result
    console.print(network_table(network, equations=equations))
    for text in session.warnings:
        console.print(f"[yellow]warning:[/] {escape(text)}", highlight=False)
    return result
