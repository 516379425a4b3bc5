"""Where does a formula fail in floating point? Its value and derivatives over the whole range, beside the exact ones.

``check_stability("log(1 + exp(z))")`` compiles the formula, runs it at magnitudes from the smallest subnormal number to the
largest finite one, and compares with many digits. A finding is an input at which the result overflows, is NaN, or has lost
most of its digits, although the exact result is an ordinary number. The stable forms that the compiler applied
are named, and where something is still wrong, a formula that does better.
"""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import mpmath
import numpy as np
import sympy
from numpy.typing import NDArray

from bpcompile.calculus.gradient import analyze
from bpcompile.calculus.record import Rewriting
from bpcompile.driver import compile as compile_network
from bpcompile.errors import BPCompileWarning, CheckError
from bpcompile.language.equation import Equation
from bpcompile.language.layer import Layer
from bpcompile.language.network import Network
from bpcompile.language.symbols import Access, Draw, Index, Reduction
from bpcompile.language.value import Input
from bpcompile.nodes.expressions import Expr, load, loads
from bpcompile.stability_exact import Unknown, exact_derivative, exact_value

if TYPE_CHECKING:
    from bpcompile.model import Model

Array = NDArray[Any]

LOST: Final = 1e-3
"""A relative error that counts as a loss of digits in float32; in float64 its square is taken."""
_MAGNITUDES: Final = {
    "float32": (1e-45, 1e-38, 1e-30, 1e-20, 1e-10, 1e-7, 1e-5, 1e-3, 0.1, 0.5, 1.0, 3.0, 10.0, 17.0, 40.0, 88.0, 89.0, 104.0,
                1e3, 1e5, 1e10, 1e20, 1e30, 3e38),
    "float64": (5e-324, 1e-308, 1e-200, 1e-100, 1e-30, 1e-16, 1e-10, 1e-5, 1e-3, 0.1, 0.5, 1.0, 3.0, 10.0, 37.0, 100.0, 709.0,
                710.0, 746.0, 1e5, 1e10, 1e100, 1e200, 1e308),
}  # fmt: skip

#: What stands in a formula (as typed, spaces left out), and what does better.
HINTS: Final[tuple[tuple[str, str], ...]] = (
    (r"sqrt\((\w+)\*\1\+(\w+)\*\2\)|sqrt\((\w+)\*\*2\+(\w+)\*\*2\)",
     "scale by the larger one: m*sqrt((x/m)**2 + (y/m)**2) with m = max(abs(x), abs(y)), and where(m > 0, ..., 0)"),
    (r"1-cos\(|-cos\(.*\)\+1", "1 - cos(x) cancels near 0; 2*sin(x/2)**2 does not"),
    (r"sqrt\(.*\)-", "a difference of roots cancels; multiply by the sum: (a - b)/(sqrt(a) + sqrt(b))"),
    (r"exp\(.*\)-exp\(", "a difference of exponentials cancels; exp(b)*expm1(a - b) does not"),
    (r"log\(", "log of a sum near 1 cancels; log1p takes the difference from 1"),
    (r"/", "a quotient of large numbers overflows before it is formed; divide first, or subtract logarithms"),
    (r"exp\(", "exp overflows above 88.7 in float32 (709.8 in float64); work with its logarithm"),
)  # fmt: skip


@dataclass(frozen=True)
class StabilityRow:
    """An input at which floating point gives something else than the exact result.

    Attributes
    ----------
    formula : str
        The formula.
    quantity : str
        ``f``, or ``df/dz``.
    at : mapping of str to float
        The inputs.
    computed : float
        What the compiled formula gives.
    exact : str
        The exact result, in seven digits.
    problem : str
        ``overflow``, ``NaN``, ``underflow`` or ``cancellation``.
    """

    formula: str
    quantity: str
    at: Mapping[str, float]
    computed: float
    exact: str
    problem: str

    def __str__(self) -> str:
        place = ", ".join(f"{k} = {v:g}" for k, v in self.at.items())
        return f"{self.quantity} at {place}: {self.computed:g}, exactly {self.exact} ({self.problem})"


