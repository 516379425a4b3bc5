"""A network: layer calls in order, with every name, shape and parameter resolved, and a loss."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bpcompile.errors import BPCompileWarning, NetworkError, ShapeError, nearest
from bpcompile.language.initializers import Constant, VarianceScaling
from bpcompile.language.penalties import Penalty, penalty
from bpcompile.language.reach import reached_tensors, uses_as_subscript
from bpcompile.language.records import Call, ParameterInfo, StateInfo, TensorInfo
from bpcompile.language.value import Application, LayerBase, Value, WeightedLoss, check_name

__all__ = ["Network"]

Losses = tuple[tuple[float, Value], ...]


class Network:
    """A directed graph of layer calls with a loss.

    Parameters
    ----------
    outputs : Value or sequence of Value
        What `predict` returns.
    loss : Value, weighted sum or sequence of Value, optional
        What is minimized: tensors with the batch index alone (averaged over the batch) or with none. Several add up.
    name : str
        The network's name.
    loss_weights : sequence of float, optional
        The weights of several losses; by default 1.
    penalties : mapping of str to Penalty, optional
        Penalties by full parameter name, such as ``{"hidden.W": bp.L2(1e-4)}``, on top of the layers' own.

    Attributes
    ----------
    calls : tuple of Call
        In an order in which they can be computed.
    inputs, targets : dict of str to Value
    outputs : tuple of Value
    losses : tuple of (float, Value)
    tensors : dict of str to TensorInfo
        Every tensor by its global name.
    parameters : dict of str to ParameterInfo
        By full name, ``<layer>.<parameter>``.
    states : dict of str to StateInfo

    Raises
    ------
    NetworkError
        If the calls do not make a network.
    """

    def __init__(
        self,
        outputs: Value | Sequence[Value] | None = None,
        loss: Value | WeightedLoss | Sequence[Value | WeightedLoss] | None = None,
        name: str = "network",
        loss_weights: Sequence[float] | None = None,
        penalties: Mapping[str, object] | None = None,
    ) -> None:
        self.name = check_name(name, "The network")
        given = _values(outputs)
        losses = _losses(loss, loss_weights)
        if not given and not losses:
            raise NetworkError("The network has neither an output nor a loss.", hint="Write bp.Network(z, loss=...).")
        for value in given:
            if value.call is None:
                raise NetworkError(f"The output '{value.name}' is an {value.role}; no layer computes it.")
        for _, value in losses:
            _check_loss(value)
        applications = _in_order([*given, *(value for _, value in losses)])
        leaves = _leaves(applications)
        owners = _owner_names(applications, leaves)
        self.calls = _calls(applications, owners)
        names = dict(zip((id(a) for a in applications), self.calls, strict=True))
        self.outputs = tuple(_resolved(value, names) for value in given)
        self.losses: Losses = tuple((weight, _resolved(value, names)) for weight, value in losses)
        self.inputs = {k: v for k, v in leaves.items() if v.role == "input"}
        self.targets = {k: v for k, v in leaves.items() if v.role == "target"}
        self.tensors = _tensors(self.calls, leaves)
        self.parameters = _parameters(self.calls, dict(penalties or {}))
        self.states = _states(self.calls)
        _warn_unreached(self)

    def __repr__(self) -> str:
        return f"<Network '{self.name}': {len(self.calls)} calls, {self.parameter_count} parameters>"

    @property
    def parameter_count(self) -> int:
        """The number of scalar parameters."""
        return sum(info.size for info in self.parameters.values())


def _values(outputs: Value | Sequence[Value] | None) -> tuple[Value, ...]:
    several = isinstance(outputs, (list, tuple))
    listed = () if outputs is None else tuple(outputs) if several else (outputs,)  # type: ignore[arg-type]
    for value in listed:
        if not isinstance(value, Value):
            raise NetworkError(f"{value!r} is no output.", hint="Outputs are what layers return.")
    return listed  # type: ignore[return-value]


def _losses(
    loss: Value | WeightedLoss | Sequence[Value | WeightedLoss] | None, weights: Sequence[float] | None
) -> Losses:
    listed = [] if loss is None else list(loss) if isinstance(loss, (list, tuple)) else [loss]
    factors = [1.0] * len(listed) if weights is None else [float(w) for w in weights]
    if len(factors) != len(listed):
        raise NetworkError(f"There are {len(factors)} loss weights for {len(listed)} losses.")
    terms: list[tuple[float, Value]] = []
    for factor, entry in zip(factors, listed, strict=True):
        if not isinstance(entry, (Value, WeightedLoss)):
            raise NetworkError(
                f"{entry!r} is no loss.", hint="A loss is a value: bp.SoftmaxCrossEntropy(z, y), or a layer's output."
            )
        parts = entry.terms if isinstance(entry, WeightedLoss) else ((1.0, entry),)
        terms += [(factor * weight, value) for weight, value in parts]
    return tuple(terms)


def _check_loss(value: Value) -> None:
    if value.call is None:
        raise NetworkError(f"The loss '{value.name}' is an {value.role}; no layer computes it.")
    if value.shape not in ((), (None,)):
        shape = ", ".join("n" if extent is None else str(extent) for extent in value.shape)
        raise NetworkError(
            f"The loss '{value.name}' has the shape [{shape}].",
            hint="A loss has the batch index alone, as in l[n] = ..., or none; reduce over the other indices.",
        )


def _in_order(values: Sequence[Value]) -> list[Application]:
    """The calls behind `values`, each after those that it reads."""
    order: list[Application] = []
    done: set[int] = set()
    for value in values:
        work = [] if value.call is None else [(value.call, False)]
        while work:
            call, ready = work.pop()
            if id(call) in done:
                continue
            if ready:
                done.add(id(call))
                order.append(call)
                continue
            work.append((call, True))
            work += [(v.call, False) for v in reversed(call.inputs) if v.call is not None and id(v.call) not in done]
    return order


def _leaves(applications: Sequence[Application]) -> dict[str, Value]:
    leaves: dict[str, Value] = {}
    for application in applications:
        for value in application.inputs:
            if value.call is None and leaves.setdefault(value.name, value) is not value:
                raise NetworkError(
                    f"The name '{value.name}' is used twice: for two inputs or targets.", hint="Give each its own name."
                )
    return leaves


def _owner_names(applications: Sequence[Application], leaves: Iterable[str]) -> dict[int, str]:
    """The name of every layer; unnamed ones are numbered per kind, in the order of the calls."""
    owners: dict[int, LayerBase] = {id(a.owner): a.owner for a in applications}
    taken = dict.fromkeys(leaves, "an input or target")
    for owner in owners.values():
        if owner.name is None:
            continue
        if owner.name in taken:
            raise NetworkError(
                f"The name '{owner.name}' is used twice: for {taken[owner.name]} and for a layer.",
                hint="Give each layer its own name; calling one layer object twice shares its parameters.",
            )
        taken[owner.name] = "a layer"
    names: dict[int, str] = {}
    counts: dict[str, int] = {}
    for key, owner in owners.items():
        if owner.name is not None:
            names[key] = owner.name
            continue
        while True:
            counts[owner.kind] = counts.get(owner.kind, 0) + 1
            name = f"{owner.kind}_{counts[owner.kind]}"
            if name not in taken:
                break
        names[key] = taken[name] = name
    return names


def _calls(applications: Sequence[Application], owners: Mapping[int, str]) -> tuple[Call, ...]:
    taken = set(owners.values()) | {v.name for a in applications for v in a.inputs if v.call is None}
    used: dict[str, int] = {}
    calls: dict[int, Call] = {}
    for application in applications:
        owner = owners[id(application.owner)]
        used[owner] = used.get(owner, 0) + 1
        name = owner
        while used[owner] > 1 and name in taken:
            name = f"{owner}_{used[owner]}"
            used[owner] += name in taken
        taken.add(name)
        calls[id(application)] = _call(application, name, owner, calls)
    return tuple(calls.values())


def _call(application: Application, name: str, owner: str, calls: Mapping[int, Call]) -> Call:
    layer = application.layer
    resolve: dict[str, str] = {}
    for local, value in zip(layer.inputs, application.inputs, strict=True):
        resolve[local] = value.name if value.call is None else calls[id(value.call)].resolve[value.label]
    for local in layer.parameters:
        resolve[local] = layer.shared.get(local, f"{owner}.{local}")
    for local in layer.state:
        resolve[local] = f"{owner}.{local}"
    for local in layer.defined:
        resolve[local] = f"{name}.{local}"
    tensors = {
        local: replace(info, name=resolve[local], call="" if info.role == "input" else name)
        for local, info in application.tensors.items()
    }
    return Call(name, owner, layer, dict(application.extents), resolve, tensors, layer.equations)


def _resolved(value: Value, calls: Mapping[int, Call]) -> Value:
    name = value.name if value.call is None else calls[id(value.call)].resolve[value.label]
    return replace(value, name=name)


def _tensors(calls: Sequence[Call], leaves: Mapping[str, Value]) -> dict[str, TensorInfo]:
    exempt: dict[str, tuple[int, ...]] = {}
    for call in calls:
        for local in call.layer.exempt:
            name = call.resolve[local]
            exempt[name] = tuple(sorted({*exempt.get(name, ()), *call.layer.exempt[local]}))
    _check_exempt(calls, exempt)
    tensors = {
        name: TensorInfo(
            name, v.shape, v.role, v.integer, v.classes, label=v.label, exempt=exempt.get(name, ())
        )
        for name, v in leaves.items()
    }  # fmt: skip
    for call in calls:
        for local, info in call.tensors.items():
            if local not in call.layer.inputs:
                tensors.setdefault(info.name, info)
    return tensors


def _check_exempt(calls: Sequence[Call], exempt: Mapping[str, tuple[int, ...]]) -> None:
    """A label that one loss ignores must not reach a subscript of a layer that does not."""
    for call in calls:
        for local in call.layer.inputs:
            name = call.resolve[local]
            loose = [value for value in exempt.get(name, ()) if value not in call.layer.exempt.get(local, ())]
            if loose and uses_as_subscript(call, local):
                raise NetworkError(
                    f"'{name}' may hold {loose[0]}, which another loss ignores, and layer '{call.owner}' uses it as a"
                    " subscript.",
                    hint="Let every loss on these labels ignore the same value.",
                )


def _parameters(calls: Sequence[Call], penalties: dict[str, object]) -> dict[str, ParameterInfo]:
    parameters: dict[str, ParameterInfo] = {}
    for call in calls:
        for local in call.layer.parameters:
            if local not in call.layer.shared:
                _add_parameter(parameters, _parameter(call, local), call)
    for key, value in penalties.items():
        if key not in parameters:
            guess = nearest(key, parameters)
            raise NetworkError(
                f"'penalties' names '{key}', which is no parameter.",
                hint=guess or f"There are {', '.join(parameters) or 'none'}.",
            )
        info = parameters[key]
        total = Penalty(*info.penalty) + penalty(value, f"penalties, '{key}'")
        parameters[key] = replace(info, penalty=(total.l1, total.l2))
    for call in calls:
        for local, name in call.layer.shared.items():
            _check_shared(call, local, name, parameters)
    return parameters


def _add_parameter(parameters: dict[str, ParameterInfo], info: ParameterInfo, call: Call) -> None:
    known = parameters.setdefault(info.name, info)
    if known.shape != info.shape:
        raise ShapeError(
            f"Parameter '{info.name}' has the shape {known.shape} in one call and {info.shape} in another.",
            where=f"Layer '{call.owner}'",
            hint="A layer that is called twice shares its parameters, so its inputs need the same shapes.",
        )


def _parameter(call: Call, local: str) -> ParameterInfo:
    layer, info = call.layer, call.tensors[local]
    shape = tuple(extent or 0 for extent in info.shape)
    default = VarianceScaling(1.0, "fan_avg", "uniform") if len(shape) > 1 else Constant(0.0)
    penal = layer.penalties.get(local, Penalty())
    return ParameterInfo(
        name=info.name,
        shape=shape,
        initializer=layer.initializers.get(local, default),
        trainable=local not in layer.frozen,
        penalty=(penal.l1, penal.l2),
        indices=tuple(str(d) for d in layer.parameters[local]),
    )


def _check_shared(call: Call, local: str, name: str, parameters: Mapping[str, ParameterInfo]) -> None:
    if name not in parameters:
        guess = nearest(name, parameters)
        raise NetworkError(
            f"Layer '{call.owner}' shares '{local}' with '{name}', which is no parameter of the network.",
            hint=guess or f"There are {', '.join(parameters) or 'none'}.",
        )
    if parameters[name].shape != call.tensors[local].shape:
        raise ShapeError(
            f"Layer '{call.owner}' shares '{local}' of shape {call.tensors[local].shape} with '{name}' of shape"
            f" {parameters[name].shape}."
        )


def _states(calls: Sequence[Call]) -> dict[str, StateInfo]:
    states: dict[str, StateInfo] = {}
    for call in calls:
        for local, dims in call.layer.state.items():
            info = call.tensors[local]
            start = call.layer.initializers.get(local, Constant(0.0))
            shape = tuple(extent or 0 for extent in info.shape)
            state = StateInfo(info.name, shape, start, tuple(str(d) for d in dims))
            if states.setdefault(info.name, state).shape != shape:
                raise ShapeError(f"State '{info.name}' has two shapes: {states[info.name].shape} and {shape}.")
    return states


def _warn_unreached(network: Network) -> None:
    if not network.losses:
        return
    reached = reached_tensors(network.calls, [value.name for _, value in network.losses])
    for name, info in network.parameters.items():
        if info.trainable and name not in reached and info.penalty == (0.0, 0.0):
            warnings.warn(
                f"The loss does not depend on parameter '{name}': its gradient is zero, and it will not be trained.",
                BPCompileWarning,
                stacklevel=3,
            )
