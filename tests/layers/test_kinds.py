"""Every kind of layer from a spec file, what is refused and how, and the equations read by the independent interpreter."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.errors import BPCompileError
from bpcompile.language import layers
from bpcompile.language.kinds import KINDS
from bpcompile.language.spec import parse_spec
from tests.layers.cases import Case
from tests.layers.harness import build, draw, model_of, run
from tests.layers.sweep import CASES, check_c, check_numpy
from tests.oracle.interpreter import interpret

#: Options that a kind needs, what it is called on (the shape of an input, or several), and the shape of what it gives.
SPECS: dict[str, tuple[str, list[Any], tuple[int, ...]]] = {
    "add": ("", [[3], [3]], (3,)),
    "subtract": ("", [[3], [3]], (3,)),
    "multiply": ("", [[3], [3]], (3,)),
    "maximum": ("", [[3], [3]], (3,)),
    "minimum": ("", [[3], [3]], (3,)),
    "average": ("", [[3], [3]], (3,)),
    "concatenate": ("", [[3], [2]], (5,)),
    "dot": ("normalize = true", [[3], [3]], (1,)),
    "prelu": ("", [[3]], (3,)),
    "bilinear": ("units = 4", [[3], [2]], (4,)),
    "maxout": ("units = 4", [[3]], (4,)),
    "glu": ("", [[4]], (2,)),
    "radial_basis": ("units = 4", [[3]], (4,)),
    "low_rank": ("units = 4\nrank = 2", [[3]], (4,)),
    "reshape": ("target_shape = [2, -1]", [[6]], (2, 3)),
    "permute": ("dims = [2, 1]", [[2, 3]], (3, 2)),
    "repeat_vector": ("n = 4", [[3]], (4, 3)),
    "zero_padding1d": ("padding = [1, 2]", [[3, 2]], (6, 2)),
    "zero_padding3d": ("padding = [1, 0, 2]", [[1, 2, 3, 3]], (1, 4, 3, 7)),
    "zero_padding2d": ("padding = [[1, 0], [0, 2]]", [[1, 3, 3]], (1, 4, 5)),
    "cropping1d": ("cropping = [1, 2]", [[5, 2]], (2, 2)),
    "cropping3d": ("", [[1, 4, 3, 5]], (1, 2, 1, 3)),
    "cropping2d": ("", [[1, 4, 4]], (1, 2, 2)),
    "up_sampling1d": ("", [[3, 2]], (6, 2)),
    "up_sampling3d": ("size = [1, 2, 3]", [[1, 2, 2, 2]], (1, 2, 4, 6)),
    "up_sampling2d": ("interpolation = 'bilinear'", [[1, 2, 3]], (1, 4, 6)),
    "conv1d": ("filters = 3\npadding = 'same'", [[6, 2]], (6, 3)),
    "conv2d": ("filters = 3\nkernel_size = [3, 2]", [[2, 5, 5]], (3, 3, 4)),
    "conv3d": ("filters = 2\nkernel_size = 2", [[1, 3, 3, 3]], (2, 2, 2, 2)),
    "conv2d_transpose": ("filters = 2\nstrides = 2", [[1, 3, 3]], (2, 7, 7)),
    "conv1d_transpose": ("filters = 2\nstrides = 2", [[3, 1]], (7, 2)),
    "conv3d_transpose": ("filters = 2\nkernel_size = 2", [[1, 2, 3, 2]], (2, 3, 4, 3)),
    "depthwise_conv1d": ("padding = 'causal'", [[4, 2]], (4, 2)),
    "separable_conv1d": ("filters = 3", [[4, 2]], (2, 3)),
    "depthwise_conv2d": ("", [[2, 4, 4]], (2, 2, 2)),
    "separable_conv2d": ("filters = 3", [[2, 4, 4]], (3, 2, 2)),
    "max_pooling1d": ("", [[6, 2]], (3, 2)),
    "max_pooling2d": ("", [[2, 4, 5]], (2, 2, 2)),
    "max_pooling3d": ("ceil_mode = true", [[2, 4, 5, 4]], (2, 2, 3, 2)),
    "average_pooling3d": ("", [[2, 4, 5, 4]], (2, 2, 2, 2)),
    "global_average_pooling3d": ("", [[2, 4, 5, 4]], (2,)),
    "global_max_pooling3d": ("keepdims = true", [[2, 4, 5, 4]], (2, 1, 1, 1)),
    "adaptive_average_pooling1d": ("output_size = 3", [[5, 2]], (3, 2)),
    "average_pooling1d": ("", [[6, 2]], (3, 2)),
    "average_pooling2d": ("pool_size = 3\npadding = 1", [[2, 6, 6]], (2, 2, 2)),
    "global_average_pooling1d": ("", [[4, 3]], (3,)),
    "global_average_pooling2d": ("keepdims = true", [[2, 4, 3]], (2, 1, 1)),
    "global_max_pooling1d": ("", [[4, 3]], (3,)),
    "global_max_pooling2d": ("", [[2, 4, 3]], (2,)),
    "adaptive_average_pooling2d": ("output_size = [2, 3]", [[2, 5, 4]], (2, 2, 3)),
    "masking": ("mask_value = -1", [[4, 2]], (4, 2)),
    "unit_normalization": ("", [[3]], (3,)),
    "relu": ("max_value = 6.0", [[3]], (3,)),
    "leaky_relu": ("", [[3]], (3,)),
    "elu": ("alpha = 0.5", [[3, 2]], (3, 2)),
    "softmax": ("axis = 1", [[3, 2]], (3, 2)),
    "batch_normalization": ("", [[3]], (3,)),
    "layer_normalization": ("", [[3]], (3,)),
    "rms_normalization": ("", [[3]], (3,)),
    "group_normalization": ("groups = 2", [[4, 2, 2]], (4, 2, 2)),
    "instance_normalization": ("", [[4, 2, 2]], (4, 2, 2)),
    "dropout": ("rate = 0.2", [[3]], (3,)),
    "spatial_dropout1d": ("", [[3, 2]], (3, 2)),
    "spatial_dropout2d": ("", [[3, 2, 2]], (3, 2, 2)),
    "alpha_dropout": ("", [[3]], (3,)),
    "gaussian_noise": ("stddev = 0.1", [[3]], (3,)),
    "gaussian_dropout": ("", [[3]], (3,)),
    "embedding": ("input_dim = 5\noutput_dim = 3", [{"shape": [4], "classes": 5}], (4, 3)),
    "positional_embedding": ("", [[4, 3]], (4, 3)),
    "sinusoidal_positional_encoding": ("", [[4, 3]], (4, 3)),
    "rotary_embedding": ("", [[4, 6]], (4, 6)),
    "simple_rnn": ("units = 3", [[4, 2]], (3,)),
    "lstm": ("units = 3\nbidirectional = true", [[4, 2]], (6,)),
    "gru": ("units = 3\nreturn_sequences = true", [[4, 2]], (4, 3)),
    "multi_head_attention": ("num_heads = 2\ncausal = true", [[4, 6]], (4, 6)),
    "transformer_encoder_layer": ("num_heads = 2\nintermediate_dim = 8", [[4, 6]], (4, 6)),
    "transformer_decoder_layer": ("num_heads = 2\nintermediate_dim = 8", [[4, 6], [3, 6]], (4, 6)),
    "residual_block": ("filters = 4\nstrides = 2", [[2, 6, 6]], (4, 3, 3)),
}


def test_every_kind_is_here() -> None:
    assert set(SPECS) == set(layers.SPEC_KINDS)
    assert set(SPECS) <= set(KINDS)


@pytest.mark.parametrize("kind", SPECS)
def test_spec(kind: str) -> None:
    options, inputs, shape = SPECS[kind]
    lines = ["[network]", "[inputs]"]
    for k, value in enumerate(inputs):
        given = value if isinstance(value, list) else f"{{ shape = {value['shape']}, classes = {value['classes']} }}"
        lines.append(f"x{k} = {given}")
    lines += ["[[layers]]", f'kind = "{kind}"', f"from = {[f'x{k}' for k in range(len(inputs))]}", options]
    (output,) = parse_spec("\n".join(lines)).network.outputs
    assert output.shape == (None, *shape)


def test_public_names() -> None:
    missing = [name for name in layers.__all__ if name not in ("SPEC_KINDS", "LibraryLayer") and name not in bp.__all__]
    assert not missing
    assert all(inspect.getdoc(getattr(bp, name)) for name in layers.__all__ if name in bp.__all__)


def image(*shape: int) -> Any:
    return bp.Input("x", shape)


REFUSED = [
    (lambda: bp.Conv2D(0), "positive integer"),
    (lambda: bp.Conv2D(3, groups=2), "3 filters"),
    (lambda: bp.Conv2D(4, groups=3)(image(4, 5, 5)), "4 filters"),
    (lambda: bp.Conv2D(4, groups=2)(image(3, 5, 5)), "3 channels"),
    (lambda: bp.Conv2D(4, 6)(image(3, 5, 5)), "does not fit"),
    (lambda: bp.Conv2D(4, padding="sane")(image(3, 5, 5)), "'sane'"),
    (lambda: bp.Conv2D(4, (3, 3, 3))(image(3, 5, 5)), "kernel_size"),
    (lambda: bp.Conv2D(4, activation="rely"), "rely"),
    (lambda: bp.Conv2D(4)(image(5, 5)), "n, channel, row, column"),
    (lambda: bp.MaxPooling2D(2, padding=2)(image(3, 5, 5)), "padding alone"),
    (lambda: bp.Dropout(1.0), "below 1"),
    (lambda: bp.Add()(image(3)), "two or more"),
    (lambda: bp.Add()(bp.Input("a", (3,)), bp.Input("b", (2,))), "different extents"),
    (lambda: bp.Concatenate(0)(bp.Input("a", (3,)), bp.Input("b", (2,))), "axes 1 to 1"),
    (lambda: bp.Reshape((4,))(image(3)), "3 elements"),
    (lambda: bp.Permute((1, 1))(image(3, 2)), "axes 1 to 2"),
    (lambda: bp.GLU()(image(3)), "odd"),
    (lambda: bp.Embedding(4, 2)(image(3)), "integers"),
    (lambda: bp.Embedding(4, 2)(bp.Input("t", (3,), classes=9)), "9 classes"),
    (lambda: bp.LSTM(3)(image(4, 2), bp.Input("h", (3,))), "initial states"),
    (lambda: bp.GRU(3)(image(4, 2), bp.Input("h", (2,))), "initial state is"),
    (lambda: bp.MultiHeadAttention(3)(image(4, 8)), "key_dim"),
    (lambda: bp.MultiHeadAttention(4, num_key_value_heads=3), "divided among 3"),
    (lambda: bp.GroupNormalization(3)(image(4, 2, 2)), "3 groups"),
    (lambda: bp.LayerNormalization(1)(image(4, 2)), "last axes"),
    (lambda: bp.WeightNormalization(bp.Flatten())(image(4, 2)), "no parameter"),
    (lambda: bp.Bidirectional(bp.Flatten()), "recurrent"),  # type: ignore[arg-type]
    (lambda: bp.Sequential([]), "layers"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_refused_with_a_sentence(make: Any, words: str) -> None:
    with pytest.raises(BPCompileError) as caught:
        make()
    assert words in str(caught.value)


NAMES = {case.name: case for case in CASES}


@pytest.mark.parametrize(
    "name",
    ["conv1d causal", "transposed same", "up bilinear (2, 3)", "batch normalization (3,) 1 {}", "truncated GRU",
     "GRU {} True True", "LSTM last True", "grouped rotary", "adaptive average (2, 3, 3) (5, 4)"],
)  # fmt: skip
def test_outputs_are_what_the_equations_say(name: str) -> None:
    built = build([NAMES[name]])
    arrays = draw(built)
    results = run(built, model_of(built, "numpy"), arrays)
    found = interpret(built.network, arrays[0], arrays[1], state=arrays[2] or None, training=False)
    for value, output in zip(built.network.outputs, results.outputs, strict=True):
        np.testing.assert_allclose(output, np.asarray(found.values[value.name], float), rtol=1e-10, atol=1e-12)


def test_dropped_elements_repeat_and_keep_the_mean() -> None:
    x, y = bp.Input("x", (500,)), bp.Target("y", (500,))
    dropped = bp.Dropout(0.3, name="dropout")(x)
    loss = bp.Layer(["l[n] = sum(y[n,i]*a[n,i], i)"], inputs=("a", "y"), output="l")(dropped, y)
    model = bp.compile(bp.Network(dropped, loss=loss), backend="numpy", dtype="float64", wrt=("x",))
    data = {"x": np.ones((40, 500)), "y": np.ones((40, 500))}

    def slopes(key: int, step: int, training: bool = True) -> Any:
        return model.value_and_grad(model.init(), key=key, step=step, training=training, **data)[1]["x"] * 40

    first = slopes(1, 2)
    assert np.array_equal(first, slopes(1, 2)) and not np.array_equal(first, slopes(1, 3))
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.7])
    assert abs(np.mean(first == 0) - 0.3) < 0.01
    assert np.array_equal(slopes(1, 2, training=False), np.ones((40, 500)))
    assert np.array_equal(model.predict(model.init(), x=data["x"]), data["x"])


def test_the_comparisons_notice_a_wrong_reference() -> None:
    pytest.importorskip("torch", reason="its comparisons are left out: pip install 'bpcompile[oracles]'")
    right = NAMES["conv1d causal"]
    assert right.reference is not None
    reference = right.reference
    wrong = Case(right.name, right.make, right.inputs, lambda p, x: reference(p, x).flip(1))
    assert any(check.failed for check in check_numpy([wrong]))


def test_a_layer_called_twice_shares_its_parameters() -> None:
    block = bp.TransformerEncoderLayer(2, 8, dropout=0.0, name="block")
    once = bp.Network(block(image(4, 6)))
    again = bp.Network(block(block(image(4, 6))))
    assert once.parameters.keys() == again.parameters.keys()


def test_state_dict_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="its comparisons are left out: pip install 'bpcompile[oracles]'")
    theirs = torch.nn.Sequential()
    theirs.add_module("conv", torch.nn.Conv2d(2, 4, 3, padding=1))
    theirs.add_module("flat", torch.nn.Flatten())
    theirs.add_module("output", torch.nn.Linear(100, 3))
    ours = bp.Sequential([bp.Conv2D(4, 3, padding=1, name="conv"), bp.Flatten(), bp.Dense(3, name="output")])
    model = bp.compile(bp.Network(ours(image(2, 5, 5))), backend="numpy", dtype="float64")
    params = model.load_state_dict(theirs.double().state_dict())
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 5))
    np.testing.assert_allclose(model.predict(params, x=x), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-10)


def test_c_of_a_residual_block_and_a_transformer() -> None:
    chosen = [NAMES["residual block 4 2"], NAMES["decoder"]]
    assert not [check for check in check_c(chosen, float32=True) if check.failed]