@dataclass(frozen=True)
class StabilityReport:
    """What was found for the formulas of a network, or for one.

    Attributes
    ----------
    formulas : tuple of str
        What was looked at.
    rows : tuple of StabilityRow
        The findings; empty where all is well.
    applied : tuple of str
        The stable forms that the compiler put in place.
    hints : tuple of str
        Formulas that do better, where there are findings.
    points : int
        How many inputs were tried.
    worst : float
        The largest relative error of what is not in `rows`.
    """

    formulas: tuple[str, ...]
    rows: tuple[StabilityRow, ...]
    applied: tuple[str, ...]
    hints: tuple[str, ...]
    points: int
    worst: float

    @property
    def passed(self) -> bool:
        """True if nothing was found."""
        return not self.rows

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        rows = [{**vars(r), "at": dict(r.at), "computed": repr(r.computed)} for r in self.rows]
        return {"passed": self.passed, "formulas": list(self.formulas), "rows": rows, "applied": list(self.applied),
                "hints": list(self.hints), "points": self.points, "worst": self.worst}  # fmt: skip

    def __str__(self) -> str:
        lines = []
        for formula in self.formulas:
            rows = [r for r in self.rows if r.formula == formula]
            lines.append(f"{formula}: {'stable' if not rows else f'{len(rows)} findings'}")
            lines += [f"  {r}" for r in rows[:8]] + ([f"  and {len(rows) - 8} more"] if len(rows) > 8 else [])
        lines += [f"stable form applied: {a}" for a in self.applied] + [f"hint: {h}" for h in self.hints]
        return "\n".join([*lines, f"{self.points} inputs tried; the largest relative error elsewhere is {self.worst:.2g}"])


def check_stability(
    subject: str | Network, *, dtype: str = "float32", backend: str = "numpy", most: int = 400
) -> StabilityReport:
    """Compare a formula, or every elementwise formula of a network, with exact arithmetic over the whole range.

    Parameters
    ----------
    subject : str or Network
        A formula such as ``"log(1 + exp(z))"`` of one to three variables; or a network, whose equations without reductions
        and draws are taken one by one, each access being a variable.
    dtype : {"float32", "float64"}
        The element type that is looked at.
    backend : {"numpy", "c"}
        Whose code is run.
    most : int
        At most so many inputs for a formula.

    Returns
    -------
    StabilityReport

    Raises
    ------
    CheckError
        If the formula has no variable, or more than three.
    BPCompileError
        If it is not a formula of the language.
    """
    formulas = [subject] if isinstance(subject, str) else list(dict.fromkeys(_formulas(subject)))
    reports = [_formula(f, dtype, backend, most) for f in formulas]
    return StabilityReport(
        tuple(formulas),
        tuple(row for r in reports for row in r.rows),
        tuple(dict.fromkeys(a for r in reports for a in r.applied)),
        tuple(dict.fromkeys(h for r in reports for h in r.hints)),
        sum(r.points for r in reports),
        max((r.worst for r in reports), default=0.0),
    )


# --- formulas ---------------------------------------------------------------------------------------------------------


def _formulas(network: Network) -> Iterator[str]:
    """The right sides of elementwise equations, each access under a name of its own."""
    for call in network.calls:
        for equation in call.equations:
            formula = _elementwise(equation)
            if formula is not None:
                yield formula


def _elementwise(equation: Equation) -> str | None:
    rhs = equation.rhs
    if any(rhs.atoms(kind) for kind in (Reduction, Draw)) or any(isinstance(s, Index) for s in rhs.atoms(Index) - _inside(rhs)):
        return None
    found = sorted(rhs.atoms(Access), key=str)
    tensors = {a.tensor for a in found}
    if not 1 <= len(found) <= 3 or rhs in found or any(isinstance(s, Access) for a in found for s in a.subscripts):
        return None
    text = equation.text.partition("=")[2].strip() if "=" in equation.text else str(rhs)
    names = {str(a): a.tensor if len(tensors) == len(found) else f"{a.tensor}{k}" for k, a in enumerate(found)}
    for access, name in names.items():
        text = re.sub(re.escape(access).replace(r"\ ", r"\s*").replace(",", r",\s*"), name, text)
    # What is still another name, such as the index in size(n), is no input that could be chosen.
    known = set(_variables(text)) == set(names.values())
    return text if known and "[" not in text and len(set(names.values())) == len(found) else None


def _inside(rhs: Any) -> set[Any]:
    """The indices that stand in subscripts only."""
    bare = rhs.xreplace(dict.fromkeys(rhs.atoms(Access), sympy.Integer(0))).atoms(Index)
    return set(rhs.atoms(Index)) - set(bare)


def _variables(formula: str) -> tuple[str, ...]:
    words = dict.fromkeys(re.findall(r"(?<![\w.])[A-Za-z_]\w*\b(?!\s*\()", formula))
    return tuple(w for w in words if w not in ("inf", "pi", "and", "or", "not", "training"))


def _network(formula: str, variables: Sequence[str]) -> Network:
    """The formula as a loss of its own, each variable an input with one number an example."""
    text = formula
    for v in variables:
        text = re.sub(rf"(?<![\w.]){v}\b", f"{v}[n]", text)
    layer = Layer([f"f_[n] = {text}", "l_[n] = f_[n]"], inputs=tuple(variables), output=("f_", "l_"), name="formula")
    made = layer(*(Input(v, ()) for v in variables))
    assert isinstance(made, tuple)
    value, loss = made
    return Network(value, loss=loss)


