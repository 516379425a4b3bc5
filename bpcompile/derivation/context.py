"""Everything that the sections of a derivation are written from: the record, the programs, the names and the view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bpcompile.calculus.differentiate import adjoint_name
from bpcompile.calculus.forward import LOSS
from bpcompile.calculus.gradient import analyze, training
from bpcompile.calculus.record import Collected, Contribution, Record, Rewriting
from bpcompile.derivation.axes import Letters
from bpcompile.derivation.matrix import Layout
from bpcompile.derivation.names import Names, network_names
from bpcompile.derivation.view import Definition, View, is_batch, whole
from bpcompile.nodes.expressions import Axis, axes_of, walk_nodes
from bpcompile.nodes.statements import Program, Statement, Tensor, TimeLoop

if TYPE_CHECKING:
    from bpcompile.calculus.gradient import Calculus
    from bpcompile.derivation.local import Path
    from bpcompile.language.network import Network


@dataclass(frozen=True)
class Options:
    """How a derivation is written; see `bpcompile.derivation.derive.derive`."""

    level: str = "student"
    layout: str = "column"
    brackets: str = "()"
    jacobian: str = "numerator"
    activation: str = "sigma"
    layers: str = "auto"
    seed: int = 0
    example: Mapping[str, Any] | None = None
    learning_rate: float = 0.1

    @property
    def student(self) -> bool:
        """Whether every step is shown."""
        return self.level == "student"


@dataclass
class Context:
    """One network's derivation.

    Attributes
    ----------
    forward : mapping of str to Statement
        The user's equations as typed, by target.
    stable : mapping of str to Statement
        The statements of the forward pass that were differentiated, by target.
    own : set of str
        The user's tensors; the others are the compiler's.
    collected, contributions, rewritings
        The record, by tensor.
    """

    network: Network | None
    program: Program
    record: Record
    names: Names
    view: View
    options: Options
    forward: dict[str, Statement]
    stable: dict[str, Statement]
    own: dict[str, None]
    collected: dict[str, Collected] = field(default_factory=dict)
    contributions: dict[str, list[Contribution]] = field(default_factory=dict)
    rewritings: list[Rewriting] = field(default_factory=list)
    time: dict[str, None] = field(default_factory=dict)
    introduced: dict[str, None] = field(default_factory=dict)
    shown_numbers: dict[str, None] = field(default_factory=dict)
    calculus: Calculus | None = None
    batch: Context | None = None
    inputs: Context | None = None
    _paths: dict[str, list[Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step in self.record.steps:
            if isinstance(step, Collected):
                self.collected[step.tensor] = step
            elif isinstance(step, Contribution):
                self.contributions.setdefault(step.tensor, []).append(step)
            else:
                self.rewritings.append(step)

    @property
    def single(self) -> bool:
        """Whether one example is shown."""
        return self.view.single

    @property
    def network_inputs(self) -> tuple[str, ...]:
        """Inputs and targets."""
        return () if self.network is None else (*self.network.inputs, *self.network.targets)

    def tensor(self, name: str) -> Tensor:
        """What is known of a tensor."""
        return self.view.tensors[name]

    def paths(self, target: str) -> list[Path]:
        """How an equation depends on other tensors; computed once."""
        from bpcompile.derivation.local import paths

        if target not in self._paths:
            self._paths[target] = paths(self, target)
        return self._paths[target]

    def letters(self, taken: Iterable[str]) -> Letters:
        """Letters for indices, tensors' letters avoided."""
        return Letters(taken, dict.fromkeys(p.base for p in self.names.tensors.values() if len(p.base) == 1))

    def layout(self, fixed: Sequence[Axis] = ()) -> Layout:
        """How tensors become matrices here."""
        batched = not self.single and self.network is not None
        return Layout(self.options.layout == "column", tuple(fixed), tuple(self.time), self._shape, batched)

    def _shape(self, tensor: str) -> tuple[int | None, ...]:
        return self.view.shape(tensor if tensor in self.view.tensors else tensor.removesuffix(".bar"))

    def has_adjoint(self, tensor: str) -> bool:
        """Whether the adjoint of a tensor is computed as a tensor of its own."""
        return adjoint_name(tensor) in self.program.tensors


