"""Where does a formula fail in floating point? Its value and derivatives over the whole range, beside the exact ones.

``check_stability("log(1 + exp(z))")`` compiles the formula, runs it at magnitudes from the smallest subnormal number to the
largest finite one, and compares with many digits. A finding is an input at which the result overflows, is NaN, or has lost
most of its digits, although the exact result is an ordinary number. The stable forms that the compiler applied
are named, and where something is still wrong, a formula that does better.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import mpmath
import numpy as np
import sympy
from numpy.typing import NDArray

from bpcompile.calculus.bounds import EVERYTHING, Interval
from bpcompile.calculus.gradient import analyze
from bpcompile.calculus.record import Rewriting
from bpcompile.driver import compile as compile_network
from bpcompile.errors import BPCompileWarning, CheckError, nearest
from bpcompile.language.equation import Equation
from bpcompile.language.layer import Layer
from bpcompile.language.network import Network
from bpcompile.language.parser import parse_expression
from bpcompile.language.records import Call
from bpcompile.language.symbols import Access, Draw, Index, Reduction
from bpcompile.language.value import Input
from bpcompile.stability_exact import Dual, Exact, Place, Unknown
from bpcompile.stability_points import inferred_ranges, points, stated_ranges
from bpcompile.stability_sums import Reducing, findings, reducing, shown_formula

if TYPE_CHECKING:
    from bpcompile.model import Model

Array = NDArray[Any]

UNDEFINED: Final = "undefined"
_LONGEST: Final = 100
LOST: Final = 1e-3
"""A relative error that counts as a loss of digits in float32; in float64 its square is taken."""
#: What stands in a formula (as typed, spaces left out), the stable form that cures it (where one does, there is nothing to
#: say), and what does better.
HINTS: Final[tuple[tuple[str, str, str], ...]] = (
    (r"sqrt\(.*(\*|\*\*2).*\+", "norm", "scale by the largest: m*sqrt((x/m)**2 + (y/m)**2) with m = max(abs(x), abs(y))"),
    (r"cos\(", "one minus cos", "1 - cos(x) cancels near 0; 2*sin(x/2)**2 does not"),
    (r"sqrt\(.*\)-", "root minus one", "a difference of roots cancels; multiply by the sum: (a - b)/(sqrt(a) + sqrt(b))"),
    (r"exp\(.*\)-exp\(", "sinh", "a difference of exponentials cancels; exp(b)*expm1(a - b) does not"),
    (r"log\(\w+/\w+\)", "", "the quotient overflows before its logarithm; log(a) - log(b) does not"),
    (r"log\(.*[-+]", "log1p", "the logarithm of a sum near 1 cancels; log1p takes the difference from 1"),
    (r"\*\*|(\b\w+)\*\1\b", "", "a power overflows before the quotient or the root of it is formed: divide first"),
    (r"exp\(", "", "exp overflows above 88.7 in float32 (709.8 in float64); work with its logarithm"),
    (r"/", "", "0/0 has no value, whatever its limit: write where(abs(z) < 1e-4, <the first terms of its series>, ...)"),
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
        ``overflow``, ``NaN``, ``underflow``, ``cancellation``; or ``undefined`` where there is no derivative and NaN is the
        right answer.
    """

    formula: str
    quantity: str
    at: Mapping[str, float]
    computed: float
    exact: str
    problem: str

    def __str__(self) -> str:
        shown = [f"{k} = {v:g}" for k, v in self.at.items()]
        place = ", ".join([*shown[:6], *(["..."] if len(shown) > 6 else [])])
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
    ranges : mapping of str to (float, float)
        The intervals that were inferred or stated, by formula and variable, where they are not everything.
    points : int
        How many inputs were tried.
    worst : float
        The largest relative error of what is not in `rows`.
    """

    formulas: tuple[str, ...]
    rows: tuple[StabilityRow, ...]
    applied: tuple[str, ...]
    hints: tuple[str, ...]
    ranges: Mapping[tuple[str, str], Interval]
    points: int
    worst: float

    @property
    def passed(self) -> bool:
        """True if nothing was found; that a derivative is not defined somewhere is no fault of the formula."""
        return all(r.problem == UNDEFINED for r in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        rows = [{**vars(r), "at": dict(r.at), "computed": repr(r.computed)} for r in self.rows]
        ranges = [{"formula": f, "variable": v, "range": [repr(x) for x in limits]} for (f, v), limits in self.ranges.items()]
        return {"passed": self.passed, "formulas": list(self.formulas), "rows": rows, "applied": list(self.applied),
                "hints": list(self.hints), "ranges": ranges, "points": self.points, "worst": self.worst}  # fmt: skip

    def __str__(self) -> str:
        lines = []
        for formula in self.formulas:
            rows = [r for r in self.rows if r.formula == formula]
            wrong = sum(r.problem != UNDEFINED for r in rows)
            ranges = [f"{v} in [{low:g}, {high:g}]" for (f, v), (low, high) in self.ranges.items() if f == formula]
            verdict = f"{wrong} finding{'s' * (wrong != 1)}" if wrong else "stable"
            lines.append(f"{formula}: {verdict}{' for ' * bool(ranges)}{', '.join(ranges)}")
            lines += [f"  {r}" for r in rows[:8]] + ([f"  and {len(rows) - 8} more"] if len(rows) > 8 else [])
        lines += [f"stable form applied: {a}" for a in self.applied] + [f"hint: {h}" for h in self.hints]
        return "\n".join([*lines, f"{self.points} inputs tried; the largest relative error elsewhere is {self.worst:.2g}"])


def check_stability(
    subject: str | Network,
    *,
    dtype: str = "float32",
    backend: str = "numpy",
    most: int = 400,
    ranges: Mapping[str, object] | Sequence[str] = (),
) -> StabilityReport:
    """Compare a formula, or every elementwise formula of a network, with exact arithmetic over the whole range.

    Parameters
    ----------
    subject : str or Network
        A formula such as ``"log(1 + exp(z))"`` of one to three variables, or ``"log(sum(exp(z[i]), i))"`` over short axes; or
        a network, whose equations without draws are taken one by one, each access being a variable. Those with reductions
        are looked at for what overflows or is NaN.
    dtype : {"float32", "float64"}
        The element type that is looked at.
    backend : {"numpy", "c"}
        Whose code is run.
    most : int
        At most so many inputs for a formula.
    ranges : mapping of str to (float, float), or sequence of str
        What the variables can be, such as ``{"v": (0, inf)}`` or ``["v=0:inf"]``. In a network what its equations tell is
        inferred: a mean of squares, a softmax, the output of a sigmoid; what is stated goes first.

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
    stated = stated_ranges(ranges)
    subjects, sums = _typed(subject) if isinstance(subject, str) else (list(_formulas(subject)), list(_sums(subject)))
    known = {v for s in subjects for v in _variables(s.formula)} | {v for s in sums for v in s.shapes}
    for name in stated:
        if name not in known:
            raise CheckError(
                f"A range is stated for '{name}', and no formula that is looked at has such a variable.",
                hint=nearest(name, sorted(known)),
            )
    reports = [_formula(replace(s, ranges={**s.ranges, **stated}), dtype, backend, most) for s in subjects]
    reports += [_reducing(replace(s, ranges={**s.ranges, **stated}), dtype, backend) for s in sums]
    reports = [r for r in reports if r.points]
    return StabilityReport(
        tuple(dict.fromkeys(f for r in reports for f in r.formulas)),
        tuple(row for r in reports for row in r.rows),
        tuple(dict.fromkeys(a for r in reports for a in r.applied)),
        tuple(dict.fromkeys(h for r in reports for h in r.hints)),
        {key: limits for r in reports for key, limits in r.ranges.items()},
        sum(r.points for r in reports),
        max((r.worst for r in reports), default=0.0),
    )


