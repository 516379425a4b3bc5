"""The forms of a derivation: LaTeX that compiles, HTML that stands alone, Markdown that GitHub shows, escaped names."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

import bpcompile as bp
from bpcompile.derivation.latex import escaped, latex
from bpcompile.derivation.names import letters
from bpcompile.derivation.notation import Notation, Number, Operator, Row, Symbol, broken, row, width
from bpcompile.errors import BPCompileError, BuildError
from tests.derivation.networks import NETWORKS, derived


def compiled(source: str, folder: Path) -> str:
    """What pdflatex says, twice over."""
    (folder / "d.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "d.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")


@needs_latex
@pytest.mark.parametrize("name", ["sigmoid", "attention", "convolution"])
def test_latex_compiles_without_warnings(name: str, tmp_path: Path) -> None:
    said = compiled(derived(name).latex(), tmp_path)
    complaints = [x for x in said.splitlines() if re.match(r"Overfull|LaTeX Warning: (Ref|There were undef)|!", x)]
    assert complaints == []


@needs_latex
def test_names_are_no_commands(tmp_path: Path) -> None:
    x, y = bp.Input("x_é_漢", (2,)), bp.Target("target_", (1,))
    h = bp.Dense(2, activation="tanh", name="input_path")(x)
    o = bp.Dense(1, name="loss_of_the_very_long_name")(h)
    net = bp.Network(o, loss=bp.MeanSquaredError(o, y), name="end_document")
    compiled(bp.derive(net).latex(), tmp_path)


@needs_latex
def test_a_fragment_can_be_put_into_another_document(tmp_path: Path) -> None:
    fragment = bp.derive(NETWORKS["logits"](), sections="network,layers").latex(fragment=True)
    assert r"\documentclass" not in fragment
    head = r"\documentclass{article}\usepackage{amsmath,amssymb,array,booktabs,longtable,tikz}\usetikzlibrary{arrows.meta}"
    compiled(head + "\n\\begin{document}\n" + fragment + "\n\\end{document}\n", tmp_path)


@needs_latex
def test_pdf(tmp_path: Path) -> None:
    path = bp.derive(NETWORKS["logits"](), sections="layers").save(tmp_path / "d.pdf")
    assert path.read_bytes().startswith(b"%PDF")


def test_no_latex_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="no pdflatex"):
        bp.derive(NETWORKS["logits"](), sections="layers").pdf(tmp_path / "d.pdf")


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BPCompileError, match=r"d\.doc"):
        bp.derive(NETWORKS["logits"](), sections="layers").save(tmp_path / "d.doc")


@pytest.mark.parametrize("text", [r"\input{/etc/passwd}", "a_b^c", "50% & $x$ #1", "~{}", 'say "x"', "<script>"])
def test_text_is_escaped(text: str) -> None:
    shown = escaped(text)
    for command in (r"\input", "<script>"):
        assert command not in shown
    assert not re.search(r"(?<!\\)[%&#$_]", shown)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_html_stands_alone(name: str) -> None:
    text = derived(name).html()
    assert "<script" not in text
    assert not re.search(r"""(src|href)=["'](?!#)""", text)
    assert "http" not in text
    for formula in re.findall(r"<math.*?</math>", text, re.DOTALL):
        ElementTree.fromstring(formula.replace("&#160;", " "))
    for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(picture)
    assert text.count("<details") == text.count("</details>") > 0


def test_html_escapes_names() -> None:
    from bpcompile.derivation.mathml import mathml

    assert mathml(Symbol("<b>&", "upright")) == '<math display="block"><mi>&lt;b&gt;&amp;</mi></math>'


def test_jupyter_gets_both_forms() -> None:
    derivation = bp.derive(NETWORKS["logits"](), sections="layers")
    assert "<math" in derivation._repr_html_()
    assert "\\frac" in derivation._repr_latex_()


def test_letters() -> None:
    assert latex(letters("alpha")) == r"\alpha"
    assert latex(letters("w1")) == "w_{1}"
    assert latex(letters("batch_mean")) == r"\mathrm{batch\_mean}"


def test_long_formulas_are_broken_before_signs() -> None:
    terms: list[Notation] = []
    for k in range(40):
        terms += [Operator("+"), Symbol("x"), Number(str(k))]
    formula = row(*terms[1:])
    lines = broken(formula, 20.0, 18.0)
    assert len(lines) > 2
    assert all(width(x) <= 20.0 for x in lines)
    assert all(isinstance(x, Row) and x.items[0] == Operator("+") for x in lines[1:])


def test_derivations_do_not_depend_on_the_run() -> None:
    first, second = (bp.derive(NETWORKS["attention"](), sections="network,chain,layers,batch").latex() for _ in range(2))
    assert first == second


def test_progress_is_told() -> None:
    said: list[str] = []
    derivation = bp.derive(NETWORKS["logits"](), sections="layers", progress=said.append)
    check = derivation.check()
    assert said[0] == "writing the section 'layers'"
    assert said[-1] == f"checking equations: {len(check.rows)} of {len(check.rows)}"


def test_a_table_that_is_too_wide_is_set_small() -> None:
    from bpcompile.derivation.document import Table
    from bpcompile.derivation.render_latex import block_latex

    rows = tuple(("x" * 30, "y" * 30, "z" * 30) for _ in range(2))
    wide = block_latex(Table((("a",), ("b",), ("c",)), tuple(tuple((c,) for c in r) for r in rows)))
    assert r"\footnotesize" in wide
    assert r"\footnotesize" not in block_latex(Table((("a",),), ((("x",),),)))


def test_shown_at_a_prompt_in_one_line() -> None:
    derivation = derived("sigmoid")
    assert derivation.document.title in repr(derivation) and len(repr(derivation)) < 200
