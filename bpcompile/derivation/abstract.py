"""The network of L layers with an activation and a cost that are not specified, differentiated by the same one rule.

It is an ordinary recurrence over the layer number ``l``: ``z[l,j] = sum(w[l,j,k]*a[l-1,k], k) + b[l,j]``,
``a[l,j] = f(z[l,j])`` and a cost of ``a[L,j]``. No extent is known, neither of ``l`` nor of the others.
"""

from __future__ import annotations

from bpcompile.calculus.algebra import add, is_number, mul, select
from bpcompile.calculus.differentiate import differentiate
from bpcompile.calculus.forward import LOSS, Forward
from bpcompile.calculus.normal import normalize
from bpcompile.calculus.record import Record
from bpcompile.derivation.context import Context, Options, own_definitions
from bpcompile.derivation.names import Names, Printed
from bpcompile.derivation.view import View, tidied
from bpcompile.nodes.expressions import Axis, Expr, axis, children_first, const, load, node, reduce, substitute
from bpcompile.nodes.guards import simplify_guards
from bpcompile.nodes.statements import Program, Statement, Tensor

LAYER = Axis("l", None)
ROW = Axis("j", None)
COLUMN = Axis("k", None)
LAST = load("L", (), "int")
"""The number of layers."""


def equations(activation: str, cost: str) -> list[Statement]:
    """The forward pass of any such network."""
    at, before = axis(LAYER), node("sub", (axis(LAYER), const(1)))
    j, k = axis(ROW), axis(COLUMN)
    product = reduce("sum", (COLUMN,), node("mul", (load("W", (at, j, k)), load("a", (before, k)))))
    return [
        Statement("z", (at, j), (LAYER, ROW), node("add", (product, load("b", (at, j))))),
        Statement("a", (at, j), (LAYER, ROW), node("unspecified", (load("z", (at, j)),), (activation, 0))),
        Statement(LOSS, (), (), node("unspecified", (load("a", (LAST, j)),), (cost, 0)), cost, (ROW,)),
    ]


def abstract_context(options: Options) -> Context:
    """Differentiate the abstract network, and prepare its printing."""
    names = Names(brackets=options.brackets, superscripted=dict.fromkeys(("W", "b", "z", "a"), 1))
    names.tensors |= {t: Printed(t) for t in ("W", "b", "z", "a", "L")} | {LOSS: Printed(names.cost)}
    names.errors["z"] = ""
    typed = equations(options.activation, names.cost)
    tensors = {
        "W": Tensor("W", (None, None, None), "parameter"),
        "b": Tensor("b", (None, None), "parameter"),
        **{t: Tensor(t, (None, None)) for t in ("z", "a")},
        LOSS: Tensor(LOSS, (), "loss"),
        "L": Tensor("L", (), "input", "int"),
    }
    normal = [*normalize(typed[:2]), typed[2]]
    tensors |= {s.target: Tensor(s.target, (None,) * len(s.axes)) for s in normal if s.target not in tensors}
    forward = Forward("layers", tensors, tuple(normal), tuple(typed))
    record = Record(forward=tuple(typed))
    made = differentiate(forward, ["W", "b"], {"W": ("l", "j", "k"), "b": ("l", "j")}, (), record)
    program = Program("layers", made.tensors, tuple(made.forward))
    stable = {s.target: s for s in normal}
    own = dict.fromkeys(("W", "b", "z", "a", LOSS))
    definitions = own_definitions(stable, own, program, record)
    view = View(dict(made.tensors), definitions, (), single=False)
    context = Context(None, program, record, names, view, options, {s.target: s for s in typed}, stable, own)
    context.time[LAYER.name] = None
    return context


def at_layer(e: Expr, last: bool) -> Expr:
    """An equation at the last layer, or at one before it: what cannot be is left out.

    At the last layer there is no layer ``L + 1`` that reads ``a``; before it the cost does not.
    """
    if last:
        e = substitute(e, {axis(LAYER): LAST})
    return tidied(_decided(simplify_guards(_decided(e))))


def _decided(e: Expr) -> Expr:
    """Comparisons with ``L`` decided, terms of a layer ``L + 1`` dropped."""
    done: dict[Expr, Expr] = {}
    for current in children_first(e):
        args = tuple(done[a] for a in current.args)
        fresh = node(current.op, args, current.value)
        if fresh.op == "eq" and LAST in fresh.args:
            fresh = const(fresh.args[0] is fresh.args[1])
        elif _is_nothing(fresh):
            fresh = const(0)
        done[current] = _without_zeros(fresh)
    return done[e]


def _is_nothing(e: Expr) -> bool:
    """True for what reads layer ``L + 1``, and for sums of nothing."""
    if e.op == "reduce":
        return is_number(e.args[0], 0)
    return e.op == "load" and any(a is node("add", (LAST, const(1))) for a in e.args)


def _without_zeros(e: Expr) -> Expr:
    if e.op == "mul":
        return mul(*e.args) if any(is_number(a, 0) for a in e.args) else e
    if e.op == "add":
        return add(*e.args) if any(is_number(a, 0) for a in e.args) else e
    if e.op == "where":
        return select(*e.args)
    return e
