"""Text becomes the tree that was typed, and nothing but the grammar gets through."""

import contextlib
import time

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from bpcompile.errors import BPCompileError, LanguageError, ParseError
from bpcompile.language.parser import parse_equation, parse_expression
from bpcompile.language.symbols import Access, Draw, FloorDivide, Index, LogicalAnd, Maximum, Modulo, Reduction, Where
from bpcompile.language.syntax import Names
from bpcompile.language.text import to_text

EQUATIONS = [
    "z[n,j] = sum(W[j,i]*x[n,i], i) + b[j]",
    "a[n,j] = z[n,j]/(1 + exp(-z[n,j]))",
    "y[n,o,h,w] = sum(K[o,c,p,q]*x[n,c,2*h + p - 1,2*w + q - 1], c, p, q)",
    "l[n] = max(z[n,j], j) - z[n,y[n]]",
    "r[n,j] = where(j < 4 and not training or z[n,j] != 0, z[n,j], -inf)",
    "p[t,d] = sin(t/10000**(-2*d/size(d)))",
    "h[n,-1,j] = 0",
    "h[n,t,j] = tanh(u[n,t,j] + sum(U[j,k]*h[n,t - 1,k], k))",
    "d[n,j] = x[n,j]*bernoulli(0.9)/0.9 + normal() - bernoulli(0.5)",
    "f[n,j] = x[n,j//4,j%4]",
    "m = mean(l[n], n)",
    "a = -x**2 - -3 - (b - c) - -(d*e)*-f",
    "q[n] = (x[n] + 1)*2*(3/4)/5*sqrt(x[n])**0.1 - (2 - pi)",
    "k[n] = argmax(z[n,j], j)",
    "s[n] = stop_gradient(atan2(x[n], abs(y[n])))",
    "g[n] = min(max(z[n], 0), 6)/6",
]  # fmt: skip


@pytest.mark.parametrize("text", EQUATIONS)
def test_what_is_printed_parses_to_the_same_tree(text):
    equation = parse_equation(text)
    printed = f"{to_text(equation.lhs)} = {to_text(equation.rhs)}"
    again = parse_equation(printed)
    assert (again.lhs, again.rhs) == (equation.lhs, equation.rhs)
    assert printed == text
    assert equation.text == text


def test_nothing_is_folded_flattened_or_sorted():
    x, y = Access("x"), Access("y")
    assert parse_expression("(1 + x) - 1").args == (
        sympy.Add(1, x, evaluate=False),
        sympy.Mul(-1, 1, evaluate=False),
    )
    assert parse_expression("0*x").args == (0, x)
    assert parse_expression("(y*x)**2").args == (sympy.Mul(y, x, evaluate=False), 2)
    assert parse_expression("y + x + y").args == (sympy.Add(y, x, evaluate=False), y)
    assert parse_expression("exp(0)").args == (0,)
    assert parse_expression("y/x").args == (y, sympy.Pow(x, -1, evaluate=False))
    assert parse_expression("log(exp(x))") == sympy.log(sympy.exp(x, evaluate=False), evaluate=False)


@pytest.mark.parametrize("text", ["0.1", "1e-300", "3.141592653589793", "123456789.987654321", "5e-324"])
def test_decimals_are_the_nearest_double(text):
    assert float(parse_expression(text)) == float(text)


def test_kinds_of_nodes():
    rhs = parse_equation("y[n,k] = where(0 <= k < 4, x[n,k//2,k%2], 0)").rhs
    assert isinstance(rhs, Where) and isinstance(rhs.args[0], LogicalAnd)
    assert rhs.args[1] == Access(
        "x", Index("n"), FloorDivide(Index("k"), sympy.Integer(2)), Modulo(Index("k"), sympy.Integer(2))
    )


def test_max_reduces_over_indices_that_do_not_stand_on_the_left():
    assert isinstance(parse_equation("y[n] = max(x[n,i,j], i, j)").rhs, Reduction)
    elementwise = parse_equation("y[n,i] = max(x[n,i], i)").rhs
    assert isinstance(elementwise, Maximum) and elementwise.args[1] == Index("i")
    scalar = parse_equation("y[n] = max(x[n], b)", Names(tensors={"x", "b", "y"})).rhs
    assert isinstance(scalar, Maximum)
    nested = parse_equation("y[n] = max(x[n], 0, 1)").rhs
    assert isinstance(nested.args[0], Maximum)


