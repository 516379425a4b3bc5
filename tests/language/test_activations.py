"""Each activation is its formula: against closed forms in NumPy, and PyTorch where it is there."""

import math

import numpy as np
import pytest
import sympy

import bpcompile as bp
from bpcompile.errors import LanguageError
from bpcompile.language.activations import ACTIVATIONS, activate, default_initializer
from bpcompile.language.symbols import Access, Index
from bpcompile.language.text import to_text
from tests.oracle.interpreter import interpret

Z = np.array([[-4.0, -3.0, -1.5, -0.3, 0.0, 0.2, 1.0, 2.9, 3.5, 7.0]])


def sigma(z):
    return 1 / (1 + np.exp(-z))


def erf(z):
    return np.vectorize(math.erf)(z)


CLOSED = {
    "identity": lambda z: z,
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.exp(z) - 1),
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * (np.exp(z) - 1)),
    "celu": lambda z: np.maximum(z, 0) + np.minimum(np.exp(z) - 1, 0),
    "gelu": lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
    "gelu_tanh": lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "silu": lambda z: z * sigma(z),
    "swish": lambda z: z * sigma(z),
    "mish": lambda z: z * np.tanh(np.log1p(np.exp(z))),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "softsign": lambda z: z / (1 + abs(z)),
    "sigmoid": sigma,
    "log_sigmoid": lambda z: np.log(sigma(z)),
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
    "hard_swish": lambda z: z * np.clip(z + 3, 0, 6) / 6,
    "tanh": np.tanh,
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "hard_silu": lambda z: z * np.clip(z + 3, 0, 6) / 6,
    "threshold": lambda z: np.maximum(z, 0),
    "hard_shrink": lambda z: z * (abs(z) > 0.5),
    "soft_shrink": lambda z: np.maximum(z - 0.5, 0) + np.minimum(z + 0.5, 0),
    "sparse_plus": lambda z: np.where(z >= 1, z, np.maximum(z + 1, 0) ** 2 / 4),
    "sparse_sigmoid": lambda z: np.clip(z + 1, 0, 2) / 2,
    "gaussian": lambda z: np.exp(-z * z),
    "softmin": lambda z: np.exp(-z) / np.exp(-z).sum(-1, keepdims=True),
    "relu6": lambda z: np.clip(z, 0, 6),
    "exponential": np.exp,
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(-1, keepdims=True),
    "log_softmax": lambda z: np.log(np.exp(z) / np.exp(z).sum(-1, keepdims=True)),
}

TORCH = {
    "relu": "relu", "leaky_relu": "leaky_relu", "elu": "elu", "selu": "selu", "celu": "celu", "gelu": "gelu", "silu": "silu",
    "mish": "mish", "softplus": "softplus", "softsign": "softsign", "sigmoid": "sigmoid", "log_sigmoid": "logsigmoid",
    "hard_sigmoid": "hardsigmoid", "hard_swish": "hardswish", "tanh": "tanh", "hard_tanh": "hardtanh", "relu6": "relu6",
    "hard_shrink": "hardshrink", "soft_shrink": "softshrink",
}  # fmt: skip


def values_of(activation, z=Z):
    net = bp.Network(bp.Activation(activation, name="f")(bp.Input("x", z.shape[1:])))
    return interpret(net, {}, {"x": z}).values["f.a"].astype(float)


def test_every_activation_has_its_closed_form_here():
    assert set(CLOSED) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", list(CLOSED))
