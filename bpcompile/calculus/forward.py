"""The forward program of a network: the equations of every layer call in normal form, the losses and the penalties.

SymPy works once for each distinct layer: calls whose equations, extents and types agree share one frozen template, which
is then renamed.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bpcompile.calculus.freeze import Name, Scope, freeze_equations
from bpcompile.calculus.normal import normalize
from bpcompile.nodes.expressions import Axis, Expr, Kind, axis, const, load, node, rebuild, reduce, size
from bpcompile.nodes.statements import Origin, Role, Statement, Tensor

if TYPE_CHECKING:
    from bpcompile.language.network import Network
    from bpcompile.language.records import Call, TensorInfo

LOSS = "loss"
BATCH = Axis("n", None)


@dataclass(frozen=True)
class Forward:
    """Statements without an order yet, and the tensors they write and read."""

    name: str
    tensors: Mapping[str, Tensor]
    statements: tuple[Statement, ...]
    equations: tuple[Statement, ...]
    """The equations as frozen, before normal form: one for each of the user's equations."""


def forward_program(network: Network) -> Forward:
    """Freeze a network.

    Parameters
    ----------
    network : Network
        With or without a loss.

    Returns
    -------
    Forward
        Its statements in normal form; the scalar tensor ``loss`` is there if the network has a loss.
    """
    templates: dict[Hashable, list[Statement]] = {}
    equations: list[Statement] = []
    states = _States(network.calls)
    for call in network.calls:
        key = _template_key(call)
        if key not in templates:
            templates[key] = freeze_equations(call.equations, _scope(call))
        versions = states.of(call)
        equations += [_instantiated(s, call, versions) for s in templates[key]]
    if network.losses:
        equations.append(_loss_statement(network))
    statements = normalize(equations)
    return Forward(network.name, _tensors(network, statements), tuple(statements), tuple(equations))


def _template_key(call: Call) -> Hashable:
    names = tuple((k, t.shape, t.integer, t.outside, t.role) for k, t in sorted(call.tensors.items()))
    return (tuple((e.lhs, e.rhs, e.text) for e in call.equations), tuple(sorted(call.extents.items())), names)


def _scope(call: Call) -> Scope:
    names = {
        local: Name(t.shape, _kind(t), t.outside, t.role == "intermediate" and t.call == call.name)
        for local, t in call.tensors.items()
    }
    return Scope(names, call.extents)


def _kind(t: TensorInfo) -> Kind:
    return "int" if t.integer else "real"


@dataclass(frozen=True, slots=True)
class _Version:
    """One call's view of a state: the tensor that an earlier call wrote, if any, and the one that this call writes."""

    read: str | None
    written: str


class _States:
    """States through the calls of a shared layer: in training each call reads what the one before it wrote."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls = Counter(call.resolve[local] for call in calls for local in _state_names(call))
        self._seen: Counter[str] = Counter()

    def of(self, call: Call) -> dict[str, _Version]:
        """The versions that the next call sees, by local name."""
        versions = {}
        for local in _state_names(call):
            state = call.resolve[local]
            k = self._seen[state] = self._seen[state] + 1
            last = k == self._calls[state]
            read = f"{state}.next{k - 1}" if k > 1 else None
            versions[local] = _Version(read, f"{state}.next" if last else f"{state}.next{k}")
        return versions


def _state_names(call: Call) -> list[str]:
    return [local for local, t in call.tensors.items() if t.role == "state"]


def _instantiated(s: Statement, call: Call, states: Mapping[str, _Version]) -> Statement:
    """A statement of a template in the global names of one call."""

    def rename(e: Expr) -> Expr | None:
        if e.op == "load":
            name, kind = e.value
            found = load(_global(name, call), e.args, kind)
            earlier = states[name].read if name in states else None
            if earlier is None:
                return found
            return node("where", (node("flag", (), "training"), load(earlier, e.args, kind), found))
        if e.op == "draw":
            kind, place = e.value
            return node("draw", e.args, (kind, zlib.crc32(f"{call.name}/{place}".encode())))
        return None

    target = states[s.target].written if s.target in states else _global(s.target, call)
    return replace(s, target=target, body=rebuild(s.body, rename), origin=replace(s.origin, call=call.name))


def _global(local: str, call: Call) -> str:
    return call.resolve.get(local, f"{call.name}.{local}")


def _loss_statement(network: Network) -> Statement:
    """``loss = sum of weight * (mean over the batch) + penalties``."""
    terms: list[Expr] = []
    for weight, value in network.losses:
        term = load(value.name, (axis(BATCH),) if value.shape else ())
        if value.shape:
            term = node("div", (reduce("sum", (BATCH,), term), size(BATCH)))
        terms.append(term if weight == 1 else node("mul", (const(float(weight)), term)))
    for name, info in network.parameters.items():
        l1, l2 = info.penalty
        axes = tuple(Axis(i, e) for i, e in zip(axis_names(info.indices, len(info.shape)), info.shape, strict=True))
        w = load(name, (axis(a) for a in axes))
        for factor, value_ in ((l1, node("abs", (w,))), (l2, node("mul", (w, w)))):
            if factor:
                terms.append(node("mul", (const(float(factor)), reduce("sum", axes, value_) if axes else value_)))
    total = terms[0]
    for term in terms[1:]:
        total = node("add", (total, term))
    return Statement(LOSS, (), (), total, origin=Origin(equation="loss"))


def axis_names(given: Iterable[Any], count: int) -> list[str]:
    """Distinct names for the dimensions of a tensor: the user's index names where there are some."""
    names: list[str] = []
    for k, name in enumerate([*given, *[None] * count][:count]):
        usable = isinstance(name, str) and name.isidentifier() and name not in names
        names.append(str(name) if usable else f"i{k}")
    return names


def _tensors(network: Network, statements: Iterable[Statement]) -> dict[str, Tensor]:
    """Every tensor: those of the network, and those that freezing and normal form made."""
    known = {**network.tensors, **{t.name: t for c in network.calls for t in c.tensors.values() if t.call == c.name}}
    tensors: dict[str, Tensor] = {}
    for name, t in known.items():
        role: Any = "temporary" if t.role == "intermediate" else t.role
        tensors[name] = Tensor(name, t.shape, role, _kind(t), t.label or name, classes=t.classes)
    for s in statements:
        if s.target in tensors and tensors[s.target].role not in ("parameter", "state"):
            continue
        of = s.target.removesuffix(".next") if s.target.endswith(".next") else ""
        role_: Role = "loss" if s.target == LOSS else "next_state" if of in network.states else "temporary"
        kind: Kind = "int" if s.reduce in ("argmax", "argmin") else s.body.kind
        shape = tuple(a.extent for a in s.axes)
        tensors[s.target] = Tensor(s.target, shape, role_, kind, s.target.rpartition(".")[2], of)
    return tensors


__all__ = ["BATCH", "LOSS", "Forward", "axis_names", "forward_program"]
