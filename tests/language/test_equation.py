"""The door for SymPy objects: the same equations as from text."""

import pickle

import pytest
import sympy

import bpcompile as bp
from bpcompile.errors import LanguageError
from bpcompile.language.admit import admit
from bpcompile.language.equation import Equation
from bpcompile.language.parser import parse_equation
from bpcompile.language.symbols import TRAINING, Access, FloorDivide, LogicalAnd, LogicalOr, Maximum, Modulo, Where
from bpcompile.language.text import to_text

W, x, b, z = (bp.Tensor(name) for name in "Wxbz")
n, i, j = bp.Index("n"), bp.Index("i"), bp.Index("j", 3)


def test_dense_as_objects_is_dense_as_text():
    equation = bp.Equation(z[n, j], bp.sum(W[j, i] * x[n, i], i) + b[j])
    text = parse_equation("z[n,j] = b[j] + sum(W[j,i]*x[n,i], i)")
    assert (equation.lhs, equation.rhs) == (text.lhs, text.rhs)
    assert equation.extents == (("j", 3),)
    assert str(equation) == "z[n,j] = b[j] + sum(W[j,i]*x[n,i], i)"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (sympy.Max(x[n, j], 0), "max(0, x[n,j])"),
        (sympy.Piecewise((x[n, j], x[n, j] > 0), (0, True)), "where(x[n,j] > 0, x[n,j], 0)"),
        (sympy.And(x[n, j] > 0, x[n, j] < 1), None),
        (x[n, (2 * j + 3) // 4, j % 2], "x[n,(3 + 2*j)//4,j%2]"),
        (x[n, j - 1] / 2, "x[n,j - 1]/2"),
        (sympy.sqrt(b) + 1 / b, "sqrt(b) + 1/b"),
        (sympy.sec(x[n]), "1/cos(x[n])"),
        (sympy.KroneckerDelta(i, j), "where(i == j, 1, 0)"),
        (sympy.loggamma(b) * sympy.digamma(b), "lgamma(b)*digamma(b)"),
        (bp.max(x[n, i], i), "max(x[n,i], i)"),
        (bp.max(x[n, i], 0), "max(x[n,i], 0)"),
        (bp.where(n < bp.size(n), 1, 0), "where(n < size(n), 1, 0)"),
        (bp.stop_gradient(b) ** 2, "stop_gradient(b)**2"),
        (3 - b, "3 - b"),
        (2 / b, "2/b"),
        (-b, "-b"),
        (b**-2, "b**(-2)"),
    ],
)
def test_sympy_objects_are_taken_as_what_they_mean(expression, text):
    if text is not None:
        assert to_text(admit(sympy.sympify(expression))) == text
    else:
        assert isinstance(admit(expression), LogicalAnd)


def test_floor_and_mod_of_indices_become_integer_division():
    access = admit(x[(i + 1) // 2, i % 4])
    assert isinstance(access.subscripts[0], FloorDivide) and isinstance(access.subscripts[1], Modulo)


def test_conditions_keep_what_nan_needs():
    condition = admit(sympy.Or(x[n] < 1, x[n] > 2))
    assert isinstance(condition, LogicalOr)
    either = parse_equation("y[n] = where(x[n] < 1 or x[n] >= 1, 1, 0)").rhs
    assert isinstance(either, Where) and isinstance(either.args[0], LogicalOr)


@pytest.mark.parametrize(
    "value",
    [sympy.I, sympy.Symbol("q"), sympy.Sum(i, (i, 0, 3)), sympy.zoo, sympy.nan, sympy.besselj(0, sympy.Integer(1) * i),
     sympy.Integral(sympy.Symbol("q"))],
)  # fmt: skip
def test_foreign_objects_are_refused(value):
    with pytest.raises(LanguageError):
        admit(value)


def test_text_inside_objects_is_refused_not_executed():
    calls = (lambda: bp.sum("x", i), lambda: Equation(z[n], "1"), lambda: x["open('f')"], lambda: bp.where("a", 1, 2))
    for call in calls:
        with pytest.raises(LanguageError):
            call()


def test_draws_are_numbered_per_equation_and_one_object_stays_one_draw():
    first, second = bp.bernoulli(0.5), bp.bernoulli(0.5)
    assert first != second
    apart = Equation(z[n], first - second * 2)
    assert sorted(d.occurrence for d in apart.rhs.atoms(type(first))) == [0, 1]
    same = Equation(z[n], sympy.exp(first) * first)
    assert {d.occurrence for d in same.rhs.atoms(type(first))} == {0}


def test_an_index_with_two_extents_is_refused():
    with pytest.raises(LanguageError, match="'j' has extent"):
        Equation(z[n, bp.Index("j", 3)], x[n, bp.Index("j", 4)])


@pytest.mark.parametrize("bad", ["", "2a", "a b", 3, None])
def test_bad_names_are_refused(bad):
    with pytest.raises(LanguageError):
        bp.Index(bad)
    with pytest.raises(LanguageError):
        bp.Tensor(bad)


def test_objects_survive_pickling():
    equation = Equation(z[n, j], Maximum(bp.where(TRAINING, x[n, j], bp.normal()), b))
    again = pickle.loads(pickle.dumps(equation))
    assert again == equation
    assert pickle.loads(pickle.dumps(j)).extent == 3


def test_an_element_is_real_for_sympy():
    assert isinstance(x[n], Access)
    assert sympy.sqrt(x[n] ** 2) == sympy.Abs(x[n])
