"""Spec files: what the design shows is read; what is wrong is told with file, line and nearest name."""

import contextlib
import re
from pathlib import Path

import pytest

from bpcompile.errors import SpecError
from bpcompile.language.spec import load_spec, parse_spec

DIGITS = """\
[network]
name = "digits"
loss = "softmax_cross_entropy"

[inputs]
x = [64]

[targets]
y = { classes = 10 }

[[layers]]
name = "hidden"
kind = "dense"
units = 32
activation = "tanh"

[[layers]]
name = "gate"                                      # a layer by its equations
equations = ["z[n,j] = sum(W[j,i]*x[n,i], i) + b[j]", "a[n,j] = z[n,j] / (1 + exp(-z[n,j]))"]
parameters = { W = ["j", "i"], b = ["j"] }
sizes = { j = 32 }
output = "a"

[[layers]]
name = "output"
kind = "dense"
units = 10
kernel_regularizer = { l2 = 1e-4 }

[data]
source = "sklearn:digits"                          # or a .npz or .csv file
test_fraction = 0.2

[training]
optimizer = "adam"
learning_rate = 0.002
batch_size = 32
epochs = 30
seed = 0
"""


def edited(old, new):
    assert DIGITS.count(old) >= 1
    return DIGITS.replace(old, new, 1)


def test_the_specs_of_the_design(tmp_path: Path):
    path = tmp_path / "digits.toml"
    path.write_text(DIGITS)
    spec = load_spec(path)
    assert [c.name for c in spec.network.calls] == ["hidden", "gate", "output", "softmax_cross_entropy_1"]
    assert spec.network.outputs[0].name == "output.z"
    assert spec.network.parameters["output.W"].penalty == (0.0, 1e-4)
    assert (spec.data.source, spec.data.test_fraction) == ("sklearn:digits", 0.2)
    assert (spec.training.optimizer, spec.training.learning_rate, spec.training.epochs) == ("adam", 0.002, 30)
    assert (spec.compile.backend, spec.compile.dtype) == ("c", "float32")
    assert spec.folder == tmp_path and spec.text == DIGITS


def test_branches_shared_layers_and_several_losses():
    spec = parse_spec(
        edited('loss = "softmax_cross_entropy"', 'outputs = ["output", "twin"]')
        + """
[[layers]]
name = "twin"
same_as = "hidden"
from = "x"

[[losses]]
kind = "softmax_cross_entropy"
from = ["output", "y"]
label_smoothing = 0.1

[[losses]]
equations = "l[n] = sum((twin[n,j] - hidden[n,j])**2, j)"
weight = 0.5

[penalties]
hidden.W = { l1 = 0.5 }
"hidden.b" = { l2 = 0.25 }
"""
    )
    network = spec.network
    assert [c.name for c in network.calls] == ["hidden", "gate", "output", "hidden_2", "softmax_cross_entropy_1", "layer_1"]
    assert [w for w, _ in network.losses] == [1.0, 0.5]
    assert network.calls[-1].resolve == {"twin": "hidden_2.a", "hidden": "hidden.a", "l": "layer_1.l"}
    assert network.parameters["hidden.W"].penalty == (0.5, 0.0)
    assert network.parameters["hidden.b"].penalty == (0.0, 0.25)


def test_layers_may_be_given_in_any_order():
    text = edited('name = "hidden"', 'name = "hidden"\nfrom = "x"').replace('name = "gate"', 'name = "gate"\nfrom = "hidden"')
    head, *layers = text.split("[[layers]]\n")
    last, tail = layers[2].split("[data]")
    swapped = f'{head}[[layers]]\nfrom = "gate"\n{last}[[layers]]\n{layers[1]}[[layers]]\n{layers[0]}[data]{tail}'
    swapped = swapped.replace('loss = "softmax', 'output = "output"\nloss = "softmax')
    assert [c.name for c in parse_spec(swapped).network.calls][:3] == ["hidden", "gate", "output"]


