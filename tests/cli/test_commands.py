"""The command line: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpcompile import cli
from tests.model.networks import clusters

SPEC = """
[network]
name = "clusters"
loss = "softmax_cross_entropy"

[inputs]
x = [5]

[targets]
y = { classes = 3 }

[[layers]]
name = "hidden"
kind = "dense"
units = 4
activation = "tanh"

[[layers]]
name = "output"
kind = "dense"
units = 3

[data]
source = "data.npz"

[training]
optimizer = "adam"
learning_rate = 0.02
epochs = 8

[compile]
backend = "numpy"
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", **clusters(200))
    path = tmp_path / "clusters.toml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def bpcompile(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command inside this process; give its exit status, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bpcompile", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_run_as_json(spec: Path, tmp_path: Path, bpcompile: Run) -> None:
    status, out, err = bpcompile("run", spec, "-o", tmp_path / "out", "--json")
    assert status == 0, err
    result = json.loads(out)
    assert result["accuracy"] > 0.9 and result["gradient_check"]["passed"] and result["gradient_check"]["worst"] < 1e-3
    assert result["epochs"] == 8 and result["loss"] > 0 and result["seconds"] > 0 and result["parameters"] == 39
    for path in result["artifacts"].values():
        assert Path(path).stat().st_size > 100
    assert Path(result["artifacts"]["derivation"]).suffix == ".tex"


def test_run_for_people(spec: Path, tmp_path: Path, bpcompile: Run) -> None:
    status, out, err = bpcompile("run", spec, "-o", tmp_path / "out", "--no-derive", "--epochs", 3)
    assert status == 0, err
    for words in ("network 'clusters'", "hidden", "compiled to NumPy", "gradient check", "passed", "accuracy on held-out"):
        assert words in out


def test_a_wrong_gradient_gives_exit_status_one(spec: Path, bpcompile: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from bpcompile.model_numpy import NumpyBackend

    right = NumpyBackend.value_and_grad

    def wrong(self: NumpyBackend, *arguments: Any) -> Any:
        loss, grads = right(self, *arguments)
        grads["hidden.W"][0, 0] += 0.01
        return loss, grads

    monkeypatch.setattr(NumpyBackend, "value_and_grad", wrong)
    status, out, _ = bpcompile("check", spec, "--backend", "numpy")
    assert status == 1 and "FAILED" in out
    assert "hidden.W[0, 0] (numpy): generated" in out
    status, out, _ = bpcompile("check", spec, "--backend", "numpy", "--json")
    assert status == 1 and json.loads(out)["passed"] is False
    status, out, _ = bpcompile("run", spec, "--no-derive", "--json")
    assert status == 1 and "accuracy" not in json.loads(out)


def test_check_and_show(spec: Path, bpcompile: Run) -> None:
    status, out, _ = bpcompile("check", spec)
    assert status == 0 and "passed" in out
    status, out, _ = bpcompile("show", spec, "--json")
    result = json.loads(out)
    assert status == 0 and [r["name"] for r in result["rows"]][:4] == ["x", "y", "hidden", "output"]
    status, out, _ = bpcompile("show", spec, "--equations")
    assert status == 0 and "39" in out and "tanh(z[n,j])" in out
    status, out, _ = bpcompile("show", spec, "--source", "numpy")
    assert status == 0 and "def value_and_grad(" in out


def test_training_writes_parameters_and_goes_on_from_them(spec: Path, tmp_path: Path, bpcompile: Run) -> None:
    status, out, err = bpcompile("train", spec, "--json", "--epochs", 4)
    assert status == 0, err
    first = json.loads(out)
    path = Path(first["artifacts"]["parameters"])
    assert path == spec.with_suffix(".safetensors") and path.exists()
    status, out, _ = bpcompile("train", spec, "--json", "--resume", path, "-o", tmp_path / "more.safetensors")
    assert status == 0 and json.loads(out)["loss"] < first["loss"]


def test_the_package_needs_neither_bpcompile_nor_sympy(spec: Path, tmp_path: Path, bpcompile: Run) -> None:
    status, out, err = bpcompile("compile", spec, "-o", tmp_path / "packages", "--json")
    assert status == 0, err
    package = Path(json.loads(out)["package"])
    names = {p.suffix for p in package.iterdir()}
    assert package.name == "clusters" and {".c", ".h", ".py", ".so"} <= names
    program = """
import sys, json
import numpy as np
import clusters
heavy = [m for m in ("bpcompile", "sympy", "jinja2", "cffi", "typer") if m in sys.modules]
data = dict(np.load(sys.argv[1]))
params = clusters.init(seed=1)
first, grads = clusters.value_and_grad(params, **data)
for epoch in range(10):
    last = clusters.train_epoch(params, seed=epoch, **data)
right = float((clusters.predict(params, x=data["x"]).argmax(axis=1) == data["y"]).mean())
errors = []
for bad in ({"x": data["x"]}, {"x": data["x"][:, :4], "y": data["y"]}, {**data, "y": data["y"] + 9}, {**data, "z": 1}):
    try:
        clusters.value_and_grad(params, **bad)
    except (TypeError, ValueError) as error:
        errors.append(str(error))
print(json.dumps([heavy, first, last, right, sorted(grads), params.flat[:3].tolist(), errors]))
"""
    program = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{program}"
    command = [sys.executable, "-I", "-c", program, str(tmp_path / "data.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    heavy, first, last, right, grads, start, errors = json.loads(done.stdout)
    assert heavy == [] and last < first and right > 0.9
    assert grads == ["hidden.W", "hidden.b", "output.W", "output.b"] and len(start) == 3
    assert len(errors) == 4 and "'y' is missing" in errors[0] and "must have shape" in errors[1] and "integers in" in errors[2]


def test_the_package_trains_as_the_model_does(spec: Path, tmp_path: Path, bpcompile: Run) -> None:
    import importlib

    import bpcompile as bp
    from bpcompile.training.optimizers import Adam

    assert bpcompile("compile", spec, "-o", tmp_path / "same")[0] == 0
    sys.path.insert(0, str(tmp_path / "same"))
    try:
        package = importlib.import_module("clusters")
    finally:
        sys.path.pop(0)
        sys.modules.pop("clusters", None)
    model = bp.compile(bp.load_spec(spec).network, optimizer=Adam(0.02))
    params, mine = model.init(seed=5), package.init(seed=5)
    np.testing.assert_array_equal(params.flat, mine.flat)
    for seed in range(3):
        assert model.train_epoch(params, seed=seed, **clusters(50)) == package.train_epoch(mine, seed=seed, **clusters(50))
    np.testing.assert_array_equal(params.flat, mine.flat)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("kind = \"dense\"", "kind = \"dens\""), "dense"),
        (("units = 4", "unit = 4"), "units"),
        (("optimizer = \"adam\"", "optimizer = \"adm\""), "adam"),
        (("data.npz", "none.npz"), "none.npz"),
        (("x = [5]", "x = [6]"), "'x'"),
        (("[network]", "[network"), "TOML"),
        (("activation = \"tanh\"", "activation = \"__import__('os').system('echo no')\""), "no meaning here"),
    ],
)
def test_mistakes_in_a_spec_get_one_sentence(spec: Path, bpcompile: Run, change: tuple[str, str], words: str) -> None:
    import re

    spec.write_text(SPEC.replace(*change))
    status, out, err = bpcompile("run", spec, "--no-derive")
    assert status == 2 and err.startswith("bpcompile: ") and re.search(words, err) and "Traceback" not in out + err
    status, out, _ = bpcompile("run", spec, "--no-derive", "--json")
    assert status == 2 and re.search(words, json.loads(out)["error"])


