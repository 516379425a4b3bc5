"""``bpcompile derive`` with its options, and ``bpcompile check`` on formulas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bpcompile as bp
from bpcompile.derivation.derive import derive
from bpcompile.stability import check_stability
from tests.cli.test_commands import SPEC, Run, bpcompile, spec

__all__ = ["bpcompile", "spec"]

UNSTABLE = """
[network]
name = "norm"
loss = "mean_squared_error"

[inputs]
x = [3]

[targets]
y = [3]

[[layers]]
name = "size"
equations = ["a[n,i] = (sqrt(x[n,i]**2 + 1) - x[n,i])*W[i]"]
parameters = { W = ["i"] }
"""


@pytest.mark.parametrize("ending", ["tex", "md", "html", "txt"])
def test_the_options_of_derive_reach_the_file(spec: Path, tmp_path: Path, bpcompile: Run, ending: str) -> None:
    out = tmp_path / "new" / f"net.{ending}"
    options = {"layout": "row", "superscript": "[l]", "jacobian": "denominator", "activation": "g", "level": "summary"}
    options["layers"] = "numbers"
    status, _, err = bpcompile(
        "derive", spec, "-o", out, "--sections", "batch,general", *(f"--{k}={v}" for k, v in options.items())
    )
    assert status == 0, err
    network = bp.load_spec(spec).network
    expected = derive(network, sections=("batch", "general"), **options)
    expected.save(tmp_path / f"expected.{ending}")
    assert out.read_text() == (tmp_path / f"expected.{ending}").read_text()
    derive(network, sections=("batch", "general")).save(tmp_path / f"plain.{ending}")
    assert out.read_text() != (tmp_path / f"plain.{ending}").read_text()


def test_a_fragment_has_no_head(spec: Path, tmp_path: Path, bpcompile: Run) -> None:
    out = tmp_path / "net.tex"
    assert bpcompile("derive", spec, "-o", out, "--sections", "network")[0] == 0 and "documentclass" in out.read_text()
    status, _, _ = bpcompile("derive", spec, "-o", out, "--sections", "network", "--fragment")
    assert status == 0 and "documentclass" not in out.read_text()


def test_without_a_file_the_derivation_is_text(spec: Path, bpcompile: Run) -> None:
    status, out, _ = bpcompile("derive", spec, "--sections", "network")
    text = derive(bp.load_spec(spec).network, sections="network").text()
    assert status == 0 and out.rstrip() == text.rstrip()
    status, out, _ = bpcompile("derive", spec, "--sections", "network", "--json")
    assert status == 0 and json.loads(out)["text"] == text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sections", "netwrk"), "no section 'netwrk'"),
        (("--level", "expert"), "'student', 'summary'"),
        (("--layout", "diagonal"), "'column', 'row'"),
        (("--superscript", "{l}"), "'(l)', '[l]'"),
        (("--jacobian", "both"), "'numerator', 'denominator'"),
        (("--activation", "tanh"), "'sigma'"),
        (("--sections", "network", "-o", "net.doc"), "cannot be written as 'net.doc'"),
        (("--fragment",), "as a fragment, not text"),
        (("--fragment", "-o", "net.md"), "as a fragment, not 'net.md'"),
    ],
)
def test_mistakes_in_derive(
    spec: Path, tmp_path: Path, bpcompile: Run, options: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = bpcompile("derive", spec, *options)
    assert status == 2 and err.startswith("bpcompile: ") and words in err and not out


def test_stable_formulas(spec: Path, bpcompile: Run) -> None:
    status, out, err = bpcompile("check", spec, "--backend", "numpy", "--stability")
    assert status == 0, err
    assert out.index("gradient check") < out.index("stability passed") < out.index("tanh(z): stable")
    status, out, _ = bpcompile("check", spec, "--backend", "numpy", "--stability", "--json")
    result = json.loads(out)
    assert status == 0 and result["passed"] and result["rows"] and "tanh(z)" in result["stability"]["formulas"]
    assert "stability" not in json.loads(bpcompile("check", spec, "--backend", "numpy", "--json")[1])


def test_an_unstable_formula_gives_exit_status_one(tmp_path: Path, bpcompile: Run) -> None:
    path = tmp_path / "norm.toml"
    path.write_text(UNSTABLE)
    assert bpcompile("check", path, "--backend", "numpy")[0] == 0
    status, out, _ = bpcompile("check", path, "--backend", "numpy", "--stability")
    assert status == 1 and "stability FAILED" in out
    status, out, _ = bpcompile("check", path, "--backend", "numpy", "--stability", "--json")
    result = json.loads(out)
    assert status == 1 and not result["passed"] and not result["stability"]["passed"]
    assert all(row["passed"] for row in result["rows"])


@pytest.mark.parametrize("example", ["lenet5", "resnet20"])
def test_formulas_that_are_not_elementwise_are_left_out(example: str) -> None:
    report = check_stability(bp.load_spec(Path(__file__).parents[2] / "examples" / f"{example}.toml").network)
    assert report.points and not any("size(" in f for f in report.formulas)


def test_the_element_type_of_the_spec_is_looked_at(spec: Path, bpcompile: Run) -> None:
    spec.write_text(SPEC + 'dtype = "float64"\n')
    result = json.loads(bpcompile("check", spec, "--backend", "numpy", "--stability", "--json")[1])
    assert 0 < result["stability"]["worst"] < 1e-12


def test_a_formula_alone(spec: Path, bpcompile: Run) -> None:
    status, out, _ = bpcompile("check", "--formula", "log(1 + exp(z))")
    assert status == 0 and "stable form applied: softplus" in out
    status, out, _ = bpcompile("check", "--formula", "sqrt(x*x + 1) - x", "--json")
    assert status == 1 and json.loads(out)["stability"]["rows"]
    for arguments, words in (
        (("--formula", "foo(z)"), "no function 'foo'"),
        (("--formula", "1 + 2"), "has 0"),
        (("--formula", "z", spec), "not both"),
        ((), "neither"),
    ):
        status, out, err = bpcompile("check", *arguments)
        assert status == 2 and words in err and "Traceback" not in out + err
