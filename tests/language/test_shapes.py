"""Extents are inferred and checked; errors name the equation, the tensor, the index and both extents."""

from types import MappingProxyType

import pytest

import bpcompile as bp
from bpcompile.errors import LanguageError, ShapeError
from bpcompile.language.affine import Affine, Quotient, Ranges, affine, facts_of, interval
from bpcompile.language.parser import parse_expression
from bpcompile.language.syntax import Names

X = bp.Input("x", (64,))
S = bp.Input("s", (7, 5))
TOKEN = bp.Input("token", (7,), classes=50)


def shape(equations, values, **options):
    return bp.Layer(equations, **options)(*values).shape


def test_extents_come_from_inputs_and_sizes():
    dense = {"parameters": {"W": ("j", "i"), "b": ("j",)}, "sizes": {"j": 32}}
    layer = bp.Layer(["z[n,j] = sum(W[j,i]*x[n,i], i) + b[j]"], **dense)
    value = layer(X)
    assert value.shape == (None, 32)
    assert value.call.extents == {"n": None, "j": 32, "i": 64}
    assert value.call.tensors["W"].shape == (32, 64)


def test_parameter_axes_may_be_called_otherwise_than_where_they_are_used():
    value = bp.Layer(["y[n,o] = sum(K[o,q]*x[n,q], q)"], {"K": ("a", "b")}, {"a": 3})(X)
    assert value.call.tensors["K"].shape == (3, 64)


@pytest.mark.parametrize(
    ("equation", "options", "inputs", "expected"),
    [
        ("y[n,i] = sum(x[n,2*i+p-1], p)", {"sizes": {"p": 3, "i": 32}, "outside": {"x": 0}}, [X], 32),
        ("y[n,i] = sum(x[n,2*i+p], p)", {"sizes": {"p": 2, "i": 32}}, [X], 32),
        ("y[n,k] = s[n,k//5,k%5]", {"sizes": {"k": 35}}, [S], 35),
        ("y[n,t] = s[n,size(t)-1-t,0]", {"sizes": {"t": 7}}, [S], 7),
        ("y[n,t] = where(0 <= t-2 and t-2 < 7, s[n,t-2,0], 0)", {"sizes": {"t": 9}}, [S], 9),
        ("y[n,t] = where(2 <= t, s[n,t-2,0], 0)", {"sizes": {"t": 9}}, [S], 9),
        ("y[n,t] = where(t < 2, 0, s[n,t-2,0])", {"sizes": {"t": 9}}, [S], 9),
        ("y[n,t] = where(not (t < 2 or t > 8), s[n,t-2,0], 0)", {"sizes": {"t": 10}}, [S], 10),
        ("y[n,j] = where(j < 7, s[n,j,0], x[n,j-7])", {"sizes": {"j": 71}, "inputs": ("s", "x")}, [S, X], 71),
        ("y[n,i] = sum(where((i+1-p)%2 == 0 and 0 <= i+1-p and (i+1-p)//2 < 64, x[n,(i+1-p)//2], 0), p)",
         {"sizes": {"p": 4, "i": 128}}, [X], 128),
        ("e[n,t] = E[token[n,t],3]", {"parameters": {"E": ("v", "d")}, "sizes": {"v": 50, "d": 4}}, [TOKEN], 7),
        ("y[n,c] = b[c]", {"parameters": {"b": ("c",)}, "sizes": {"c": 4}, "inputs": ()}, [], 4),
    ],
)  # fmt: skip
def test_reads_that_stay_inside_are_taken(equation, options, inputs, expected):
    assert shape([equation], inputs, **options) == (None, expected)


