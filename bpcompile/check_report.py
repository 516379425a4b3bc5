"""The result of a gradient check: rows, a verdict, and how they look as text and JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CheckRow:
    """What was found for one tensor and one backend.

    Attributes
    ----------
    name : str
        The parameter or input.
    backend : str
        Whose gradient it is.
    shape : tuple of int
        Its shape (inputs: of the examples used).
    checked : int
        Elements and random directions compared.
    kinks : int
        Elements at which the loss has no derivative; the gradient was only required to lie between the two sides.
    error : float
        The largest relative error.
    position : tuple of int
        Where it is; empty for the random direction.
    analytic, numeric : float
        The two values there.
    magnitude : float
        The largest absolute value among what was compared: zero means that nothing was really compared.
    verdict : str
        ``ok``, ``wrong``, ``zero`` where both sides are zero everywhere, ``kinks`` where the loss has no derivative at all.
    """

    name: str
    backend: str
    shape: tuple[int, ...]
    checked: int
    kinks: int
    error: float
    position: tuple[int, ...]
    analytic: float
    numeric: float
    magnitude: float
    verdict: str

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.verdict != "wrong"


@dataclass(frozen=True)
class CheckReport:
    """The result of a gradient check; prints as a table.

    Attributes
    ----------
    rows : tuple of CheckRow
        A row for each tensor and backend.
    losses : mapping of str to float
        The loss by backend; they must agree.
    tolerance, floor : float
        As in ``|a - n| <= tolerance * max(|a| + |n|, floor)``.
    examples : int
        The examples that the loss was taken over.
    seconds : float
        How long the check took, compiling left out.
    budget : float
        How long it might have taken: in large networks, elements and examples are chosen for it.
    stale : tuple of str
        Results, with their backend, that are others when the memory of the call held NaN before: something is read that the
        call has not written.
    unchecked : str
        Why generated C was not checked, where nobody said that it should not be.
    """

    network: str
    rows: tuple[CheckRow, ...]
    losses: Mapping[str, float]
    tolerance: float
    floor: float
    examples: int
    seconds: float
    budget: float = math.inf
    stale: tuple[str, ...] = ()
    unchecked: str = ""

    @property
    def passed(self) -> bool:
        """True if every row agrees, something was compared that is not zero, the backends' losses agree, nothing is stale."""
        return (
            all(row.passed for row in self.rows)
            and any(row.verdict == "ok" for row in self.rows)
            and self.losses_agree
            and not self.stale
        )

    @property
    def losses_agree(self) -> bool:
        """True if all backends give the same loss, up to rounding."""
        values = list(self.losses.values())
        return all(abs(v - values[0]) <= self.tolerance * max(abs(values[0]), 1e-3) for v in values)

    @property
    def worst(self) -> float:
        """The largest relative error of all rows."""
        return max((row.error for row in self.rows), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        rows = [{**asdict(row), "passed": row.passed} for row in self.rows]
        return {
            "network": self.network,
            "passed": self.passed,
            "worst": finite(self.worst),
            "tolerance": self.tolerance,
            "floor": self.floor,
            "examples": self.examples,
            "seconds": round(self.seconds, 3),
            "budget": finite(self.budget),
            "losses": dict(self.losses),
            "stale": list(self.stale),
            "unchecked": self.unchecked,
            "rows": [{k: finite(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows],
        }

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        head = ("tensor", "backend", "shape", "checked", "kinks", "largest |g|", "worst error", "")
        body = [
            (
                row.name, row.backend, "x".join(map(str, row.shape)) or "scalar", str(row.checked), str(row.kinks),
                f"{row.magnitude:.3g}", f"{row.error:.2g}", row.verdict,
            )
            for row in self.rows
        ]  # fmt: skip
        widths = [max(len(line[k]) for line in (head, *body)) for k in range(len(head))]
        padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in (head, *body)]
        lines = ["  ".join(cells).rstrip() for cells in padded]
        return "\n".join([*lines, "", *self._summary()])

    def _summary(self) -> Iterator[str]:
        verdict = "passed" if self.passed else "FAILED"
        yield (
            f"gradient check of '{self.network}' {verdict}: worst relative error {self.worst:.2g} "
            f"(tolerance {self.tolerance:g}, floor {self.floor:.2g}, {self.examples} examples)"
        )
        yield from self.remarks()

    def remarks(self) -> Iterator[str]:
        """What is wrong, or proves nothing: a sentence each."""
        if self.unchecked:
            yield f"generated C was not checked: {self.unchecked}"
        if not self.losses_agree:
            yield f"the backends disagree about the loss: {dict(self.losses)}"
        if self.stale:
            yield f"what memory held before the call shows in {', '.join(self.stale)}: something is read before it is written"
        for row in self.rows:
            if row.verdict == "wrong":
                place = f"{row.name}{list(row.position)} ({row.backend})"
                yield f"{place}: generated {row.analytic:.10g}, numeric {row.numeric:.10g}"
            if row.verdict == "zero":
                yield f"{row.name} ({row.backend}): both sides are zero everywhere, which proves nothing"


def finite(value: float) -> float:
    """A number that JSON can hold: the largest one for infinity and NaN."""
    return value if math.isfinite(value) else sys.float_info.max