# --- formulas ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Subject:
    """A formula to be looked at, and the intervals of its variables that are not everything."""

    formula: str
    ranges: Mapping[str, Interval]


def _typed(formula: str) -> tuple[list[_Subject], list[Reducing]]:
    """What a user typed: a formula of scalars, or one with reductions."""
    if "[" not in formula:
        return [_Subject(formula, {})], []
    made = reducing(formula, parse_expression(formula), lambda _: EVERYTHING)
    if made is None:
        raise CheckError(
            f"{formula!r} has subscripts, and no reduction over bare indices that could be looked at.",
            hint="Write a formula of scalars, such as log(1 + exp(z)), or one like log(sum(exp(z[i]), i)).",
        )
    return [], [made]


def _formulas(network: Network) -> Iterator[_Subject]:
    """The right sides of elementwise equations, each access under a name of its own, each formula once."""
    interval = inferred_ranges(network, analyze(network).record.forward)
    found: dict[str, dict[str, Interval]] = {}
    for call in network.calls:
        for equation in call.equations:
            made = _elementwise(equation)
            if made is not None:
                formula, tensors = made
                ranges = {name: _interval_in(interval, call, local) for name, local in tensors.items()}
                known = found.setdefault(formula, ranges)
                found[formula] = {v: (min(low, known[v][0]), max(high, known[v][1])) for v, (low, high) in ranges.items()}
    for formula, ranges in found.items():
        yield _Subject(formula, {v: limits for v, limits in ranges.items() if limits != EVERYTHING})