def test_against_closed_form(name):
    np.testing.assert_allclose(values_of(name), CLOSED[name](Z), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", list(TORCH))
def test_against_pytorch(name):
    torch = pytest.importorskip("torch", reason="needs the extra 'oracles'")
    function = getattr(torch.nn.functional, TORCH[name])
    np.testing.assert_allclose(values_of(name), function(torch.tensor(Z)).numpy(), rtol=1e-6, atol=1e-9)


#: An activation with options, and PyTorch's function with the same.
WITH_OPTIONS = [
    ("leaky_relu(negative_slope=0.3)", "leaky_relu", {"negative_slope": 0.3}),
    ({"name": "leaky_relu", "alpha": 0.3}, "leaky_relu", {"negative_slope": 0.3}),
    ("elu(alpha=0.5)", "elu", {"alpha": 0.5}),
    ("celu(alpha=2)", "celu", {"alpha": 2}),
    ("gelu(approximate=True)", "gelu", {"approximate": "tanh"}),
    ({"name": "gelu", "approximate": False}, "gelu", {}),
    ("softplus(beta=3)", "softplus", {"beta": 3}),
    ("hard_tanh(min_val=-0.5, max_val=2.5)", "hardtanh", {"min_val": -0.5, "max_val": 2.5}),
    ("threshold(threshold=0.5, default_value=-1)", "threshold", {"threshold": 0.5, "value": -1}),
    ("hard_shrink(threshold=2)", "hardshrink", {"lambd": 2}),
    ("soft_shrink(threshold=2)", "softshrink", {"lambd": 2}),
]


@pytest.mark.parametrize(("activation", "name", "options"), WITH_OPTIONS, ids=[str(row[0]) for row in WITH_OPTIONS])
def test_options_against_pytorch(activation, name, options):
    torch = pytest.importorskip("torch", reason="needs the extra 'oracles'")
    expected = getattr(torch.nn.functional, name)(torch.tensor(Z), **options).numpy()
    np.testing.assert_allclose(values_of(activation), expected, rtol=1e-6, atol=1e-9)


def test_options_in_every_spelling():
    expected = np.where(Z > 0, np.minimum(Z, 2), 0.1 * Z)
    options = {"negative_slope": 0.1, "max_value": 2}
    for activation in ("relu(negative_slope=0.1, max_value=2)", {"name": "relu", **options}, bp.Activation("relu", **options)):
        np.testing.assert_allclose(values_of(activation), expected)
    net = bp.Network(bp.Activation("relu", **options, name="f")(bp.Input("x", (10,))))
    np.testing.assert_allclose(interpret(net, {}, {"x": Z}).values["f.a"].astype(float), expected)
    np.testing.assert_allclose(values_of("silu(beta=2)"), Z * sigma(2 * Z))
    tempered = np.exp(Z / 2) / np.exp(Z / 2).sum()
    np.testing.assert_allclose(values_of("softmax(temperature=2)"), tempered)


def test_softmax_along_another_axis():
    z = np.random.default_rng(0).normal(size=(2, 3, 4, 2))
    net = bp.Network(bp.Activation("softmax", axis=1, name="f")(bp.Input("x", (3, 4, 2))))
    found = interpret(net, {}, {"x": z}).values["f.a"].astype(float)
    np.testing.assert_allclose(found, np.exp(z) / np.exp(z).sum(1, keepdims=True))


@pytest.mark.parametrize(
    "activation",
    [
        "z*tanh(log(1+exp(z)))",
        "x*tanh(log(1 + exp(x)))",
        sympy.Symbol("u") * sympy.tanh(sympy.log(1 + sympy.exp(sympy.Symbol("u")))),
        lambda z: z * sympy.tanh(sympy.log(1 + sympy.exp(z))),
    ],
)
def test_formulas_in_one_symbol(activation):
    np.testing.assert_allclose(values_of(activation), CLOSED["mish"](Z), rtol=1e-12)


def test_a_formula_along_the_last_axis_gets_fresh_indices():
    element = Access("z", Index("n"), Index("j"))
    assert to_text(activate("z[i] - mean(z[j], j)", element, ("n", "j"))) == "z[n,j] - mean(z[n,k], k)"
    np.testing.assert_allclose(values_of("z[i] - mean(z[j], j)"), Z - Z.mean())
    np.testing.assert_allclose(values_of("z[i]/size(j)*max(z[j], j)"), Z / 10 * 7)


@pytest.mark.parametrize(
    ("activation", "words"),
    [
        ("rleu", "Did you mean 'relu'?"),
        ("a*z", "2 symbols"),
        ("z +", "cannot be read"),
        ("__import__('os')", "no function"),
        (3.5, "no activation"),
        (lambda z: z.foo, "fails on a SymPy symbol"),
        (sympy.Symbol("a") * sympy.Symbol("b"), "2 symbols"),
        ("z[i,j]", "does not fit"),
        ("elu(alpa=2)", "Did you mean 'alpha'?"),
        ("elu(alpha=x)", "no number"),
        ("elu(alpha=True)", "a number was expected"),
        ("gelu(approximate=1)", "True or False was expected"),
        ("tanh(alpha=2)", "has no options"),
        ("softplus(beta=0)", "other than 0"),
        ({"negative_slope": 2}, "no activation"),
        ({"name": "lulu", "x": 1}, "There is no activation 'lulu'"),
    ],
)
def test_what_is_no_activation_is_refused(activation, words):
    with pytest.raises(LanguageError) as caught:
        bp.Dense(3, activation=activation)
    assert words in str(caught.value)


def test_initializers_suit_the_activation():
    assert default_initializer("relu") == "he_uniform"
    assert default_initializer("selu") == "lecun_normal"
    assert default_initializer("tanh") == default_initializer(None) == "glorot_uniform"
