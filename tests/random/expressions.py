"""Random expressions of the language, as text, over the tensors and indices in sight."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.random.choices import Choices, chance, pick

BATCH = "n"
INDEX_CONDITIONS = ("{i} <= {j}", "{i} < 2", "{i} % 2 == 0", "{i} + {j} > 2", "{i} == {j}", "0 < {i} < 3", "{i} != 1")
SMOOTH = ("tanh", "sin", "sigmoid", "erf", "atan", "cos", "softplus", "asinh")
KINKED = ("relu", "abs")


@dataclass(frozen=True)
class Known:
    """A tensor that an expression may read."""

    name: str
    dims: tuple[int, ...]
    batch: bool
    classes: int | None = None
    outside: bool = False
    step: str = ""  # in a recurrence: the text of the subscript of the time axis, as in "t-1"
    time: int = -1  # and which of `dims` that is


@dataclass
class Sight:
    """What expressions are made of. `draws` allows random numbers; `plain` keeps to what shifts no argmax."""

    choices: Choices
    extents: dict[str, int]
    tensors: list[Known]
    draws: bool = False
    training: bool = True
    budget: int = 60
    reserved: frozenset[str] = frozenset()
    parts: list[str] = field(default_factory=list)


Scope = tuple[str, ...]


def expression(s: Sight, scope: Scope, depth: int) -> str:
    """An expression whose values are of moderate size."""
    s.budget -= 1
    if depth <= 0 or s.budget <= 0:
        return leaf(s, scope)
    return pick(s.choices, PRODUCTIONS)(s, scope, depth)


def leaf(s: Sight, scope: Scope) -> str:
    real = [t for t in s.tensors if t.classes is None and (not t.batch or BATCH in scope)]
    kind = s.choices.integer(0, 19)
    if kind >= 18 and scope:
        index = pick(s.choices, scope)
        return f"0.25*{index}" if index != BATCH else "0.5"
    if kind == 17:
        return pick(s.choices, ("0.5", "1.25", "-0.75", "2"))
    if kind == 16:
        return f"0.1*size({pick(s.choices, [i for i in s.extents if i != BATCH])})"
    return access(s, scope, pick(s.choices, real)) if real else "0.5"


def access(s: Sight, scope: Scope, t: Known) -> str:
    places = [BATCH] if t.batch else []
    for k, extent in enumerate(t.dims):
        places.append(t.step if k == t.time else subscript(s, scope, extent, t))
    return f"{t.name}[{','.join(places)}]" if places else t.name


def subscript(s: Sight, scope: Scope, extent: int, t: Known) -> str:
    """A subscript that stays inside, or may leave a tensor that allows it; bare more often than not."""
    inner = [i for i in scope if i != BATCH]
    bare = [i for i in inner if s.extents[i] == extent]
    if bare and s.choices.integer(0, 9) < 6:
        return pick(s.choices, bare)
    options = [str(s.choices.integer(0, extent - 1))] if not inner or chance(s.choices, 15) else []
    for i in inner:
        options += _within(s, i, extent)
        options += [f"{i} - 1", f"2*{i} - 1", f"{extent} - {i}"] if t.outside else []
        for j in inner:
            if j != i:
                a, b = s.extents[i], s.extents[j]
                options += [f"{i} + {j}"] if a + b - 1 <= extent else []
                options += [f"{b}*{i} + {j}"] if a * b <= extent else []
                options += [f"({i} + 2*{j}) % {extent}"]
                options += [f"2*{i} + {j} - 1", f"{i} - {j}"] if t.outside else []
    options += [_integer(s, inner, k) for k in s.tensors
                if k.classes is not None and k.classes <= extent and (not k.batch or BATCH in scope)
                and k.time < 0 and len(k.dims) <= 2 and all(any(s.extents[i] == e for i in inner) for e in k.dims)]  # fmt: skip
    if t.step:  # a recurrence steps in one place: h[n, t+1, t-1] is none
        options = [o for o in options if not any(_mentions(o, i) for i in s.reserved)]
    return pick(s.choices, options) if options else str(s.choices.integer(0, extent - 1))


def _mentions(text: str, index: str) -> bool:
    return re.search(rf"\b{index}\b", text) is not None


def _integer(s: Sight, inner: list[str], t: Known) -> str:
    """An access to an integer tensor by bare subscripts."""
    places = [BATCH] if t.batch else []
    places += [pick(s.choices, [i for i in inner if s.extents[i] == e]) for e in t.dims]
    return f"{t.name}[{','.join(places)}]" if places else t.name


def _within(s: Sight, i: str, extent: int) -> list[str]:
    """Affine forms of one index that stay below the extent."""
    own = s.extents[i]
    options = []
    if own < extent:
        options += [f"{i} + {extent - own}", f"{extent - 1} - {i}"]
    if own == extent:
        options.append(f"{extent - 1} - {i}")
    if 2 * (own - 1) < extent:
        options += [f"2*{i}", f"{2 * (own - 1)} - 2*{i}"]
    if 2 * (own - 1) + 1 < extent:
        options.append(f"2*{i} + 1")
    if (own - 1) // 2 < extent:
        options.append(f"{i}//2")
    if own > extent:
        options.append(f"{i} % {extent}")
        options.append(f"({i} + 1) % {extent}")
    if (own - 1) // 2 % 2 < extent and own > 2 and extent >= 2:
        options.append(f"({i}//2) % 2")
    return options


def _leaf(s: Sight, scope: Scope, depth: int) -> str:
    return leaf(s, scope)


def _sum_of_two(s: Sight, scope: Scope, depth: int) -> str:
    a, b = expression(s, scope, depth - 1), expression(s, scope, depth - 1)
    return f"({a} {pick(s.choices, ('+', '-'))} {b})"


def _product(s: Sight, scope: Scope, depth: int) -> str:
    return f"{_atom(expression(s, scope, depth - 1))}*{_atom(expression(s, scope, depth - 1))}"


def _product_of_three(s: Sight, scope: Scope, depth: int) -> str:
    return "*".join(_atom(expression(s, scope, depth - 2)) for _ in range(3))


def _atom(text: str) -> str:
    return f"({text})" if text.startswith("-") else text


def _quotient(s: Sight, scope: Scope, depth: int) -> str:
    return f"({expression(s, scope, depth - 1)})/(1.5 + ({expression(s, scope, depth - 1)})**2)"


def _function(s: Sight, scope: Scope, depth: int) -> str:
    return f"{pick(s.choices, SMOOTH)}({expression(s, scope, depth - 1)})"


def _kinked(s: Sight, scope: Scope, depth: int) -> str:
    return f"{pick(s.choices, KINKED)}({expression(s, scope, depth - 1)})"


def _of_bounded(s: Sight, scope: Scope, depth: int) -> str:
    form = pick(s.choices, ("exp(tanh({}))", "expm1(sin({}))", "log(1.5 + sin({}))", "log1p(({})**2)", "sqrt(0.5 + ({})**2)",
                            "(1.5 + sin({}))**1.5", "(2 + cos({}))**(-2)", "sinh(sin({}))", "log2(2 + tanh({}))",
                            "log(1 + exp({}))", "1/(1 + exp(-({})))", "(exp({})/(1 + exp({})))", "0.5*(1 + erf({}))",
                            "atan2({}, 1.5)", "tan(tanh({}))", "lgamma(2.5 + sin({}))", "cosh(tanh({}))", "({})**2",
                            "sin({})**3"))  # fmt: skip
    inner = expression(s, scope, depth - 1)
    return form.replace("{}", inner)


def _power(s: Sight, scope: Scope, depth: int) -> str:
    return f"(1.5 + sin({expression(s, scope, depth - 1)}))**{_atom(expression(s, scope, depth - 2))}"


def _extreme(s: Sight, scope: Scope, depth: int) -> str:
    a, b = expression(s, scope, depth - 1), expression(s, scope, depth - 1)
    return f"{pick(s.choices, ('max', 'min'))}({a}, ({b}) + 0.01)"


def _reduction(s: Sight, scope: Scope, depth: int) -> str:
    kind = pick(s.choices, ("sum", "sum", "sum", "mean", "max", "min"))
    bound = _fresh(s, scope)
    if not bound:
        return _function(s, scope, depth)
    body = expression(s, (*scope, *bound), depth - 1)
    return f"{kind}({body if kind in ('sum', 'mean') else f'({body})*1'}, {', '.join(bound)})"


def _contraction(s: Sight, scope: Scope, depth: int) -> str:
    bound = _fresh(s, scope)
    if not bound:
        return _function(s, scope, depth)
    wide = (*scope, *bound)
    factors = [leaf(s, wide) for _ in range(s.choices.integer(1, 3))]
    if chance(s.choices, 30):
        factors.append(_atom(expression(s, wide, depth - 2)))
    return f"sum({'*'.join(_atom(f) for f in factors)}, {', '.join(bound)})"


def _fresh(s: Sight, scope: Scope) -> Scope:
    free = [i for i in s.extents if i not in scope and i not in s.reserved]
    if not free or len(scope) >= 6:
        return ()
    bound = []
    for _ in range(s.choices.integer(1, 2)):
        index = pick(s.choices, free)
        if index not in bound:
            bound.append(index)
    return tuple(bound)


def _softmax(s: Sight, scope: Scope, depth: int) -> str:
    """A quotient of exponentials whose sum runs over another index of the same extent."""
    taken = (BATCH, *s.reserved)
    pairs = [(i, k) for i in scope for k in s.extents
             if i not in taken and k not in (*scope, *taken) and s.extents[i] == s.extents[k]]  # fmt: skip
    if not pairs:
        return _logsumexp(s, scope, depth)
    i, k = pick(s.choices, pairs)
    body = f"exp({leaf(s, scope)} + {leaf(s, scope)})"
    return f"{body}/sum({renamed(body, {i: k})}, {k})"


def _logsumexp(s: Sight, scope: Scope, depth: int) -> str:
    bound = _fresh(s, scope)
    if not bound:
        return _function(s, scope, depth)
    return f"log(sum(exp({expression(s, (*scope, *bound), depth - 2)}), {', '.join(bound)}))"


def _where(s: Sight, scope: Scope, depth: int) -> str:
    a, b = expression(s, scope, depth - 1), expression(s, scope, depth - 1)
    return f"where({condition(s, scope, depth - 1)}, {a}, {b})"


def condition(s: Sight, scope: Scope, depth: int) -> str:
    inner = [i for i in scope if i != BATCH]
    kind = s.choices.integer(0, 9)
    if kind < 6 and inner:
        i, j = pick(s.choices, inner), pick(s.choices, inner)
        form = pick(s.choices, INDEX_CONDITIONS)
        return form.format(i=i, j=j)
    if kind == 6 and s.training:
        return "training"
    if kind == 7 and depth > 0:
        word = pick(s.choices, ("and", "or"))
        return f"({condition(s, scope, depth - 1)}) {word} ({condition(s, scope, depth - 1)})"
    if kind == 8 and depth > 0:
        return f"not ({condition(s, scope, depth - 1)})"
    whole = [t for t in s.tensors if t.classes is not None and t.time < 0 and (not t.batch or BATCH in scope)]
    if whole and chance(s.choices, 40):
        return f"{access(s, scope, pick(s.choices, whole))} < 2"
    return f"{leaf(s, scope)} < {leaf(s, scope)} + 0.003"


def _stopped(s: Sight, scope: Scope, depth: int) -> str:
    return f"stop_gradient({expression(s, scope, depth - 1)})"


def _random_number(s: Sight, scope: Scope, depth: int) -> str:
    if not s.draws:
        return _function(s, scope, depth)
    a = expression(s, scope, depth - 1)
    return pick(s.choices, (f"bernoulli(0.6)*({a})", f"({a} + 0.1*normal())", f"where(bernoulli(0.3) > 0.5, {a}, 0.2)"))


def _guarded(s: Sight, scope: Scope, depth: int) -> str:
    """A concatenation: a larger index, guarded so that each side stays inside."""
    real = [t for t in s.tensors if t.classes is None and t.time < 0 and (not t.batch or BATCH in scope) and t.dims]
    options = [(t, axis, i) for t in real for axis, e in enumerate(t.dims) for i in scope if i != BATCH and s.extents[i] > e]
    if not options:
        return _function(s, scope, depth)
    t, axis, i = pick(s.choices, options)
    places = [subscript(s, scope, e, t) for e in t.dims]
    first, second = list(places), list(places)
    extent = t.dims[axis]
    shift = s.extents[i] - extent
    first[axis], second[axis] = i, f"{i} - {shift}"
    batch = [BATCH] if t.batch else []
    head = f"{t.name}[{','.join(batch + first)}]"
    tail = f"{t.name}[{','.join(batch + second)}]"
    if 2 * extent >= s.extents[i]:
        return f"where({i} < {extent}, {head}, 2*{tail})" if shift <= extent else head
    return f"where({i} < {extent}, {head}, {leaf(s, scope)})"


def renamed(text: str, names: dict[str, str]) -> str:
    """Text with indices renamed; names of one letter stand alone as words."""
    return re.sub(r"\b([a-z])\b(?!\()", lambda m: names.get(m.group(1), m.group(1)), text)


PRODUCTIONS: tuple[Callable[[Sight, Scope, int], str], ...] = (
    _leaf, _sum_of_two, _product, _contraction, _function, _reduction, _contraction, _product, _of_bounded, _product_of_three,
    _reduction, _quotient, _kinked, _where, _extreme, _softmax, _logsumexp, _power, _guarded, _stopped, _random_number,
)  # fmt: skip