def _sums(network: Network) -> Iterator[Reducing]:
    """The right sides with reductions, each formula once."""
    interval = inferred_ranges(network, analyze(network).record.forward)
    seen = set()
    for call in network.calls:
        for equation in call.equations:
            formula = shown_formula(equation)
            if formula not in seen:
                seen.add(formula)
                made = reducing(formula, equation.rhs, partial(_interval_in, interval, call))
                if made is not None:
                    yield made


def _interval_in(interval: Callable[[str], Interval], call: Call, local: str) -> Interval:
    return interval(call.resolve.get(local, f"{call.name}.{local}"))


def _reducing(subject: Reducing, dtype: str, backend: str) -> StabilityReport:
    wrong, steps, count = findings(subject, dtype, backend)
    rows = tuple(StabilityRow(subject.formula, *finding) for finding in wrong)
    ranges = {(subject.formula, v): limits for v, limits in subject.ranges.items() if limits != EVERYTHING}
    applied = tuple(dict.fromkeys(map(_shown, steps)))
    return StabilityReport((subject.formula,), rows, applied, _hints(subject.formula, rows, steps), ranges, count, 0.0)


def _elementwise(equation: Equation) -> tuple[str, dict[str, str]] | None:
    """The formula, and the tensor that each of its names stands for."""
    rhs = equation.rhs
    if any(rhs.atoms(kind) for kind in (Reduction, Draw)) or any(isinstance(s, Index) for s in rhs.atoms(Index) - _inside(rhs)):
        return None
    found = sorted(rhs.atoms(Access), key=str)
    tensors = {a.tensor for a in found}
    if not 1 <= len(found) <= 3 or rhs in found or any(isinstance(s, Access) for a in found for s in a.subscripts):
        return None
    text = shown_formula(equation)
    names = {str(a): a.tensor if len(tensors) == len(found) else f"{a.tensor}{k}" for k, a in enumerate(found)}
    for access, name in names.items():
        text = re.sub(re.escape(access).replace(r"\ ", r"\s*").replace(",", r",\s*"), name, text)
    # What is still another name, such as the index in size(n), is no input that could be chosen.
    known = set(_variables(text)) == set(names.values())
    if not known or "[" in text or len(set(names.values())) < len(found):
        return None
    return text, {names[str(a)]: a.tensor for a in found}


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


