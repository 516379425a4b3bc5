"""Random layers, and networks of several layers, paths and shared layers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from tests.random.case import Case, LayerCase
from tests.random.choices import Choices, chance, pick
from tests.random.expressions import BATCH, Known, Sight, expression, leaf

NAMES = ("i", "j", "k", "m", "p", "q")
Owned = dict[str, tuple[int, ...]]
"""Parameters of the layers so far, by full name, with their extents."""


@dataclass
class Maker:
    """A layer in the making."""

    choices: Choices
    sight: Sight
    equations: list[str] = field(default_factory=list)
    parameters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    state: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outside: dict[str, float] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    made: list[Known] = field(default_factory=list)

    def indices(self, most: int) -> tuple[str, ...]:
        names = [i for i in self.sight.extents if i != BATCH and i not in self.sight.reserved]
        chosen: list[str] = []
        for _ in range(self.choices.integer(0, most)):
            name = pick(self.choices, names)
            if name not in chosen:
                chosen.append(name)
        return tuple(chosen)

    def define(self, name: str, indices: tuple[str, ...], batch: bool, text: str, classes: int | None = None) -> None:
        places = ((BATCH,) if batch else ()) + indices
        self.equations.append(f"{name}[{','.join(places)}] = {text}" if places else f"{name} = {text}")
        known = Known(name, tuple(self.sight.extents[i] for i in indices), batch, classes)
        self.made.append(known)
        self.sight.tensors.append(known)


def layer(
    choices: Choices, name: str, inputs: dict[str, Known], final: bool, draws: bool, owned: Owned
) -> tuple[LayerCase, tuple[Known, ...]]:
    """A layer over these inputs; the final one's output is a loss."""
    extents = {i: choices.integer(1, 4) for i in NAMES} | {BATCH: 3}
    for t in inputs.values():  # some indices fit the inputs, so that reads are bare as often as not
        for e in t.dims:
            extents[pick(choices, NAMES)] = e
    if chance(choices, 15):  # as long as vectors and tiles are, and longer
        extents[pick(choices, NAMES)] = choices.integer(5, 24)
    sight = Sight(choices, extents, list(inputs.values()), draws=draws)
    m = Maker(choices, sight)
    for t in list(sight.tensors):
        if t.classes is None and t.dims and chance(choices, 25):
            m.outside[t.name] = pick(choices, (0.0, 0.0, 0.5))
            sight.tensors[sight.tensors.index(t)] = Known(t.name, t.dims, t.batch, outside=True)
    for k in range(choices.integer(1, 3)):
        borrowed = _borrowed(m, owned) if owned and chance(choices, 20) else None
        dims = m.indices(3) if borrowed is None else borrowed[1]
        m.parameters["ABCD"[k]] = dims
        if borrowed is None:
            owned[f"{name}.{'ABCD'[k]}"] = tuple(extents[i] for i in dims)
        else:
            m.shared["ABCD"[k]] = borrowed[0]
        sight.tensors.append(Known("ABCD"[k], tuple(extents[i] for i in dims), False))
    for k in range(choices.integer(1, 4)):
        pick(choices, (_plain, _plain, _plain, _plain, _recurrence, _argmax, _statistics, _state, _coupled))(m, f"z{k}")
    if final:
        _loss(m)
        output: tuple[Known, ...] = (m.made[-1],)
    else:
        useful = [t for t in m.made if t.batch and t.classes is None]
        if not useful:
            m.sight.budget += 8
            dims = m.indices(2)
            m.define("zz", dims, True, f"tanh({expression(sight, (BATCH, *dims), 2)})")
            useful = [m.made[-1]]
        output = tuple(useful[-2:]) if chance(choices, 30) else (useful[-1],)
    used = " ".join(m.equations)
    sizes = {i: e for i, e in extents.items() if i != BATCH}
    sizes = {i: e for i, e in sizes.items() if _mentions(used, i) or any(i in d for d in m.parameters.values())}
    outputs = tuple(t.name for t in output)
    made = LayerCase(name, tuple(m.equations), tuple(inputs), outputs, m.parameters, sizes, m.outside, m.state, m.shared)
    return made, output