def test_usage_errors_and_version(tmp_path: Path, bpcompile: Run) -> None:
    assert bpcompile("run")[0] == 2
    assert bpcompile("fly")[0] == 2
    status, _, err = bpcompile("run", tmp_path / "none.toml")
    assert status == 2 and "no file" in err
    status, out, _ = bpcompile("--version")
    assert status == 0 and out[0].isdigit()
    status, out, _ = bpcompile("run", "--help")
    assert status == 0 and "--json" in out


def test_a_folder_that_cannot_be_written(spec: Path, tmp_path: Path, bpcompile: Run) -> None:
    (tmp_path / "file").write_text("")
    for command in (("run", spec, "--no-derive", "--no-check", "--epochs", 1), ("compile", spec)):
        status, _, err = bpcompile(*command, "-o", tmp_path / "file" / "out")
        assert status == 2 and "file" in err and "Traceback" not in err
    status, _, err = bpcompile("derive", spec, "-o", tmp_path / "file" / "x.tex")
    assert status == 2 and "file" in err and "Traceback" not in err
    status, _, err = bpcompile("derive", spec, "-o", tmp_path)
    assert status == 2 and "cannot be written" in err


def test_training_that_meets_infinity_keeps_the_last_good_parameters(spec: Path, tmp_path: Path, bpcompile: Run) -> None:
    spec.write_text(SPEC.replace("learning_rate = 0.02", "learning_rate = 1e38"))
    code, _, err = bpcompile("train", spec, "-o", tmp_path / "kept.safetensors")
    assert code == 2 and "Training ended in epoch 1. Step " in err and "gave NaN or infinity" in err
    assert f"They are in {tmp_path / 'kept.safetensors'}" in err
    from safetensors.numpy import load_file

    assert all(np.isfinite(a).all() for a in load_file(tmp_path / "kept.safetensors").values())


def test_without_a_compiler_numpy_runs_and_a_warning_says_how_to_get_one(
    spec: Path, bpcompile: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec.write_text(SPEC.replace('backend = "numpy"', 'backend = "c"'))
    monkeypatch.setenv("CC", "/nowhere/cc")
    code, out, _ = bpcompile("train", spec, "--epochs", "1")
    assert code == 0
    assert "bpcompile[zig]" in "".join(out.split()) and "runs on NumPy instead" in " ".join(out.split())
    code, out, _ = bpcompile("check", spec)
    assert code == 0
    assert "generated C was not checked: $CC is '/nowhere/cc'" in " ".join(out.split())
