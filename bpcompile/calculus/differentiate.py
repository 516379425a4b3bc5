"""The one rule.

For ``y[I] = R_r f(..., u[g(I, r)], ...)`` every access ``u[g]`` contributes

    u_bar[g(I, r)]  +=  y_bar[I] * (df / du[g])        for all I and r

where ``df/du[g]`` is the scalar derivative of the body with that access taken for a real symbol. Nothing else here knows
what a layer is. Contributions are gathered (``gather``), added up, simplified and recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bpcompile.calculus.algebra import ZERO, add, is_number, select
from bpcompile.calculus.forward import LOSS, Forward
from bpcompile.calculus.gather import Gathering, gather, summed
from bpcompile.calculus.normal import normalize_statement
from bpcompile.calculus.reach import consumers_first, differentiable_loads, needed_for, reached_from
from bpcompile.calculus.record import Collected, Contribution, Record
from bpcompile.calculus.scalar import scalar_adjoints
from bpcompile.calculus.simplify import matched, simplify
from bpcompile.calculus.stable import Softmax
from bpcompile.nodes.affine import interval
from bpcompile.nodes.expressions import (
    Axis,
    Expr,
    Kind,
    axes_of,
    axis,
    children_first,
    const,
    load,
    node,
    size,
    substitute,
)
from bpcompile.nodes.guards import simplify_guards
from bpcompile.nodes.statements import Origin, Statement, Tensor


@dataclass(frozen=True)
class Differentiated:
    """Forward and backward statements, in no order yet, and all tensors."""

    tensors: Mapping[str, Tensor]
    forward: tuple[Statement, ...]
    backward: tuple[Statement, ...]


def adjoint_name(tensor: str) -> str:
    """The name of the adjoint of a tensor: ``hidden.z`` has ``hidden.z.bar``."""
    return f"{tensor}.bar"


def differentiate(
    forward: Forward,
    wrt: Sequence[str],
    names: Mapping[str, Sequence[str]],
    softmaxes: Sequence[Softmax],
    record: Record | None,
    reuse: bool = True,
) -> Differentiated:
    """Adjoints of ``wrt`` by the one rule, from the scalar tensor ``loss`` backwards.

    Parameters
    ----------
    forward : Forward
        Statements in normal form.
    wrt : sequence of str
        Tensors whose gradients are wanted: they become tensors of role ``gradient``.
    names : mapping of str to sequence of str
        The users' index names of parameters and inputs, for naming the axes of their gradients.
    softmaxes : sequence of Softmax
        Quotients that may become tensors of the forward pass.
    record : Record or None
        Receives every contribution and every collected adjoint.
    reuse : bool
        Let derivatives read the values of the forward pass. Without it they compute these again: for counting only.
    """
    state = _Backward(forward, names, record, softmaxes, reuse)
    state.prepare(wrt)
    for tensor in state.order:
        state.collect(tensor, wanted=tensor in wrt)
        state.done.add(tensor)
    for tensor in wrt:
        if tensor not in state.done:
            state.define_zero(tensor)
    return Differentiated(state.tensors, tuple(state.forward), tuple(state.backward))


@dataclass
class _Backward:
    """The state of one differentiation: what is known, what is made."""

    source: Forward
    names: Mapping[str, Sequence[str]]
    record: Record | None
    softmaxes: Sequence[Softmax]
    reuse: bool
    tensors: dict[str, Tensor] = field(default_factory=dict)
    forward: list[Statement] = field(default_factory=list)
    backward: list[Statement] = field(default_factory=list)
    writers: dict[str, Statement] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    readers: dict[str, list[Statement]] = field(default_factory=dict)
    aliases: dict[str, tuple[tuple[Axis, ...], Expr]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    hoisted: dict[str, int] = field(default_factory=dict)
    gathering: Gathering = field(default_factory=Gathering)
    promised: set[str] = field(default_factory=set)
    """Tensors whose adjoint is read: in a recurrence before it is defined. It must become a tensor."""

    def prepare(self, wrt: Sequence[str]) -> None:
        """Find the tensors between ``wrt`` and the loss, and their readers; order them from the loss backwards."""
        self.tensors = dict(self.source.tensors)
        self.forward = list(self.source.statements)
        self.writers = {s.target: s for s in self.forward}
        moving = reached_from(wrt, self.forward, self.tensors)
        needed = needed_for(LOSS, self.writers)
        self.active = [t for t in (*wrt, *self.writers) if t in moving and t in needed]
        live = set(self.active)
        for s in self.forward:
            if s.target not in live or s.reduce in ("argmax", "argmin") or s.target.endswith(".next"):
                continue
            for tensor in dict.fromkeys(e.value[0] for e in differentiable_loads(s.body)):
                if tensor in live:
                    self.readers.setdefault(tensor, []).append(s)
        self.order = consumers_first(self.active, self.readers)
        self.quotients = [
            (s.axes, s.body.args[0], s.body.args[1], s.target)
            for s in self.forward
            if s.plain and not s.reduce and s.body.op == "div" and s.body.args[1].op == "load"
        ]

    # --- one adjoint ------------------------------------------------------------------------------------------------------

    def collect(self, tensor: str, wanted: bool) -> None:
        """Define the adjoint of one tensor from the contributions of all its readers."""
        adjoint = adjoint_name(tensor)
        if tensor == LOSS:
            self._finish(tensor, adjoint, (), const(1.0), [], wanted)
            return
        places = self._places(tensor)
        total: Expr | None = None
        scatters: list[Statement] = []
        for s in self.readers.get(tensor, []):
            accesses = [e for e in differentiable_loads(s.body) if e.value[0] == tensor]
            seed = self._seed(s)
            if is_number(seed, 0):
                continue
            values = self._of_forward(s, scalar_adjoints(s.body, seed, accesses))
            for access in accesses:
                value = simplify(values[access], self._quotient)
                if is_number(value, 0):
                    continue
                gathered = self._contribution(tensor, s, access, value, places)
                if isinstance(gathered, Statement):
                    scatters += self._normalized(gathered)
                else:
                    total = gathered if total is None else add(total, gathered)
        if scatters and self._is_recurrent(tensor):
            total = self._scattered_apart(tensor, scatters, places, total)
            scatters = []
        if total is None and not scatters:
            if wanted or tensor in self.promised:
                self.define_zero(tensor, wanted)
            return
        self._finish(tensor, adjoint, places, total, scatters, wanted)

    def _is_recurrent(self, tensor: str) -> bool:
        s = self.writers.get(tensor)
        return s is not None and any(tensor in needed_for(e.value[0], self.writers) for e in differentiable_loads(s.body))

    def _scattered_apart(
        self, tensor: str, scatters: list[Statement], places: tuple[Axis, ...], total: Expr | None
    ) -> Expr:
        """Scatter into a tensor of their own what readers after a recurrence give: its time loop takes no scatters."""
        adjoint = adjoint_name(tensor)
        name = f"{adjoint}.scattered"
        self.tensors[name] = Tensor(name, self.tensors[tensor].shape, label=name)
        for s in scatters:
            if s.target != adjoint:
                self._temporary(s)
            self.backward.append(replace(s, target=name) if s.target == adjoint else s)
        value = load(name, (axis(a) for a in places))
        return value if total is None else add(total, value)

    def _seed(self, s: Statement) -> Expr:
        """``y_bar[I]``; for a maximum, only where the reduced indices are those of the first maximum."""
        left = tuple(axis(a) for a in s.axes)
        alias = self.aliases.get(s.target)
        if alias is not None:
            axes, value = alias
            value = substitute(value, {axis(a): i for a, i in zip(axes, left, strict=True)})
        elif s.target in self.done and adjoint_name(s.target) not in self.tensors:
            return ZERO
        else:
            self.promised.add(s.target)
            value = load(adjoint_name(s.target), left)
        if s.reduce in ("max", "min"):
            return select(node("eq", (_position(s.over), self._argument(s))), value, ZERO)
        return value

    def _argument(self, s: Statement) -> Expr:
        """A load of the recorded place of a maximum, defined in the forward pass at the first request."""
        name = f"{s.target}.arg{s.reduce}"
        left = tuple(axis(a) for a in s.axes)
        if name not in self.tensors:
            self.tensors[name] = Tensor(name, tuple(a.extent for a in s.axes), kind="int", label=f"arg{s.reduce}")
            place = self.forward.index(s)
            self.forward.insert(place + 1, replace(s, target=name, reduce=f"arg{s.reduce}"))
        return load(name, left, "int")

    def _of_forward(self, s: Statement, values: dict[Expr, Expr]) -> dict[Expr, Expr]:
        """Derivatives that contain the statement's own value read it: sigmoid' = a (1 - a)."""
        if not self.reuse or s.reduce or s.body.op in ("load", "const"):
            return values
        own = load(s.target, (axis(a) for a in s.axes), s.body.kind)
        result = {access: substitute(v, {s.body: own}) for access, v in values.items()}
        if self.record is not None:
            for access, v in result.items():
                if v is not values[access]:
                    self.record.rewritten("value of the forward pass", s.target, values[access], v)
        return result

    def _contribution(
        self, tensor: str, s: Statement, access: Expr, value: Expr, places: tuple[Axis, ...]
    ) -> Expr | Statement:
        """One contribution, gathered over ``places`` where that is possible, else as a scatter."""
        domain = (*s.axes, *s.over)
        origin = replace(s.origin, phase="backward")
        scatter = Statement(adjoint_name(tensor), access.args, domain, value, accumulate=True, origin=origin)
        gathered = self.gathering.gather(value, access.args, domain, places)
        if gathered is None and s.target in needed_for(tensor, self.writers):
            gathered = gather(value, access.args, domain, places, must=True)
        if self.record is not None:
            derivative = scalar_adjoints(s.body, const(1), [access])[access]
            expression, solved = (None, ()) if gathered is None else (gathered.expression, gathered.solved)
            self.record.steps.append(Contribution(tensor, s, access, derivative, scatter, expression, solved))
        return self._kept_inside(_summed_first(scatter)) if gathered is None else gathered.expression

    def _kept_inside(self, s: Statement) -> Statement:
        """A scatter whose value is selected off must not leave its tensor: those subscripts become 0."""
        shape = self.tensors[s.target.removesuffix(".bar")].shape
        if s.body.op != "where" or not (is_number(s.body.args[1], 0) or is_number(s.body.args[2], 0)):
            return s
        condition, taken = s.body.args[0], is_number(s.body.args[2], 0)
        kept = []
        for i, extent in zip(s.subscripts, shape, strict=True):
            low, high = interval(i)
            if i.op == "axis" or (low >= 0 and (extent is None or high < extent)):
                kept.append(i)
            else:
                kept.append(select(condition, i, ZERO) if taken else select(condition, ZERO, i))
        return replace(s, subscripts=tuple(kept))

    def _temporary(self, s: Statement) -> None:
        """Declare what a statement that was hoisted defines; sums of integers are integers."""
        kind: Kind = "int" if s.body.kind == "int" else "real"
        shape = tuple(a.extent for a in s.axes)
        self.tensors.setdefault(s.target, Tensor(s.target, shape, kind=kind, label=s.target))

    def _normalized(self, s: Statement) -> list[Statement]:
        """The statement in normal form; what is hoisted gets names of its own among all parts of an adjoint."""
        before = self.hoisted.get(s.target, 0)
        parts = normalize_statement(s, before)
        self.hoisted[s.target] = before + len(parts) - 1
        return parts

    def _finish(
        self,
        tensor: str,
        adjoint: str,
        places: tuple[Axis, ...],
        total: Expr | None,
        scatters: list[Statement],
        wanted: bool,
    ) -> None:
        """Simplify, record and define; an adjoint that is a copy or a constant becomes an alias instead."""
        simplified = None if total is None else simplify_guards(simplify(total, self._quotient))
        if self.record is not None:
            self.record.steps.append(Collected(tensor, adjoint, tuple(axis(a) for a in places), total, simplified))
        fixed = wanted or bool(scatters) or tensor in self.promised
        if simplified is not None and not fixed and _is_cheap(simplified):
            self.aliases[tensor] = (places, simplified)
            return
        self._declare(tensor, adjoint, wanted)
        origin = replace(self._origin(tensor), phase="backward")
        if simplified is not None:
            left = tuple(axis(a) for a in places)
            whole = Statement(adjoint, left, places, simplified, origin=origin)
            parts = self._normalized(whole)
            if not fixed and len(parts) > 1 and _is_cheap(parts[-1].body, most_loads=2):
                self.aliases[tensor] = (places, parts[-1].body)
                self.tensors.pop(adjoint)
                parts = parts[:-1]
            for p in parts:
                self._temporary(p)
            self.backward += parts
        for p in scatters:
            self._temporary(p)
        self.backward += scatters

    def _declare(self, tensor: str, adjoint: str, wanted: bool) -> None:
        t = self.tensors[tensor]
        self.tensors[adjoint] = Tensor(
            adjoint, t.shape, "gradient" if wanted else "temporary", label=f"{t.label}.bar", of=tensor if wanted else ""
        )

    def define_zero(self, tensor: str, wanted: bool = True) -> None:
        """The gradient of a tensor that the loss does not depend on."""
        adjoint = adjoint_name(tensor)
        self.done.add(tensor)
        self._declare(tensor, adjoint, wanted)
        places = self._named_places(tensor)
        left = tuple(axis(a) for a in places)
        origin = replace(self._origin(tensor), phase="backward")
        self.backward.append(Statement(adjoint, left, places, const(0.0), origin=origin))

    # --- names ------------------------------------------------------------------------------------------------------------

    def _origin(self, tensor: str) -> Origin:
        readers = self.readers.get(tensor) or self.forward
        return readers[0].origin

    def _places(self, tensor: str) -> tuple[Axis, ...]:
        """Axes for a tensor's adjoint: those of a reader that reads it plainly, free ones before summed ones."""
        shape = self.tensors[tensor].shape
        best: tuple[Axis, ...] | None = None
        most = -1
        for s in self.readers.get(tensor, []):
            for access in differentiable_loads(s.body):
                axes = tuple(i.value for i in access.args if i.op == "axis")
                if access.value[0] != tensor or len(set(axes)) < len(access.args):
                    continue
                free = sum(a in s.axes for a in axes)
                if free > most and all(a.extent == e for a, e in zip(axes, shape, strict=True)):
                    best, most = axes, free
        return self._named_places(tensor) if best is None else best

    def _named_places(self, tensor: str) -> tuple[Axis, ...]:
        shape = self.tensors[tensor].shape
        s = self.writers.get(tensor)
        if s is not None and s.plain:
            return s.axes
        given = list(self.names.get(tensor, ()))
        if len(given) != len(shape) or len(set(given)) != len(given):
            given = ["n" if e is None else f"i{k}" for k, e in enumerate(shape)]
        return tuple(Axis(name, e) for name, e in zip(given, shape, strict=True))

    def _quotient(self, numerator: Expr, divisor: Expr) -> Expr | None:
        """A load of the tensor that holds ``numerator / divisor``."""
        if not self.reuse or divisor.op != "load":
            return None
        for axes, above, below, target in self.quotients:
            if below.value != divisor.value:
                continue
            at = matched(node("div", (above, below)), node("div", (numerator, divisor)), axes)
            if at is not None and len(at) == len(axes):
                return load(target, (at[a] for a in axes))
        for soft in self.softmaxes:
            if soft.total.value != divisor.value:
                continue
            at = matched(node("div", (soft.numerator, soft.total)), node("div", (numerator, divisor)), soft.axes)
            if at is not None and len(at) == len(soft.axes):
                self._define_softmax(soft)
                return load(soft.name, (at[a] for a in soft.axes))
        return None

    def _define_softmax(self, soft: Softmax) -> None:
        if soft.name in self.tensors:
            return
        self.tensors[soft.name] = Tensor(soft.name, tuple(a.extent for a in soft.axes), label="softmax")
        total = soft.total.value[0]
        place = next(k for k, s in enumerate(self.forward) if s.target == total)
        body = node("div", (soft.numerator, soft.total))
        left = tuple(axis(a) for a in soft.axes)
        self.forward.insert(place + 1, Statement(soft.name, left, soft.axes, body, origin=self.forward[place].origin))
        self.quotients.append((soft.axes, soft.numerator, soft.total, soft.name))


def _position(over: Sequence[Axis]) -> Expr:
    """The row-major position within the reduced axes."""
    total: Expr = axis(over[0])
    for a in over[1:]:
        total = node("add", (node("mul", (total, size(a))), axis(a)))
    return total


def _summed_first(s: Statement) -> Statement:
    """A scatter whose axes are those of its subscripts: what else varies is summed before."""
    kept = tuple(a for a in s.axes if any(a in axes_of(i) for i in s.subscripts))
    return replace(s, axes=kept, body=summed(s.body, tuple(a for a in s.axes if a not in kept)))


_CHEAP = frozenset({"load", "const", "axis", "size", "add", "sub", "mul", "div", "neg"})


def _is_cheap(e: Expr, most_loads: int = 1) -> bool:
    """True for copies, constants and simple multiples: what is computed again rather than stored."""
    nodes = children_first(e)
    return all(x.op in _CHEAP for x in nodes) and sum(x.op == "load" for x in nodes) <= most_loads and len(nodes) < 10


__all__ = ["Differentiated", "adjoint_name", "differentiate", "scalar_adjoints"]