def context_of(network: Network, options: Options, wrt: Sequence[str] = ("parameters",)) -> Context:
    """Analyze and differentiate a network, and prepare its printing."""
    calculus = analyze(network)
    program = training(calculus, wrt)
    return prepared(calculus, program, options)


def prepared(calculus: Calculus, program: Program, options: Options, single: bool | None = None) -> Context:
    """The context of a network that has been differentiated."""
    network = calculus.network
    tensors = {**calculus.forward.tensors, **program.tensors}
    forward = {s.target: s for s in calculus.record.forward}
    own = dict.fromkeys([*network.tensors, *(t.name for c in network.calls for t in c.tensors.values()), LOSS])
    stable = {s.target: s for s in calculus.forward.statements}
    stable |= {s.target: s for s in program.statements() if s.target not in stable and s.origin.phase == "forward"}
    apart = examples_are_apart(forward, tensors) if single is None else single
    view = View(tensors, own_definitions(stable, own, program, calculus.record), _shifts(stable), apart)
    names = network_names(network, options.brackets, options.layers)
    context = Context(network, program, calculus.record, names, view, options, forward, stable, own, calculus=calculus)
    for step in program.steps:
        if isinstance(step, TimeLoop):
            context.time.setdefault(step.axis.name)
    for name in stable:
        if name not in own and name not in view.definitions:
            names.of(name)
    return context


def examples_are_apart(forward: dict[str, Statement], tensors: dict[str, Tensor]) -> bool:
    """Whether no equation but the loss lets examples meet: then one example tells everything."""
    for s in forward.values():
        if s.target == LOSS:
            continue
        if tensors.get(s.target) is not None and tensors[s.target].role == "next_state":
            return False
        for e in walk_nodes((whole(s),)):
            if e.op == "reduce" and any(is_batch(a) for a in e.value[1]):
                return False
            if e.op == "load" and e.value[0] in tensors:
                shape = tensors[e.value[0]].shape
                batch = [i for i, extent in zip(e.args, shape, strict=False) if extent is None]
                if any(i.op != "axis" for i in batch):
                    return False
        if not any(is_batch(a) for a in s.axes) and any(is_batch(a) for a in axes_of(whole(s))):
            return False
    return True


def own_definitions(
    stable: dict[str, Statement], own: dict[str, None], program: Program, record: Record
) -> dict[str, Definition]:
    """The compiler's own tensors that are written out, and their adjoints: those that have none that is worth a name."""
    collected = {step.tensor: step for step in record.steps if isinstance(step, Collected)}
    found: dict[str, Definition] = {}
    for name, s in stable.items():
        t = program.tensors.get(name)
        kind = t.kind if t is not None else s.body.kind
        last = name.rpartition(".")[2]
        if name in own or kind == "int" or not s.plain or last.startswith(("softmax", "draw", "start", "next")):
            continue
        step = collected.get(name)
        if adjoint_name(name) in program.tensors:
            if step is None or step.simplified is None or step.simplified.op != "load":
                continue
            found[adjoint_name(name)] = (tuple(a.value for a in step.axes), step.simplified)
        found[name] = (s.axes, whole(s))
    for s in program.statements():
        places = tuple(i.value for i in s.subscripts if i.op == "axis")
        if ".bar." in s.target and not s.accumulate and len(places) == len(s.subscripts) == len(set(places)):
            found[s.target] = (places, whole(s))
    return found


def _shifts(stable: dict[str, Statement]) -> tuple[str, ...]:
    return tuple(name for name in stable if name.endswith(".shift"))


def batch_context(context: Context) -> Context:
    """The same calculus, with the batch index shown."""
    if context.batch is None:
        assert context.calculus is not None
        context.batch = prepared(context.calculus, context.program, context.options, single=False)
    return context.batch


def with_inputs(context: Context) -> Context:
    """The same network, its real inputs differentiated too: they show what becomes of a first layer."""
    if context.inputs is None:
        assert context.network is not None
        real = [name for name, v in context.network.inputs.items() if not v.integer]
        context.inputs = context_of(context.network, context.options, ("parameters", *real))
        context.inputs.names.tensors.update(context.names.tensors)
    return context.inputs
