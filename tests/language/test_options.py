"""Options under names that do not exist: refused where the layer, the loss or the optimizer is made, and in spec files with the line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import bpcompile as bp
from bpcompile.errors import BPCompileError, LanguageError, SpecError, TrainingError, nearest
from bpcompile.language.kinds import KINDS
from bpcompile.language.spec import parse_spec


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bp.Dense(3, unts=3), "Dense has no option 'unts'.\n  Did you mean 'units'?"),
        (lambda: bp.Dense(), "Dense needs 'units'"),
        (lambda: bp.Dense(3, units=4), "'units' twice"),
        (lambda: bp.Conv2D(3, kernl_size=3), "Did you mean 'kernel_size'?"),
        (lambda: bp.Flatten("f", "g"), "takes at most 1 options without a name, and 2 came"),
        (lambda: bp.Layer(["y[n] = x[n]"], param={}), "Did you mean 'parameters'?"),
        (lambda: bp.Activation("elu", alpa=2), "Did you mean 'alpha'?"),
        (lambda: bp.Activation("z*z", alpha=2), "go with an activation's name"),
        (lambda: bp.Huber(bp.Input("p"), bp.Target("y"), dleta=1), "Did you mean 'delta'?"),
        (lambda: bp.Activation("softmax", axis="x"), "an integer was expected"),
        (lambda: bp.Activation("softmax", axis=2)(bp.Input("x", (3,))), "the axes 1 to 1"),
        (lambda: bp.GRU(3, go_backwards=True, num_layers=2), "one layer in one direction"),
        (lambda: bp.GRU(3, bidirectional=True, merge_mode="max"), "'concat', 'sum', 'mul', 'ave'"),
        (lambda: bp.TimeDistributed(3), "is no layer"),
        (lambda: bp.TimeDistributed(bp.Dense(3))(bp.Input("x")), "reads tensors [n, t, ...]"),
        (lambda: bp.TimeDistributed(bp.BatchNormalization())(bp.Input("x", (4, 3))), "whole batch"),
        (lambda: bp.TimeDistributed(bp.ResidualBlock(4)), "made of layers"),
    ],
)
def test_refused_with_a_sentence(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(LanguageError) as caught:
        make()
    assert words in str(caught.value)


def test_optimizers_too() -> None:
    with pytest.raises(TrainingError, match="Adam has no option 'lr'"):
        bp.Adam(lr=0.1)


def test_signatures_are_told_to_help_and_editors() -> None:
    for kind in KINDS.values():
        names = list(inspect.signature(kind).parameters)
        assert "self" not in names and "name" in names
    assert list(inspect.signature(bp.Huber).parameters) == ["prediction", "target", "delta", "name"]


SPEC = """[network]
loss = "mse"
[inputs]
x = [4]
[targets]
y = [2]
[[layers]]
kind = "dense"
units = 2
activation = "tanh"
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("units = 2", "unts = 2", 9, "Did you mean 'units'?"),
        ("units = 2", 'units = "a"', 9, "'units' is 'a'; a positive integer was expected"),
        ('"tanh"', '"tanhh"', 10, "Did you mean 'tanh'?"),
        ('"tanh"', '{ name = "elu", alpa = 1 }', 10, "Did you mean 'alpha'?"),
        ('"tanh"', '"elu(alpha=x)"', 10, "no number"),
        ('"mse"', '"softmx"', 2, "Did you mean 'softmax_cross_entropy'?"),
        ('"mse"', '{ kind = "huber", dleta = 1 }', 2, "Did you mean 'delta'?"),
    ],
)
def test_spec_files_with_file_and_line(old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(SPEC.replace(old, new), "net.toml")
    assert f"net.toml, line {line}," in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize("activation", ['"elu(alpha=0.5)"', '{ name = "relu", max_value = 6 }', '"z*tanh(z)"'])
def test_activations_in_spec_files(activation: str) -> None:
    spec = parse_spec(SPEC.replace('"tanh"', activation))
    assert spec.network.outputs[0].shape == (None, 2)


def test_the_activation_layer_takes_options_in_spec_files() -> None:
    text = SPEC.replace('activation = "tanh"', '[[layers]]\nkind = "activation"\nactivation = "leaky_relu"\nnegative_slope = 0.2')
    assert "0.2" in str(parse_spec(text).network.calls[1].equations[0])
    with pytest.raises(SpecError, match=r"line 13, .*no option 'slop'"):
        parse_spec(text.replace("negative_slope", "slop"), "net.toml")


def test_a_spec_tells_where_its_text_is_wrong() -> None:
    spec = parse_spec(SPEC + '[training]\noptimizer = "adm"\n', "net.toml")
    with pytest.raises(SpecError, match=r"net\.toml, line 12, .training.: No such thing"):
        spec.fail(("training", "optimizer"), BPCompileError("No such thing."))


def test_nearest_names() -> None:
    assert nearest("rleu", ["relu", "elu"]) == "Did you mean 'relu'?"
    assert nearest("softmx", ["softmax_cross_entropy", "hinge"]) == "Did you mean 'softmax_cross_entropy'?"
    assert nearest("xyz", ["relu"]) == ""


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bp.Input("x", (4,), clases=3), "Did you mean 'classes'?"),
        (lambda: bp.L2(factr=2), "Did you mean 'factor'?"),
        (lambda: bp.Network(bp.Dense(3)(bp.Input("x", (4,))), loss="mse"), "'mse' is no loss"),
        (lambda: bp.Network(bp.Dense(3)(bp.Input("x", (4,))), loss=5), "5 is no loss"),
        (lambda: bp.Adam(beta1="a"), "beta1 must lie between 0 and 1"),
        (lambda: bp.AdamW(weight_decay=-1), "weight_decay must be a number that is not negative"),
        (lambda: bp.RMSprop(epsilon="x"), "epsilon must be a number"),
        (lambda: bp.check_gradients(3), "takes a Network, not int"),
    ],
)
def test_other_doors_too(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(BPCompileError) as caught:
        make()
    assert words in str(caught.value)


def test_names_that_are_not_there() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'Conv2D'"):
        bp.Conv2d  # noqa: B018
    assert bp.Dense(3, kernel_regularizer="l2")(bp.Input("x", (4,))).call.layer.penalties["W"] == bp.L2()
