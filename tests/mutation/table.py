"""Write the list of mutants and verdicts: ``python -m tests.mutation.table > docs/mutants.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.mutation import every, noticed_by_tests
from tests.mutation.test_mutants import verdict

MUTANTS = len(every.MUTANTS) + len(noticed_by_tests.UNSEEN)
HEAD = """\
# Mutants

The generator is broken on purpose, a line each. This page is written by `python -m tests.mutation.table`.

{check} mutants that the user's own gradient check (`bpcompile check`) has to notice: {checked}.
{tests} mutants that no gradient shows, and that a test of ours has to notice: {tested}.
"""


def page() -> tuple[str, int]:
    """The page, and how many mutants are noticed."""
    checked = {m.name: verdict(m) for m in every.MUTANTS}
    tested = {m.name: noticed_by_tests.verdict(m) for m in noticed_by_tests.UNSEEN}
    lines = [
        HEAD.format(
            check=len(checked), checked=_counted(checked.values()), tests=len(tested), tested=_counted(tested.values())
        )
    ]
    for title, mutants in every.PARTS.items():
        rows = [f"| {m.name} | {m.network} ({m.backend}) | {checked[m.name]} |" for m in mutants]
        lines += [f"## {title}\n\n| what is broken | checked on | verdict |\n| --- | --- | --- |", *rows, ""]
    for title, unseen in noticed_by_tests.PARTS.items():
        rows = [f"| {m.name} | {m.said} | {tested[m.name]} |" for m in unseen]
        lines += [f"## {title}\n\n| what is broken | the test | verdict |\n| --- | --- | --- |", *rows, ""]
    return "\n".join(lines) + "\n", sum(v == "red" for v in (*checked.values(), *tested.values()))


def _counted(verdicts: Iterable[str]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(verdicts).items()))


def main() -> int:
    """Print the page; the exit status is 1 if a mutant survives."""
    text, noticed = page()
    print(text, end="")
    return int(noticed < MUTANTS)


if __name__ == "__main__":
    raise SystemExit(main())
