"""Layers check their own equations; networks resolve names, share parameters and refuse what makes no sense."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.errors import BPCompileWarning, LanguageError, NetworkError, ShapeError
from bpcompile.language import layers, losses
from bpcompile.language.recurrence import find_cycles
from tests.oracle.interpreter import interpret, loss_gradient

X = bp.Input("x", (4,))
S = bp.Input("s", (7, 5))
Y = bp.Target("y", classes=3)


def dense(name, units=3):
    return bp.Dense(units, name=name)


class TestLayer:
    def test_inputs_are_what_is_read_and_nowhere_defined(self):
        layer = bp.Layer(["z[n,j] = sum(W[j,i]*u[n,i], i) + v[n,j]", "a[n,j] = tanh(z[n,j])"], {"W": ("j", "i")})
        assert (layer.inputs, layer.outputs, layer.defined) == (("u", "v"), ("a",), ("z", "a"))

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"equations": []}, "at least one equation"),
            ({"equations": ["y[n] = x[n]", "y[n] = x[n]"]}, "defined twice"),
            ({"equations": ["y[n] = x[n]"], "parameters": {"x": ()}, "inputs": "x"}, "used twice"),
            ({"equations": ["y[n,x] = x[n,x]"]}, "used twice"),
            ({"equations": ["x[n] = x[n]"], "inputs": "x"}, "used twice"),
            ({"equations": ["y[n] = x[n]"], "sizes": {"k": 3}}, "'k', which is not there"),
            ({"equations": ["y[n,i] = x[n,i]"], "sizes": {"i": 0}}, "positive integer"),
            ({"equations": ["y[n] = x[n]"], "sizes": {"n": 3}}, "batch"),
            ({"equations": ["y[n] = x[n]"], "output": "z"}, "'z', which is not there"),
            ({"equations": ["y[n] = x[n]"], "outside": {"xx": 0}}, "Did you mean 'x'?"),
            ({"equations": ["y[n] = w*x[n]"], "parameters": {"w": ()}, "initializers": {"v": 1}}, "'v'"),
            ({"equations": ["y[n] = w*x[n]"], "parameters": {"w": ()}, "initializers": {"w": "he"}}, "no initializer 'he'"),
            ({"equations": ["y[n] = w*x[n]"], "parameters": {"w": ("n",)}}, "batch index"),
            ({"equations": ["y[n] = w*x[n]"], "parameters": {"w": (0,)}}, "positive integers"),
            ({"equations": ["y[n] = w*x[n]"], "parameters": {"w": ()}, "penalties": {"w": 3}}, "no penalty"),
            ({"equations": ["y[n] = x[n]"], "state": {"m": ("c",)}}, "next value of state"),
            ({"equations": ["training[n] = x[n]"]}, "'training'"),
            ({"equations": ["y[n] = xx[n]"], "inputs": "x"}, "no tensor 'xx'"),
            ({"equations": ["y[n] = x[n]"], "name": "a b"}, "letters"),
        ],
    )
    def test_nonsense_is_refused(self, options, words):
        with pytest.raises(LanguageError) as caught:
            bp.Layer(**options)
        assert words in str(caught.value)

    def test_the_number_of_inputs_is_checked(self):
        with pytest.raises(NetworkError, match="reads 2 inputs"):
            bp.Layer(["y[n,i] = u[n,i] + v[n,i]"])(X)

    def test_recurrences(self):
        layer = bp.Layer(
            ["h[n,-1,j] = h0[j]", "h[n,t,j] = tanh(c[n,t,j] + s[n,t,j])",
             "c[n,t,j] = 0.5*c[n,t-1,j] + sum(U[j,k]*h[n,t-1,k], k)", "d[n,t,j] = h[n,t,j] - h[n,t-1,j]"],
            {"U": ("j", "k"), "h0": ("j",)}, output="d")  # fmt: skip
        value = layer(S)
        assert value.shape == (None, 7, 5)
        (cycle,) = find_cycles(layer.equations, layer.state, value.call.extents)
        assert (cycle.tensors, cycle.index, cycle.direction) == (("h", "c"), "t", 1)
        backward = bp.Layer(["h[n,size(t)] = 1", "h[n,t] = h[n,t+1]*s[n,t,0]"], inputs="s")
        assert find_cycles(backward.equations, (), backward(S).call.extents)[0].direction == -1

    @pytest.mark.parametrize(
        "equations",
        [
            ["h[n,t] = h[n,t] + s[n,t,0]"],
            ["h[n,t] = h[n,t-1] + h[n,t+1] + s[n,t,0]"],
            ["h[n,t] = h[n,t-1] + g[n,t]", "g[n,t] = h[n,t] + s[n,t,0]"],
            ["h[n,t] = sum(h[n,u]*s[n,u,0], u)"],
            ["h[n,-1] = 0", "h[n,t] = s[n,t,0]"],
            ["h[n,2] = 0", "h[n,t] = h[n,t+1] + s[n,t,0]"],
            ["h[n,-1] = h[n,0]", "h[n,t] = h[n,t-1] + s[n,t,0]"],
            ["h[n,t] = h[n,t-1] + s[n,t,0]", "d[n,t] = h[n,t+1]"],
        ],
    )
    def test_what_is_no_recurrence_is_refused(self, equations):
        with pytest.raises(LanguageError):
            bp.Layer(equations, inputs="s")(S)


class TestNetwork:
    def test_names_are_given_per_kind_in_the_order_of_calls(self):
        first, second = bp.Dense(4), bp.Dense(3)
        a = first(X)
        net = bp.Network(second(a), loss=bp.SoftmaxCrossEntropy(second(a), Y))
        assert [c.name for c in net.calls] == ["dense_1", "dense_2", "dense_2_2", "softmax_cross_entropy_1"]
        assert list(net.parameters) == ["dense_1.W", "dense_1.b", "dense_2.W", "dense_2.b"]
        assert net.calls[2].resolve["W"] == "dense_2.W"
        assert net.calls[2].resolve["z"] == "dense_2_2.z"
        assert net.calls[3].resolve == {
            "z": "dense_2_2.z",
            "y": "y",
            "l": "softmax_cross_entropy_1.l",
        }
        assert list(net.inputs) == ["x"] and list(net.targets) == ["y"]
        assert net.parameter_count == 4 * 4 + 4 + 3 * 4 + 3

    def test_shared_parameters(self):
        token = bp.Input("token", (7,), classes=9)
        e = bp.Layer(["e[n,t,d] = E[token[n,t],d]"], {"E": ("v", "d")}, {"v": 9, "d": 4}, name="embedding")(token)
        tied = {"parameters": {"W": ("v", "d")}, "shared": {"W": "embedding.E"}, "sizes": {"v": 9}, "name": "logits"}
        z = bp.Layer(["z[n,t,v] = sum(W[v,d]*e[n,t,d], d)"], **tied)(e)
        net = bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, bp.Target("y", (7,), classes=9)))
        assert list(net.parameters) == ["embedding.E"]
        assert net.calls[1].resolve["W"] == "embedding.E"
        wrong = bp.Layer(["z[n,t,v] = sum(W[v,d]*e[n,t,d], d)"], **{**tied, "shared": {"W": "embeding.E"}})(e)
        with pytest.raises(NetworkError, match=r"Did you mean 'embedding\.E'"):
            bp.Network(wrong)
        small = bp.Layer(["z[n,t,v] = sum(W[v,d]*e[n,t,d], d)"], **{**tied, "sizes": {"v": 8}})(e)
        with pytest.raises(ShapeError, match="shape"):
            bp.Network(small)

    def test_losses_add_up_with_weights(self):
        z = dense("z")(X)
        a, b = bp.SoftmaxCrossEntropy(z, Y, name="a"), bp.MeanSquaredError(z, bp.Target("t", (3,)), name="b")
        assert [w for w, _ in bp.Network(z, loss=2 * (0.5 * a + b)).losses] == [1.0, 2.0]
        assert [w for w, _ in bp.Network(z, loss=[a, b], loss_weights=[1, 0.1]).losses] == [1.0, 0.1]
        with pytest.raises(LanguageError):
            a * b
        with pytest.raises(NetworkError):
            bp.Network(z, loss=[a, b], loss_weights=[1])

    def test_names_used_twice_are_refused(self):
        with pytest.raises(NetworkError, match="'h' is used twice"):
            bp.Network(dense("h")(dense("h")(X)))
        with pytest.raises(NetworkError, match="'x' is used twice"):
            bp.Network(dense("x")(X))
        with pytest.raises(NetworkError, match="'x' is used twice"):
            bp.Network(bp.Layer(["y[n,i] = a[n,i] + b[n,i]"])(X, bp.Input("x", (4,))))

    def test_a_layer_called_on_two_shapes_is_refused(self):
        layer = dense("h")
        with pytest.raises(ShapeError, match=r"'h\.W'"):
            bp.Network([layer(X), layer(bp.Input("u", (5,)))])

    def test_a_loss_needs_a_loss_shape(self):
        with pytest.raises(NetworkError, match="shape"):
            bp.Network(dense("z")(X), loss=dense("z")(X))
        with pytest.raises(NetworkError):
            bp.Network(X)
        with pytest.raises(NetworkError):
            bp.Network()
        with pytest.raises(NetworkError):
            bp.Network(dense("z"))

    def test_parameters_that_no_loss_reaches_are_told(self):
        equations = ["y[n] = sum(W[i]*x[n,i], i) + stop_gradient(b)", "q[n] = c*y[n]"]
        layer = bp.Layer(equations, {"W": ("i",), "b": (), "c": ()}, name="w", output="y")
        value = layer(X)
        with pytest.warns(BPCompileWarning) as told:
            bp.Network(value, loss=value)
        assert [str(w.message).split("'")[1] for w in told] == ["w.b", "w.c"]

    def test_no_warning_where_all_is_reached(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            z = dense("z")(X)
            bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, Y, class_weights=[1, 2, 3]))

    def test_an_ignored_label_must_be_ignored_everywhere(self):
        z = dense("z")(X)
        ignoring = bp.SoftmaxCrossEntropy(z, Y, ignore_index=-100)
        assert bp.Network(z, loss=ignoring).tensors["y"].exempt == (-100,)
        with pytest.raises(NetworkError, match="'y' may hold -100"):
            bp.Network(z, loss=[ignoring, bp.SoftmaxCrossEntropy(z, Y)])

    def test_penalties_and_frozen_parameters(self):
        z = bp.Dense(3, name="z", kernel_regularizer=bp.L2(0.1))(bp.Dense(3, trainable=False, name="h")(X))
        net = bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, Y), penalties={"z.W": bp.L1(0.5)})
        assert net.parameters["z.W"].penalty == (0.5, 0.1)
        assert not net.parameters["h.W"].trainable
        with pytest.raises(NetworkError, match=r"'z\.V'"):
            bp.Network(z, penalties={"z.V": bp.L1(0.5)})

    @pytest.mark.parametrize(
        "make",
        [
            lambda: bp.Input("a b", (3,)),
            lambda: bp.Input("params", (3,)),
            lambda: bp.Input("x", (0,)),
            lambda: bp.Input("x", (3.5,)),
            lambda: bp.Target("y", classes=0),
            lambda: dense("h")(np.ones((3, 3))),
            lambda: dense("h")(),
        ],
    )
    def test_bad_leaves_and_calls(self, make):
        with pytest.raises(LanguageError):
            make()


class TestMeaning:
    """The interpreter, against NumPy."""

    def test_two_layers_and_a_worked_number(self):
        x = bp.Input("x", (2,))
        out = bp.Dense(1, "sigmoid", name="out")(bp.Dense(2, "sigmoid", name="hidden")(x))
        net = bp.Network(out, loss=bp.BinaryCrossentropy(out, bp.Target("y")))
        params = {"hidden.W": [[0.1, 0.3], [0.2, 0.4]], "hidden.b": [0.1, 0.2], "out.W": [[0.5, 0.6]], "out.b": [0.1]}
        data = {"x": [[0.5, 0.3]], "y": [1.0]}
        assert interpret(net, params, data).loss == pytest.approx(0.389462, abs=1e-6)
        expected = [[-0.019874, -0.011924], [-0.023157, -0.013894]]
        np.testing.assert_allclose(loss_gradient(net, params, data, "hidden.W"), expected, atol=1e-6)

    def test_recurrence_state_draws_and_gather(self):
        layer = bp.Layer(
            ["h[n,-1,j] = h0[j]", "h[n,t,j] = tanh(s[n,t,j] + sum(U[j,k]*h[n,t-1,k], k))",
             "m[j] = 0.5*m[j] + mean(h[n,t,j], n, t)",
             "a[n] = argmax(h[n,0,i], i)", "o[n,j] = (h[n,6,j] - m[j])*bernoulli(0.5) + E[a[n],j]"],
            {"U": ("j", "k"), "h0": ("j",), "E": ("v", "j")}, {"v": 5}, state={"m": ("j",)}, output="o", name="r")  # fmt: skip
        net = bp.Network(layer(S))
        rng = np.random.default_rng(0)
        params = {name: rng.normal(size=info.shape) for name, info in net.parameters.items()}
        s, m = rng.normal(size=(2, 7, 5)), rng.normal(size=5)

        def draw(kind, call, equation, occurrence, indices, numbers):
            assert (kind, call, numbers) == ("bernoulli", "r", (0.5,))
            return float((indices["n"] + indices["j"]) % 2)

        result = interpret(net, params, {"s": s}, state={"r.m": m}, draw=draw)
        h, steps = np.tile(params["r.h0"], (2, 1)), []
        for t in range(7):
            h = np.tanh(s[:, t] + h @ params["r.U"].T)
            steps.append(h)
        mask = (np.arange(2)[:, None] + np.arange(5)) % 2
        expected = (h - m) * mask + params["r.E"][steps[0].argmax(1)]
        np.testing.assert_allclose(result.values["r.o"].astype(float), expected, rtol=1e-12)
        np.testing.assert_allclose(result.state["r.m"].astype(float), 0.5 * m + np.mean(steps, axis=(0, 1)), rtol=1e-12)


def test_flatten_is_row_major():
    x = bp.Input("x", (2, 3, 4))
    net = bp.Network(bp.Flatten(name="f")(x))
    data = np.arange(48.0).reshape(2, 2, 3, 4)
    np.testing.assert_array_equal(interpret(net, {}, {"x": data}).values["f.y"].astype(float), data.reshape(2, 24))


def test_dense_works_on_the_last_axis_of_any_rank():
    x = bp.Input("x", (2, 3, 4))
    net = bp.Network(bp.Dense(5, "softmax", name="d")(x))
    rng = np.random.default_rng(0)
    data, W, b = rng.normal(size=(2, 2, 3, 4)), rng.normal(size=(5, 4)), rng.normal(size=5)
    z = np.exp(data @ W.T + b)
    values = interpret(net, {"d.W": W, "d.b": b}, {"x": data}).values["d.a"].astype(float)
    np.testing.assert_allclose(values, z / z.sum(-1, keepdims=True), rtol=1e-12)


def test_importing_the_package_is_quick_and_loads_no_sympy():
    code = "import bpcompile, sys; assert 'sympy' not in sys.modules and 'numpy' not in sys.modules; bpcompile.BPCompileError"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_there():
    for name in ("Index", "Tensor", "Equation", "Layer", "Network", "Dense", "L1", "sum", "max", "BPCompileError", "losses"):
        assert getattr(bp, name) is not None
    assert "Dense" in dir(bp)
    for name in (*layers.__all__, *losses.__all__):
        assert hasattr(bp, name) or name in ("SPEC_KINDS", "LOSSES")
    with pytest.raises(AttributeError, match="no attribute 'Dence'"):
        bp.Dence  # noqa: B018


def test_a_sum_of_values_is_not_a_value() -> None:
    a, b = bp.Input("a", (3,)), bp.Input("b", (3,))
    with pytest.raises(NetworkError, match=r"Layer 'dense.*' is called on .*\n?.*bp\.Add\(\)\(a, b\)"):
        bp.Dense(2)(a + b)
