"""Markdown as GitHub reads it: first Markdown, then mathematics.

GitHub's known traps: a backslash before a sign is an escape (so ``\\{`` loses its backslash within ``$...$``), underscores
after a closing brace become emphasis, ``<`` may begin a tag, ``\\operatorname`` and its like are refused, and display
mathematics is safe in a fence alone. Each rule is a function, and each is shown able to fail.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bpcompile.derivation.notation import Group, Number, Operator, Script, Symbol, row
from bpcompile.derivation.render_markdown import within
from tests.derivation.networks import NETWORKS, derived

LECTURE = Path(__file__).resolve().parents[2] / "docs" / "lecture.md"
REFUSED = (r"\operatorname", r"\mbox", r"\phantom", r"\def", r"\newcommand", r"\tag", r"\label", r"\href", r"\ensuremath",
           r"\scalebox")  # fmt: skip
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"\$`.+?`\$|\$[^$\n]+?\$")


def complaints(text: str) -> list[str]:
    """What GitHub would show wrongly."""
    found: list[str] = []
    for fence in FENCE.finditer(text):
        if fence[1] == "math":
            found += [f"{command} in a fence" for command in REFUSED if command in fence[2]]
            found += ["a blank line in a formula"] * ("\n\n" in fence[2])
            found += ["unequal braces in a formula"] * (fence[2].count(r"\begin") != fence[2].count(r"\end"))
        before, after = text[: fence.start()], text[fence.end() :]
        found += [f"no blank line around {fence[0][:30]!r}"] * (before[-2:] not in ("", "\n\n") or after[:2] not in ("", "\n\n"))
    rest = FENCE.sub("", text)
    found += ["a display within the text"] * ("$$" in rest)
    for formula in INLINE.finditer(rest):
        before, after = rest[: formula.start()][-1:], rest[formula.end() :][:1]
        found += [f"glued: {before}{formula[0]}{after}"] * (bool(re.match(r"[\w$]", before) or re.match(r"[\w$]", after)))
        found += [f"{command} in {formula[0]}" for command in REFUSED if command in formula[0]]
        body = formula[0]
        if body.startswith("$`"):
            continue
        inner = body[1:-1]
        found += [f"blank beside the dollar: {body}"] * (inner != inner.strip())
        found += [f"an escape: {body}"] * bool(re.search(r"\\[^A-Za-z]", inner))
        found += [f"emphasis: {body}"] * bool(re.search(r"(?<!\s)_|\*", inner))
        found += [f"a tag: {body}"] * bool(re.search(r"[<>]", inner))
    lines = [line for line in INLINE.sub("", rest).splitlines() if not line.startswith("    ")]
    return found + [f"a dollar alone: {line}" for line in lines if re.search(r"(?<!\\)\$", line)]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_derivations_are_what_github_shows(name: str) -> None:
    text = derived(name).markdown()
    assert complaints(text) == []
    assert "```math\n" in text
    assert re.search(r"\$[^$\n]+\$", text)


def test_the_lecture_is_what_github_shows() -> None:
    assert complaints(LECTURE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "so $a_{1}$ is",
        r"so $\{ a \}$ is",
        "so $0<a$ is",
        "so $ a $ is",
        "3$a$",
        r"so $\operatorname{softmax}$ is",
        "so $$a$$ is",
        "so\n```math\na\n```\n",
        "\n\n```math\na\n\nb\n```\n\n",
        "\n\n```math\n\\tag{1}\n```\n\n",
        "5 $ each",
    ],
)
def test_each_trap_is_seen(text: str) -> None:
    assert complaints(text)


def test_formulas_in_a_sentence() -> None:
    indexed = Script(Symbol("a"), Symbol("j"), Group(Number("1")))
    assert within(indexed) == "$a^{(1)} _{j}$"
    assert within(row(Number("0"), Operator("<", "relation"), indexed)) == r"$0 \lt  a^{(1)} _{j}$"
    assert within(Symbol("batch_mean", "upright")) == r"$`\mathrm{batch\_mean}`$"