@pytest.mark.parametrize(
    ("equation", "options", "inputs", "words"),
    [
        ("y[n,i] = x[n,i] + b[i]", {"parameters": {"b": ("i",)}, "sizes": {"i": 3}}, [X],
         ["'i'", "3", "64", "'x'", "y[n,i] ="]),
        ("y[n,i] = sum(x[n,2*i+p-1], p)", {"sizes": {"p": 3, "i": 32}}, [X], ["-1 to 63", "'x'", "64", "outside"]),
        ("y[n,i] = sum(x[n,2*i+p], p)", {"sizes": {"p": 3}}, [X], ["Nothing tells the extent of index 'i'", "sizes"]),
        ("y[n,i] = x[n,i] + x[i,n]", {}, [X], ["'x[i,n]'", "batch"]),
        ("y[n] = x[n]", {}, [X], ["1 subscripts", "2 axes", "[n, 64]"]),
        ("y[n] = x[n,64]", {}, [X], ["is 64", "extent 64"]),
        ("y[n] = x[n+1,0]", {}, [X], ["batch"]),
        ("y[i,n] = x[n,i]", {}, [X], ["stands first"]),
        ("y[n,k] = s[n,k//5,k%5]", {"sizes": {"k": 36}}, [S], ["0 to 7"]),
        ("y[n,t] = where(0 <= t-2 and t-2 < 8, s[n,t-2,0], 0)", {"sizes": {"t": 10}}, [S], ["0 to 7"]),
        ("y[n,t] = where(t-2 < 7, s[n,t-2,0], 0)", {"sizes": {"t": 9}}, [S], ["-2 to 6"]),
        ("y[n,t] = where(0 <= t-2 or t-2 < 7, s[n,t-2,0], 0)", {"sizes": {"t": 9}}, [S], ["-2 to 6"]),
        ("e[n,t] = E[token[n,t]]", {"parameters": {"E": ("v",)}, "sizes": {"v": 49}}, [TOKEN], ["0 to 49", "extent 49"]),
    ],
)  # fmt: skip
def test_shape_errors_name_everything(equation, options, inputs, words):
    with pytest.raises(ShapeError) as caught:
        shape([equation], inputs, **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("equation", "words"),
    [
        ("y[n] = s[n,s[n,0,0],0]", "real"),
        ("y[n,i] = s[n,i*i,0]", "multiplies indices"),
        ("y[n,i] = s[n,i/2,0]", "//"),
        ("y[n,i] = s[n,1.5,0]", "not an integer"),
        ("y[n,i] = s[n,i//size(n),0]", "run time"),
        ("y[n,i] = s[n,i//(0-2),0]", "positive constant"),
        ("y[n,i] = s[n,exp(i),0]", "not made of"),
    ],
)
def test_subscripts_that_are_no_affine_forms(equation, words):
    with pytest.raises(LanguageError, match=r"subscript|real") as caught:
        bp.Layer([equation], sizes={"i": 2} if "i" in equation.split("=")[0] else {}, inputs=("s",))(S)
    assert words in str(caught.value)


def test_integer_tensors_are_known_with_their_range():
    def info(equation, value, **options):
        layer = bp.Layer([equation], **options)
        return next(iter(layer(value).call.tensors[name] for name in layer.outputs))

    assert info("k[n,t] = argmax(s[n,t,i], i)", S).classes == 5
    assert info("k[n,t] = where(token[n,t] > 3, token[n,t], 0)", TOKEN).classes == 50
    assert info("k[n,t] = token[n,t] + 1", TOKEN).integer
    assert not info("k[n,t] = where(token[n,t] > 3, 1, 0)", TOKEN).integer
    assert not info("k[n,t] = 2*token[n,t]", TOKEN, types={"k": "real"}).integer
    assert not info("k[n,t] = token[n,t]/2", TOKEN).integer


class TestAffine:
    extents = MappingProxyType({"i": 10, "p": 3, "n": None})

    def form(self, text):
        return affine(parse_expression(text, Names(indices=("i", "p", "n"))), self.extents)

    def test_forms(self):
        assert self.form("2*i + p - 1") == Affine((("i", 2), ("p", 1)), -1)
        assert self.form("(4*i + 2)//2") == Affine((("i", 2),), 1)
        assert self.form("(i + p) - i") == Affine((("p", 1),), 0)
        assert self.form("i//3") == Affine(((Quotient(Affine((("i", 1),)), 3), 1),))
        assert self.form("(6*i + 4)%3") == Affine((), 1)
        assert self.form("size(i)*2") == Affine((), 20)

    @pytest.mark.parametrize(
        ("text", "function"),
        [
            ("i//3 - p%2", lambda i, p: i // 3 - p % 2),
            ("(2*i + p)//4", lambda i, p: (2 * i + p) // 4),
            ("(i - p)%4", lambda i, p: (i - p) % 4),
            ("2 - (i - 7)//3", lambda i, p: 2 - (i - 7) // 3),
            ("(i//2)%3 + p", lambda i, p: (i // 2) % 3 + p),
        ],
    )
    def test_intervals_are_what_the_values_are(self, text, function):
        values = [function(i, p) for i in range(10) for p in range(3)]
        assert interval(self.form(text), Ranges(self.extents)) == (min(values), max(values))

    def test_facts_narrow(self):
        condition = parse_expression("where(0 <= 2*i - 3 and 2*i - 3 < 5, 1, 0)", Names(indices=("i",))).args[0]
        ranges = Ranges(self.extents, {}, facts_of(condition, self.extents))
        assert interval(self.form("2*i - 3"), ranges) == (0, 4)
        assert interval(self.form("2*i - 1"), ranges) == (2, 6)
        assert facts_of(condition, self.extents, holds=False) == ()
