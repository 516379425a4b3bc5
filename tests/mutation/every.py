"""All mutants that the user's gradient check has to notice, by what they break."""

from __future__ import annotations

from tests.mutation.mutants import C_TEXT, DERIVATIVES, PASSES, RULE, Mutant
from tests.mutation.reuse import REUSE

PARTS: dict[str, list[Mutant]] = {
    "Derivative rows": DERIVATIVES,
    "The one rule": RULE,
    "Passes": PASSES,
    "Order, memory, what is used again, threads": REUSE,
    "Generated C": C_TEXT,
}
MUTANTS: list[Mutant] = [m for part in PARTS.values() for m in part]
