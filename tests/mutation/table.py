"""Write the list of mutants and verdicts: ``python -m tests.mutation.table > docs/mutants.md``."""

from __future__ import annotations

from collections import Counter

from tests.mutation.mutants import C_TEXT, DERIVATIVES, MUTANTS, PASSES, RULE, Mutant
from tests.mutation.test_mutants import verdict

PARTS: tuple[tuple[str, list[Mutant]], ...] = (
    ("Derivative rows", DERIVATIVES), ("The one rule", RULE), ("Passes", PASSES), ("Generated C", C_TEXT),
)  # fmt: skip


def main() -> int:
    """Print the page; the exit status is 1 if a mutant survives."""
    verdicts = {m.name: verdict(m) for m in MUTANTS}
    count = Counter(verdicts.values())
    print("# Mutants\n")
    print("The generator is broken on purpose, and the user's own gradient check (`bpcompile check`) must go red each time.")
    print("This page is written by `python -m tests.mutation.table`.\n")
    print(f"{len(MUTANTS)} mutants: {', '.join(f'{n} {kind}' for kind, n in sorted(count.items()))}.\n")
    for title, mutants in PARTS:
        print(f"## {title}\n\n| what is broken | checked on | verdict |\n| --- | --- | --- |")
        for m in mutants:
            print(f"| {m.name} | {m.network} ({m.backend}) | {verdicts[m.name]} |")
        print()
    return int(count["red"] < len(MUTANTS))


if __name__ == "__main__":
    raise SystemExit(main())