def _borrowed(m: Maker, owned: Owned) -> tuple[str, tuple[str, ...]] | None:
    """Another layer's parameter, and indices for it in this layer."""
    name = pick(m.choices, sorted(owned))
    dims: list[str] = []
    for e in owned[name]:
        fitting = [i for i in NAMES if m.sight.extents[i] == e and i not in dims]
        if not fitting:
            return None
        dims.append(pick(m.choices, fitting))
    return name, tuple(dims)


def _mentions(text: str, index: str) -> bool:
    return re.search(rf"\b{index}\b", text) is not None


def _plain(m: Maker, name: str) -> None:
    dims, batch = m.indices(3), not chance(m.choices, 15)
    scope = ((BATCH,) if batch else ()) + dims
    m.sight.budget = 25
    text = expression(m.sight, scope, m.choices.integer(1, 4))
    if chance(m.choices, 50):
        text = f"{pick(m.choices, ('tanh', 'sin', 'softplus', 'relu'))}({text})"
    m.define(name, dims, batch, text)


def _argmax(m: Maker, name: str) -> None:
    dims = m.indices(2)
    free = [i for i in NAMES if i not in dims and i not in m.sight.reserved]
    index = pick(m.choices, free)
    m.sight.budget = 8
    body = f"{expression(m.sight, (BATCH, *dims, index), 2)} + 0.013*{index}"
    m.define(name, dims, True, f"{pick(m.choices, ('argmax', 'argmin'))}({body}, {index})", m.sight.extents[index])


def _statistics(m: Maker, name: str) -> None:
    dims = m.indices(2)
    m.sight.budget = 12
    kind = pick(m.choices, ("mean", "sum", "max"))
    body = expression(m.sight, (BATCH, *dims), 2)
    m.define(f"{name}m", dims, False, f"{kind}(({body})*1, n)")
    places = ",".join(dims)
    mean = f"{name}m[{places}]" if dims else f"{name}m"
    m.define(name, dims, True, f"tanh({expression(m.sight, (BATCH, *dims), 2)} - {mean})")


def _state(m: Maker, name: str) -> None:
    dims = m.indices(2)
    m.sight.budget = 10
    state = f"s{name}"
    m.state[state] = dims
    known = Known(state, tuple(m.sight.extents[i] for i in dims), False)
    m.sight.tensors.append(known)
    places = f"[{','.join(dims)}]" if dims else ""
    body = expression(m.sight, (BATCH, *dims), 2)
    m.equations.append(f"{state}{places} = 0.9*{state}{places} + 0.1*mean(({body})*1, n)")
    first, second = leaf(m.sight, (BATCH, *dims)), leaf(m.sight, (BATCH, *dims))
    m.define(name, dims, True, f"{first} - where(training, {second}, {state}{places})")


def _recurrence(m: Maker, name: str) -> None:
    _coupled(m, name, together=False)


def _coupled(m: Maker, name: str, together: bool = True) -> None:
    """One or two tensors that read each other k steps back, or forward; some with a start."""
    c, sight = m.choices, m.sight
    dims = m.indices(2)
    time = pick(c, [i for i in NAMES if i not in dims])
    axes = (time, *dims) if chance(c, 70) else (*dims, time)
    at = axes.index(time)
    names = (name, f"{name}c") if together else (name,)
    sign = pick(c, ("-", "-", "+"))
    shape = tuple(sight.extents[i] for i in axes)
    before = list(sight.tensors)
    past = [Known(v, shape, True, step=f"{time}{sign}{k}", time=at) for v in names for k in range(1, c.integer(1, 2) + 1)]
    starts = sign == "-" and chance(c, 35)
    texts, first = [], []
    for k, v in enumerate(names):
        sight.tensors = [*before, *past, *past]
        if k == 1 and chance(c, 60):
            sight.tensors.append(Known(names[0], shape, True, step=time, time=at))
        sight.reserved = frozenset((time,))
        sight.budget = 14
        own = pick(c, past)
        scope = (BATCH, *axes)
        places = ",".join((BATCH, *(own.step if i == time else i for i in axes)))
        texts.append(f"tanh(0.5*{own.name}[{places}] + {expression(sight, scope, c.integer(1, 3))})")
        if starts:
            sight.tensors, sight.budget = before, 4
            sight.reserved = frozenset((time,))
            place = ",".join((BATCH, *("-1" if i == time else i for i in axes)))
            first.append((v, f"{v}[{place}] = sin({expression(sight, (BATCH, *dims), 1)})"))
    sight.reserved = frozenset()
    sight.tensors = before
    for v, text in zip(names, texts, strict=True):
        m.define(v, axes, True, text)
    m.equations += [start for v, start in first if any(f"{v}[" in text for text in texts)]


