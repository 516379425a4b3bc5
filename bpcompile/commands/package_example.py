"""A main in C for a written-out network: what a caller without Python does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bpcompile.emit.c.source import REAL, Interface
from bpcompile.emit.templates import environment
from bpcompile.signature import Signature

__all__ = ["example_text"]


def example_text(facts: dict[str, Any], face: Interface, signature: Signature) -> str:
    """A main in C that calls the network: the text of the package's ``example.c``."""
    suffix = "f" if signature.dtype == "float32" else ""
    inputs = [
        {
            "name": _comment(t.name),
            "slot": slot,
            "variable": f"input{slot}",
            "element": "real" if t.kind == "real" else "int32_t",
            "elements": t.elements,
            "value": f"number({-1.0!r}{suffix}, {1.0!r}{suffix})" if t.kind == "real" else f"(int32_t)(k % {t.classes or 2})",
        }
        for slot, t in enumerate(face.inputs)
    ]
    outputs = [
        {"name": _comment(t.name), "slot": slot, "elements": f"n * {t.elements}" if None in t.shape else t.elements}
        for slot, t in enumerate(face.outputs)
    ]
    text: str = environment().get_template("package/example.c.j2").render(
        name=_comment(facts["name"]),
        prefix=facts["prefix"],
        real=REAL[signature.dtype],
        parameters=_ranges(facts["parameters"], suffix),
        states=_ranges(facts["states"], suffix),
        inputs=inputs,
        outputs=outputs,
        has_loss=signature.has_loss,
        trains=facts["optimizer"] is not None,
        learning_rate=f"{facts['optimizer']['learning_rate']!r}{suffix}" if facts["optimizer"] else "",
    )  # fmt: skip
    return text


def _ranges(rows: Sequence[tuple[str, tuple[int, ...], tuple[Any, ...]]], suffix: str) -> list[dict[str, object]]:
    """Where each tensor of a flat vector ends, and a range of about the spread of its first values."""
    found: list[dict[str, object]] = []
    end = 0
    for name, shape, (kind, *numbers) in rows:
        end += math.prod(shape)
        if kind == "uniform":
            low, high = numbers
        elif kind == "constant":
            low = high = float(np.ravel(numbers[0])[0])
        else:  # a uniform distribution of the same mean and standard deviation
            mean, deviation = numbers if kind == "normal" else (0.0, numbers[0] / math.sqrt(max(shape, default=1)))
            low, high = mean - math.sqrt(3) * deviation, mean + math.sqrt(3) * deviation
        found.append({"name": _comment(name), "end": end, "low": f"{float(low)!r}{suffix}", "high": f"{float(high)!r}{suffix}"})
    return found


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *")
