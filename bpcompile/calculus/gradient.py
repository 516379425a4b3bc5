"""From a network to its programs: what is computed for a prediction, and for the loss with its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpcompile.calculus.differentiate import adjoint_name, differentiate
from bpcompile.calculus.forward import LOSS, Forward, forward_program
from bpcompile.calculus.record import Record
from bpcompile.calculus.repeats import Repeats
from bpcompile.calculus.stable import Softmax, stabilize, without_stops
from bpcompile.errors import NetworkError, nearest
from bpcompile.nodes.expressions import Axis, Expr, axis, const, load, walk_nodes
from bpcompile.nodes.recurrence import arrange
from bpcompile.nodes.statements import Program, Statement, Tensor

if TYPE_CHECKING:
    from bpcompile.language.network import Network


@dataclass(frozen=True)
class Calculus:
    """What the calculus made of a network: the stable forward statements, and the record so far."""

    network: Network
    forward: Forward
    softmaxes: tuple[Softmax, ...]
    record: Record


def analyze(network: Network) -> Calculus:
    """Freeze a network, bring it to normal form and to stable forms."""
    plain = forward_program(network)
    record = Record(forward=plain.equations)
    forward, softmaxes = stabilize(plain, record)
    return Calculus(network, forward, tuple(softmaxes), record)


def shortened(calculus: Calculus, repeats: Repeats) -> Calculus:
    """The calculus of a network with fewer copies of the layer that it repeats."""
    kept = tuple(s for s in calculus.softmaxes if s.total.value[0] in repeats.short.tensors)
    return replace(calculus, forward=repeats.short, softmaxes=kept)


def prediction(calculus: Calculus) -> Program:
    """The program that gives the network's outputs; what they do not need is not in it."""
    outputs = [v.name for v in calculus.network.outputs]
    statements = [s for s in calculus.forward.statements if calculus.forward.tensors[s.target].role != "next_state"]
    tensors = dict(calculus.forward.tensors)
    names = []
    for name in dict.fromkeys(outputs):
        if tensors[name].role == "temporary":
            tensors[name] = replace(tensors[name], role="output", of=name)
            names.append(name)
        else:
            copy = _copy_of(tensors[name])
            tensors[copy.target] = replace(tensors[name], name=copy.target, role="output", of=name)
            statements.append(copy)
            names.append(copy.target)
    kept = _needed(statements, names)
    return Program(calculus.forward.name, _used(tensors, kept), arrange(without_stops(kept)), tuple(names))


def training(
    calculus: Calculus, wrt: Sequence[str] = ("parameters",), *, reuse: bool = True, recorded: bool = True
) -> Program:
    """The program that gives the loss, the gradients and the next states.

    Parameters
    ----------
    calculus : Calculus
        Of a network with a loss.
    wrt : sequence of str
        ``"parameters"``, and names of real inputs, targets or single parameters.
    reuse : bool
        Let derivatives read the values of the forward pass. Without it nothing is recorded: it serves to count what
        sharing saves.
    recorded : bool
        Put every step into the calculus' record: what a derivation is printed from.
    """
    network = calculus.network
    if not network.losses:
        raise NetworkError("The network has no loss, so there is nothing to differentiate.", hint="Network(..., loss=...)")
    wanted = [name for name in gradient_targets(network, wrt) if name in calculus.forward.tensors]
    trainable = [t for t in wanted if t not in network.parameters or network.parameters[t].trainable]
    names = {name: info.indices for name, info in network.parameters.items()}
    record = calculus.record if reuse and recorded else None
    made = differentiate(calculus.forward, trainable, names, calculus.softmaxes, record, reuse)
    tensors = dict(made.tensors)
    statements = [*made.forward, *made.backward]
    for name in wanted:
        if name not in trainable:
            zero = _zero_gradient(tensors[name])
            tensors[zero.target] = Tensor(zero.target, tensors[name].shape, "gradient", of=name)
            statements.append(zero)
    states = [t.name for t in tensors.values() if t.role == "next_state"]
    outputs = (LOSS, *(adjoint_name(t) for t in wanted), *states)
    kept = _needed(statements, outputs)
    return Program(calculus.forward.name, _used(tensors, kept), arrange(without_stops(kept)), outputs)


def gradient_targets(network: Network, wrt: Sequence[str]) -> list[str]:
    """The tensors that ``wrt`` names, parameters first and in their order."""
    wrt = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    known = [*network.parameters, *(n for n, v in (*network.inputs.items(), *network.targets.items()) if not v.integer)]
    for name in wrt:
        if name != "parameters" and name not in known:
            raise NetworkError(
                f"wrt names '{name}', which is neither 'parameters' nor a parameter nor a real input.",
                hint=nearest(name, ["parameters", *known]),
            )
    return [t for t in known if t in wrt or (t in network.parameters and "parameters" in wrt)]


def _copy_of(t: Tensor) -> Statement:
    axes = tuple(Axis("n" if e is None else f"i{k}", e) for k, e in enumerate(t.shape))
    left: tuple[Expr, ...] = tuple(axis(a) for a in axes)
    return Statement(f"{t.name}.out", left, axes, load(t.name, left, t.kind))


def _zero_gradient(t: Tensor) -> Statement:
    axes = tuple(Axis(f"i{k}", e) for k, e in enumerate(t.shape))
    return Statement(adjoint_name(t.name), tuple(axis(a) for a in axes), axes, const(0.0))


def _needed(statements: Sequence[Statement], outputs: Sequence[str]) -> list[Statement]:
    """The statements that the outputs depend on, in the given order."""
    writers: dict[str, list[Statement]] = {}
    for s in statements:
        writers.setdefault(s.target, []).append(s)
    needed = set(outputs)
    stack = list(outputs)
    while stack:
        for s in writers.get(stack.pop(), ()):
            for e in walk_nodes((s.body, *s.subscripts)):
                if e.op == "load" and e.value[0] not in needed:
                    needed.add(e.value[0])
                    stack.append(e.value[0])
    return [s for s in statements if s.target in needed]


def _used(tensors: dict[str, Tensor], statements: Sequence[Statement]) -> dict[str, Tensor]:
    """The tensors that the statements write, and everything that the caller holds."""
    written = {s.target for s in statements}
    given = ("input", "target", "parameter", "state")
    return {name: t for name, t in tensors.items() if t.role in given or name in written}