@pytest.mark.parametrize(
    "loss",
    ['"l[n] = log(cosh(z[n,0] - y[n]))"', '{ kind = "hinge", margin = 2.0 }', '{ equations = ["l[n] = p[n,y[n]]"] }'],
)
def test_losses_in_every_form(loss):
    assert len(parse_spec(edited('"softmax_cross_entropy"', loss)).network.losses) == 1


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('kind = "dense"', 'kind = "dens"', 13, "Did you mean 'dense'?"),
        ("units = 32", "unitss = 32", 14, "Did you mean 'units'?"),
        ("units = 32", 'units = "32"', 14, "'units' is '32'"),
        ("units = 32", "", 11, "'units' is missing"),
        ('activation = "tanh"', 'activation = "tnah"', 15, "Did you mean 'tanh'?"),
        ('"softmax_cross_entropy"', '"softmax_crossentropy"', 3, "Did you mean 'softmax_cross_entropy'?"),
        ('name = "gate"', 'name = "gate"\nfrom = "output"', 19, "cyclic: gate <- output <- gate"),
        ('name = "gate"', 'name = "gate"\nfrom = "hiden"', 19, "Did you mean 'hidden'?"),
        ('name = "gate"', 'name = "hidden"', 18, "used twice"),
        ('name = "gate"', 'name = "x"', 18, "used twice"),
        ("sizes = { j = 32 }", "sizes = { k = 32 }", 21, "'k', which is not there"),
        ("exp(-z", "foo(-z", 17, "no function 'foo'"),
        ("exp(-z[n,j])", "__import__('os').system('ls')", 17, "dot"),
        ("x = [64]", "x = [0]", 6, "positive integers"),
        ("x = [64]", "x = [64", 8, "TOML"),
        ("x = [64]", "x = { shap = [64] }", 6, "Did you mean 'shape'?"),
        ("[data]", "[dta]", 30, "Did you mean 'data'?"),
        ("test_fraction = 0.2", "test_fraction = 2", 32, "'test_fraction'"),
        ("epochs = 30", 'epochs = "30"', 38, "'epochs' is an integer"),
        ("batch_size = 32", "batch_size = 0", 37, "'batch_size'"),
        ("seed = 0", "sede = 0", 39, "Did you mean 'seed'?"),
        ('optimizer = "adam"', "optimizer = 3", 35, "'optimizer'"),
        ("classes = 10", "classes = 11", 3, "11 classes"),
        ('"softmax_cross_entropy"', '"softmax_cross_entropy"\noutputs = []', 4, "names no value"),
        ('name = "output"', 'name = "output"\nfrom = []', 24, "called on nothing"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old, new, line, words):
    with pytest.raises(SpecError) as caught:
        parse_spec(edited(old, new), "net.toml")
    assert words in str(caught.value)
    assert "net.toml" in str(caught.value)
    assert caught.value.line == line


def without(table):
    """The spec without the sections of one table."""
    sections = re.split(r"^(?=\[)", DIGITS, flags=re.MULTILINE)
    return "".join(s for s in sections if not s.lstrip("[").startswith(f"{table}]"))


JUNK = ["3", '"q"', "[]", "{}", "true", "-1.5", "nan", "[[1]]", '{ a = "b" }', "1979-05-27", "[3, {}]"]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("line", [k for k, line in enumerate(DIGITS.splitlines()) if " = " in line])
def test_junk_in_any_place_is_told_or_taken(line, junk):
    lines = DIGITS.splitlines()
    lines[line] = f"{lines[line].split(' = ')[0]} = {junk}"
    with contextlib.suppress(SpecError):
        parse_spec("\n".join(lines))


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize(
    "key",
    ["from", "same_as", "shared", "initializers", "state", "outside", "frozen", "types", "constants", "exempt", "inputs"],
)
def test_junk_in_keys_that_are_seldom_used(key, junk):
    with contextlib.suppress(SpecError):
        parse_spec(edited('output = "a"', f"{key} = {junk}"))


@pytest.mark.parametrize("junk", JUNK)
def test_junk_for_whole_tables(junk):
    for table in ("network", "inputs", "targets", "layers", "losses", "penalties", "data", "training", "compile"):
        with contextlib.suppress(SpecError):
            parse_spec(f"{table} = {junk}\n" + without(table))
    with contextlib.suppress(SpecError):
        parse_spec(edited("[data]", f"[[losses]]\nkind = {junk}\nfrom = {junk}\nweight = {junk}\n[data]"))


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(SpecError, match="no file"):
        load_spec(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path / "binary.toml")


@pytest.mark.parametrize("text", ["", "[network]\n", "[inputs]\nx = [3]\n", "layers = 3\n[inputs]\nx = 3\n", "network = 3"])
def test_what_is_missing_is_told(text):
    with pytest.raises(SpecError):
        parse_spec(text)