def test_every_draw_is_its_own():
    rhs = parse_equation("y[n] = bernoulli(0.5) + bernoulli(0.5)").rhs
    assert [d.occurrence for d in rhs.args] == [0, 1]
    assert all(isinstance(d, Draw) for d in rhs.args) and rhs.args[0] != rhs.args[1]


def test_constants_stand_for_numbers_also_in_subscripts():
    equation = parse_equation("y[n,i] = c*x[n,s*i]", Names(constants={"s": 2, "c": 0.5}))
    assert equation.rhs == sympy.Mul(
        sympy.Float(0.5), Access("x", Index("n"), sympy.Mul(2, Index("i"), evaluate=False)), evaluate=False
    )


REFUSED = {
    "x = __import__('os').system('ls')": "dot",
    "x = (lambda: 1)()": "functions are called",
    "x = [i for i in y]": "comprehension",
    "x = sum(i for i in y)": "index to run over",
    "x = np.exp(y)": "dot",
    "x = y if z else w": "where",
    "x[n] = foo(y[n])": "no function 'foo'",
    "x[n] = sigmiod(y[n])": "Did you mean 'sigmoid'?",
    "x == 3": "'='",
    "x[n] = y[n": "never closed",
    "x[n+1] = y[n]": "plain indices",
    "x[n] = W[n,i]": "neither stands on the left nor is it reduced",
    "x[n,n] = 1": "twice",
    "x[n,i] = sum(y[n,i], i)": "'sum' runs over 'i'",
    "x[n] = sum(y[i]*sum(z[i], i), i)": "'sum' runs over 'i'",
    "x[n] = y[n]^2": "x**2",
    "x[n] = y[n] @ z[n]": "sum over an index",
    "x = 1e400": "too large",
    "x = 3j": "not a number",
    "x = 'a'": "not a number",
    "x = True": "not a number",
    "x = exp(1, 2)": "takes 1 argument",
    "x = exp(x=1)": "plain arguments",
    "x[n] = y[n][i]": "one pair of brackets",
    "x = a[1:2]": "slice",
    "x = f'{1}'": "not part of the language",
    "x = 1/0": "divides by zero",
    "x = where(a, b, c)": "not a condition",
    "x = (a < b)*2": "where(a < b, 1, 0)",
    "x = training*2": "is a condition",
    "x = sum": "is a function",
    "x = y := 3": "cannot be read",
    "import os": "left = right",
    "a = 1; b = 2": "one equation",
    "": "left = right",
    "x\0 = 1": "cannot be read",
    "x = *a": "not part of the language",
    "x = a in b": "not a number",
}


@pytest.mark.parametrize("text", list(REFUSED))
def test_refused_with_a_sentence(text):
    with pytest.raises(LanguageError) as caught:
        parse_equation(text)
    assert REFUSED[text] in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "x = 9**9**9",
        "x = 9**9**9**9",
        "x = (2**1000)**1000",
        "x = " + "9" * 5000,
        "x = " + "-" * 5000 + "1",
        "x = " + "(" * 300 + "1" + ")" * 300,
        "x = " + "exp(" * 150 + "1" + ")" * 150,
        "x = " + "+".join(["a"] * 3000),
        "x = " + "+" * 30000,
        "x = " + "[" * 10000,
        "x = where(" + "not " * 2000 + "a < b, 1, 0)",
    ],
)
def test_too_large_is_refused_quickly(text):
    start = time.perf_counter()
    with pytest.raises(ParseError):
        parse_equation(text)
    assert time.perf_counter() - start < 1


def test_the_caret_points_at_characters_not_bytes():
    with pytest.raises(ParseError) as caught:
        parse_equation("σ[n] = φφ[n] + foo(x[n])")
    line, caret = str(caught.value).splitlines()[1:3]
    assert line.index("foo") == caret.index("^")
    assert "column 16" in str(caught.value)


def test_unknown_bare_name_names_it_and_the_nearest():
    with pytest.raises(ParseError, match="'bais' is neither") as caught:
        parse_equation("z[n] = x[n] + bais", Names(tensors={"z", "x", "bias"}))
    assert "Did you mean 'bias'?" in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="xyzn ij=+-*/%()[],.<>!0123456789 where sum max exp not and or training _'\"\\:@^&", max_size=60))
def test_any_text_parses_or_is_refused(text):
    with contextlib.suppress(BPCompileError):
        parse_equation(text)