def _formula(formula: str, dtype: str, backend: str, most: int) -> StabilityReport:
    variables = _variables(formula)
    if not 1 <= len(variables) <= 3:
        raise CheckError(
            f"A formula of one to three variables can be looked at over its whole range; {formula!r} has {len(variables)}.",
            hint="Write the others as numbers.",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BPCompileWarning)
        network = _network(formula, variables)
        model = compile_network(network, backend=backend, dtype=dtype, wrt=("parameters", *variables))
    record = analyze(network).record
    applied = [f"{s.rule}: {s.before} became {s.after}" for s in record.steps if isinstance(s, Rewriting)]
    body = next(s.body for s in record.forward if s.target.endswith("f_"))
    points = _points(dtype, len(variables), most)
    accesses = {v: _load_of(body, v) for v in variables}
    rows, worst = _compare(formula, body, accesses, model, points, dtype)
    hints = [text for pattern, text in HINTS if rows and re.search(pattern, formula.replace(" ", ""))][:2]
    return StabilityReport((formula,), tuple(rows), tuple(dict.fromkeys(applied)), tuple(hints), len(points), worst)


def _load_of(body: Expr, variable: str) -> Expr:
    return next((e for e in loads(body) if e.value[0] == variable), load(variable, ()))


def _points(dtype: str, count: int, most: int) -> Array:
    """Zero and all magnitudes with both signs; in several variables a sample of their combinations."""
    values = np.array([0.0, *(s * m for m in _MAGNITUDES[dtype] for s in (1, -1))], dtype)
    grid = list(itertools.product(range(len(values)), repeat=count))
    if len(grid) > most:
        rng = np.random.default_rng(0)
        grid = [grid[k] for k in np.sort(rng.choice(len(grid), most, replace=False))]
    points: Array = values[np.array(grid)]
    return points


# --- the comparison ---------------------------------------------------------------------------------------------------


def _compare(
    formula: str, body: Expr, accesses: Mapping[str, Expr], model: Model, points: Array, dtype: str
) -> tuple[list[StabilityRow], float]:
    variables = list(accesses)
    columns: dict[str, Any] = {v: np.ascontiguousarray(points[:, k]) for k, v in enumerate(variables)}
    values = np.asarray(model.predict(model.init(), **columns))
    rows: list[StabilityRow] = []
    worst = 0.0
    for k, point in enumerate(points):
        given = {accesses[v]: float(x) for v, x in zip(variables, point, strict=True)}
        place = {v: float(x) for v, x in zip(variables, point, strict=True)}
        one: dict[str, Any] = {v: columns[v][k : k + 1] for v in variables}
        _, grads = model.value_and_grad(model.init(), **one)
        computed = [("f", float(values[k]), None), *((f"df/d{v}", float(grads[v][0]), accesses[v]) for v in variables)]
        for quantity, got, by in computed:
            try:
                true = exact_value(body, given) if by is None else exact_derivative(body, given, by)
            except Unknown:
                continue
            problem, error = _judged(got, true, dtype, 1.0 if by is not None else 0.0)
            if problem:
                rows.append(StabilityRow(formula, quantity, place, got, mpmath.nstr(true, 7), problem))
            else:
                worst = max(worst, error)
    return rows, worst


def _judged(got: float, true: Any, dtype: str, unit: float) -> tuple[str, float]:
    """What is wrong with a result, and its relative error where nothing is.

    A derivative's last digits are those of ``max(1, |f'|)``: ``sigmoid' = a (1 - a)`` is 0 where ``a`` rounds to 1.
    """
    info = np.finfo(dtype)
    if mpmath.isnan(true):
        return "", 0.0
    if abs(true) > float(info.max) * (1 - float(info.eps)):
        return ("NaN" if math.isnan(got) else "" if abs(got) > float(info.max) / 4 else "overflow"), 0.0
    if math.isnan(got):
        return "NaN", 0.0
    if math.isinf(got):
        return "overflow", 0.0
    if abs(true) < float(info.tiny) * 4:
        return ("" if abs(got) <= float(info.tiny) * 8 else "cancellation"), 0.0
    difference = abs(mpmath.mpf(got) - true)
    error = float(difference / abs(true))
    if difference <= 4 * float(info.eps) * unit:
        return "", 0.0
    limit = LOST if dtype == "float32" else LOST**2
    if error <= limit:
        return "", error
    return ("underflow" if got == 0.0 else "cancellation"), error