def _formula(subject: _Subject, dtype: str, backend: str, most: int) -> StabilityReport:
    formula = subject.formula
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
    applied = [_shown(s) for s in record.steps if isinstance(s, Rewriting)]
    ranges = {v: subject.ranges[v] for v in variables if v in subject.ranges}
    tried = points(dtype, [ranges.get(v, EVERYTHING) for v in variables], most)
    rows: list[StabilityRow] = []
    worst = 0.0
    for training in (True, False) if re.search(r"\btraining\b", formula) else (True,):
        exact = Exact(record.forward, flag=training)
        more, error = _compare(formula, exact, variables, model, tried, dtype)
        rows, worst = rows + more, max(worst, error)
    hints = _hints(formula, rows, [s for s in record.steps if isinstance(s, Rewriting)])
    limits = {(formula, v): interval for v, interval in ranges.items()}
    return StabilityReport((formula,), tuple(rows), tuple(dict.fromkeys(applied)), hints, limits, len(tried), worst)


def _hints(formula: str, rows: Sequence[StabilityRow], steps: Sequence[Rewriting]) -> tuple[str, ...]:
    if all(r.problem == UNDEFINED for r in rows):
        return ()
    fired, tight = {s.rule for s in steps}, formula.replace(" ", "")
    return tuple(text for pattern, rule, text in HINTS if rule not in fired and re.search(pattern, tight))[:2]


def _shown(step: Rewriting) -> str:
    before, after = (str(e).replace("formula.", "") for e in (step.before, step.after))
    return f"{step.rule}: {before}{f' became {after}' if len(after) <= _LONGEST and '...' not in after else ''}"


# --- the comparison ---------------------------------------------------------------------------------------------------


def _compare(
    formula: str, exact: Exact, variables: Sequence[str], model: Model, tried: Array, dtype: str
) -> tuple[list[StabilityRow], float]:
    columns: dict[str, Any] = {v: np.ascontiguousarray(tried[:, k]) for k, v in enumerate(variables)}
    rows: list[StabilityRow] = []
    worst = 0.0
    for k, point in enumerate(tried):
        place = {v: float(x) for v, x in zip(variables, point, strict=True)}
        given: dict[Place, float] = {(v, (0,)): x for v, x in place.items()}
        one: dict[str, Any] = {v: columns[v][k : k + 1] for v in variables}
        value, grads = model.value_and_grad(model.init(), training=exact.flag, **one)
        exactly: dict[str, Dual] = {}
        for v in variables:
            try:
                exactly[v] = exact.dual(("formula.f_", (0,)), given, (v, (0,)))
            except Unknown:
                if math.isnan(grads[v][0]) and math.isfinite(value):
                    rows.append(StabilityRow(formula, f"df/d{v}", place, math.nan, "no derivative", UNDEFINED))
        compared = [(f"df/d{v}", float(grads[v][0]), true.slope, 1.0) for v, true in exactly.items()]
        if len(exactly) == len(variables):
            # What the inputs' own last digits are worth in the result is no fault of the formula.
            worth = sum(abs(x * exactly[v].slope) for v, x in place.items())
            compared.insert(0, ("f", value, exactly[variables[0]].value, worth))
        for quantity, got, expected, unit in compared:
            problem, error = _judged(got, expected, dtype, unit)
            if problem:
                rows.append(StabilityRow(formula, quantity, place, got, mpmath.nstr(expected, 7), problem))
            else:
                worst = max(worst, error)
    return rows, worst


def _judged(got: float, true: Any, dtype: str, unit: Any) -> tuple[str, float]:
    """What is wrong with a result, and its relative error where nothing is.

    Errors of a few last digits of `unit` are none. A derivative's last digits are those of ``max(1, |f'|)``:
    ``sigmoid' = a (1 - a)`` is 0 where ``a`` rounds to 1.
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
    error = float(difference / max(abs(true), unit if unit == 1 else 0))
    relative = difference / abs(true)
    if relative <= (LOST if dtype == "float32" else LOST**2) or difference <= 4 * float(info.eps) * unit:
        return "", error if unit == 1 else min(error, LOST)
    return ("underflow" if got == 0.0 else "cancellation"), error
