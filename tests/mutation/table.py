"""Write the list of mutants and verdicts: ``python -m tests.mutation.table > docs/mutants.md``."""

from __future__ import annotations

from collections import Counter

from tests.mutation.mutants import C_TEXT, DERIVATIVES, MUTANTS, PASSES, RULE, Mutant
from tests.mutation.test_mutants import verdict

PARTS: tuple[tuple[str, list[Mutant]], ...] = (
    ("Derivative rows", DERIVATIVES), ("The one rule", RULE), ("Passes", PASSES), ("Generated C", C_TEXT),
)  # fmt: skip


def page() -> tuple[str, int]:
    """The page, and how many mutants are noticed."""
    verdicts = {m.name: verdict(m) for m in MUTANTS}
    count = Counter(verdicts.values())
    lines = [
        "# Mutants\n",
        "The generator is broken on purpose, and the user's own gradient check (`bpcompile check`) must go red each time.",
        "This page is written by `python -m tests.mutation.table`.\n",
        f"{len(MUTANTS)} mutants: {', '.join(f'{n} {kind}' for kind, n in sorted(count.items()))}.\n",
    ]
    for title, mutants in PARTS:
        lines.append(f"## {title}\n\n| what is broken | checked on | verdict |\n| --- | --- | --- |")
        lines += [f"| {m.name} | {m.network} ({m.backend}) | {verdicts[m.name]} |" for m in mutants]
        lines.append("")
    return "\n".join(lines) + "\n", count["red"]


def main() -> int:
    """Print the page; the exit status is 1 if a mutant survives."""
    text, noticed = page()
    print(text, end="")
    return int(noticed < len(MUTANTS))


if __name__ == "__main__":
    raise SystemExit(main())