def _loss(m: Maker) -> None:
    """Everything that was made takes part, each element with a weight of its own."""
    m.sight.budget = 10
    batch = not chance(m.choices, 12)
    terms = []
    for t in m.made:
        if t.classes is not None:
            continue
        free = [i for i in NAMES if i not in m.sight.reserved]
        bound: list[str] = []
        for e in t.dims:
            fitting = [i for i in free if m.sight.extents[i] == e and i not in bound]
            bound.append(fitting[0] if fitting else "0")
        indices = [b for b in bound if b != "0"]
        wide = ([BATCH] if t.batch and not batch else []) + indices
        where = ",".join(([BATCH] if t.batch else []) + bound)
        value = f"{t.name}[{where}]" if where else t.name
        body = f"sin({value} + 0.3{''.join(f' + 0.7*{i}' for i in indices)})"
        terms.append(f"sum({body}, {', '.join(wide)})" if wide else body)
    scope = (BATCH,) if batch else ()
    terms.append(expression(m.sight, scope, 3))
    m.define("l", (), batch, " + ".join(terms))


def network(choices: Choices, draws: bool = False) -> Case:
    """A network of one to four layers over one or two real inputs, and sometimes integers."""
    inputs: dict[str, tuple[tuple[int, ...], int | None]] = {}
    known: dict[str, Known] = {}
    for k in range(choices.integer(1, 2)):
        dims = tuple(choices.integer(1, 4) for _ in range(choices.integer(1, 3)))
        inputs[f"x{k}"] = (dims, None)
        known[f"x{k}"] = Known(f"x{k}", dims, True)
    if chance(choices, 35):
        dims = tuple(choices.integer(1, 4) for _ in range(choices.integer(0, 1)))
        classes = choices.integer(1, 4)
        inputs["y"] = (dims, classes)
        known["y"] = Known("y", dims, True, classes)
    layers: list[LayerCase] = []
    calls: list[tuple[int, tuple[str, ...], tuple[str, ...]]] = []
    owned: Owned = {}
    losses: list[tuple[float, str]] = []

    def call(number: int, arguments: tuple[str, ...], prefix: str, output: tuple[Known, ...]) -> None:
        results = tuple(f"{prefix}{number}_{i}" for i in range(len(output)))
        calls.append((number, arguments, results))
        known.update({r: Known(r, t.dims, True) for r, t in zip(results, output, strict=True)})

    for k in range(choices.integer(0, 2)):  # a state belongs to one call: of two calls the last would set it
        arguments = tuple(name for name in known if not chance(choices, 30)) or tuple(known)[:1]
        made, output = layer(choices, f"layer{k}", _local(known, arguments), False, draws, owned)
        layers.append(made)
        call(k, arguments, "h", output)
        if chance(choices, 40) and not made.state:
            call(k, tuple(_like(choices, known, name) for name in arguments), "g", output)
    arguments = tuple(known)
    for name in ("beside", "last") if chance(choices, 15) else ("last",):
        made, output = layer(choices, name, _local(known, arguments), True, draws, owned)
        layers.append(made)
        calls.append((len(layers) - 1, arguments, (f"{name}_loss",)))
        losses.append((1.0 if name == "last" else pick(choices, (0.3, -0.5, 2.0)), f"{name}_loss"))
    penalties = {name: (pick(choices, ("L2", "L1")), 0.01) for name in sorted(owned) if chance(choices, 8)}
    return Case(inputs, tuple(layers), tuple(calls), tuple(losses), penalties)


def _local(known: dict[str, Known], arguments: tuple[str, ...]) -> dict[str, Known]:
    """The arguments under the names that they have inside of the layer."""
    return {f"u{k}": replace(known[a], name=f"u{k}") for k, a in enumerate(arguments)}


def _like(choices: Choices, known: dict[str, Known], name: str) -> str:
    """A value of the same shape and kind."""
    same = [k for k, t in known.items() if (t.dims, t.classes) == (known[name].dims, known[name].classes)]
    return pick(choices, same)
