"""Every function, activation, loss and stable form, compiled, beside many digits: a seeded sample of the whole range."""

from __future__ import annotations

import numpy as np
import pytest

import bpcompile as bp
from tests.numerics.cases import ACTIVATION_CASES, GROUPS, Case, formula
from tests.numerics.measure import Bundle, survey

SAMPLE = {"float32": 9, "float64": 3}
BACKENDS = {"float32": ("c", "numpy"), "float64": ("c",)}
#: NumPy's own float32 functions round less well than ours do.
SLACK = {"c": 1.0, "numpy": 2.0}


@pytest.mark.parametrize("dtype", BACKENDS)
@pytest.mark.parametrize("group", GROUPS)
def test_errors_are_a_few_units(group: str, dtype: str) -> None:
    cases = GROUPS[group]
    wrong = []
    for case, found in zip(cases, survey(cases, dtype, BACKENDS[dtype], SAMPLE[dtype], seed=7), strict=True):
        for backend, entry in found.items():
            for quantity, most in ((entry.value, case.most[0]), (entry.slope, case.most[1])):
                if quantity.ulp > most * SLACK[backend]:
                    wrong.append((case.name, backend, quantity))
            assert entry.value.count, case.name
    assert not wrong, "\n".join(map(str, wrong))


ODD = ("tanh(z)", "sinh(z)", "expm1(z)", "log1p(z)", "erf(z)", "sin(z)", "tan(z)", "asin(z)", "atan(z)", "asinh(z)", "atanh(z)")
NAN = tuple(c for c in ACTIVATION_CASES if list(c.variables) == ["z"])


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_zero_keeps_its_sign_and_nan_goes_through(backend: str) -> None:
    cases: list[Case] = [*map(formula, ODD), *NAN]
    bundle = Bundle(cases, "float32", [backend])
    names = [names[0] for names in bundle.names]
    model = bundle.models[backend]
    made = model.predict(model.init(), **{n: np.array([-0.0], "float32") for n in names})
    for k in range(len(ODD)):
        assert made[k][0] == 0 and np.signbit(made[k][0]), cases[k].name
    made = model.predict(model.init(), **{n: np.array([np.nan], "float32") for n in names})
    for case, value in zip(cases, made, strict=True):
        assert np.isnan(value[0]), case.name


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_conventions_at_zero(backend: str) -> None:
    """0 log 0 is 0, and the gradient of a norm at 0 is 0."""
    p, y = bp.Input("p", ()), bp.Input("y", ())
    model = bp.compile(bp.Network(None, loss=bp.BinaryCrossentropy(p, y)), backend=backend, dtype="float32", wrt=("p",))
    for value, label, expected in ((0.0, 0.0, 1.0), (1.0, 1.0, -1.0)):
        loss, grads = model.value_and_grad(model.init(), p=np.array([value], "float32"), y=np.array([label], "float32"))
        assert loss == 0.0 and grads["p"][0] == expected
    norm = bp.Layer(["l[n] = sqrt(sum(x[n,i]**2, i))"], inputs=("x",), output="l")(bp.Input("x", (3,)))
    model = bp.compile(bp.Network(None, loss=norm), backend=backend, dtype="float32", wrt=("x",))
    loss, grads = model.value_and_grad(model.init(), x=np.zeros((1, 3), "float32"))
    assert loss == 0.0 and not grads["x"].any()
