"""The part of a spec file that describes the network: inputs, targets, layers, losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bpcompile.errors import BPCompileError, nearest
from bpcompile.language.kinds import KINDS, options_of, takes_any
from bpcompile.language.layer import Layer
from bpcompile.language.losses import LOSSES
from bpcompile.language.network import Network
from bpcompile.language.spec_lines import Place, Source
from bpcompile.language.value import Input, LayerBase, Target, Value, WeightedLoss

__all__ = ["read_network"]


def read_network(tables: Mapping[str, Any], source: Source) -> Network:
    """Build the network that the tables of a spec file describe.

    Raises
    ------
    SpecError
        If they describe none.
    """
    header = source.table(tables.get("network", {}), "network")
    source.check_keys(header, ("name", "loss", "output", "outputs"), "network")
    reader = _Reader(tables, source)
    reader.read_leaves("inputs", Input)
    reader.read_leaves("targets", Target)
    if not reader.values:
        source.fail(("inputs",), "The network has no inputs.", "Write [inputs] and below it x = [64].")
    reader.read_layers()
    outputs = reader.outputs(header)
    losses = reader.losses(header)
    penalties = source.table(tables.get("penalties", {}), "penalties")
    name = header.get("name", "network")
    return Network(outputs, losses or None, name=name, penalties=_flat(penalties))


def _flat(penalties: Mapping[str, Any]) -> dict[str, Any]:
    """Both ``"hidden.W" = ...`` and TOML's own reading of ``hidden.W = ...``."""
    flat: dict[str, Any] = {}
    for key, value in penalties.items():
        nested = isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values())
        flat.update({f"{key}.{inner}": v for inner, v in value.items()} if nested else {key: value})
    return flat


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _texts(value: Any) -> list[str]:
    """All texts that a value of a spec file holds."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in inner for text in _texts(part)]


class _Reader:
    """The values of the network by name, and the layers, each built when it is first asked for."""

    def __init__(self, tables: Mapping[str, Any], source: Source) -> None:
        self.tables = tables
        self.source = source
        self.values: dict[str, Value] = {}
        self.layers: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.results: dict[str, tuple[Value, ...]] = {}
        self.objects: dict[str, LayerBase] = {}
        self.open: list[str] = []

    # Inputs and targets.

    def read_leaves(self, role: str, make: Callable[..., Value]) -> None:
        for name, entry in self.source.table(self.tables.get(role, {}), role).items():
            table = entry if isinstance(entry, dict) else {"shape": entry}
            self.source.check_keys(table, ("shape", "classes"), role, name)
            if name in self.values:
                self.source.fail((role, name), f"The name '{name}' is used twice.")
            shape = table.get("shape", [])
            try:
                self.values[name] = make(name, tuple(_listed(shape)), table.get("classes"))
            except BPCompileError as error:
                self.source.wrap((role, name), error)

    # Layers.

    def read_layers(self) -> None:
        entries = self.tables.get("layers", [])
        if not isinstance(entries, list) or not entries:
            self.source.fail(("layers",), "The network has no layers.", "Write [[layers]] for each.")
        self.layers = entries
        counts: dict[str, int] = {}
        for position, entry in enumerate(entries):
            if not isinstance(entry, dict):
                self.source.fail(("layers", position), f"A layer is a table, not {entry!r}.", "Write [[layers]] for each.")
            kind = str(entry.get("kind", "layer"))
            counts[kind] = counts.get(kind, 0) + ("name" not in entry)
            name = entry.get("name", f"{kind}_{counts[kind]}")
            if not isinstance(name, str):
                self.source.fail(("layers", position, "name"), f"A name is a text, not {name!r}.")
            if name in self.names or name in self.values:
                self.source.fail(("layers", position, "name"), f"The name '{name}' is used twice.")
            self.names.append(name)
        for name in self.names:
            self.layer(name)

    def layer(self, name: str) -> tuple[Value, ...]:
        """What a layer returns; it is built on the first call, after what it reads."""
        if name in self.results:
            return self.results[name]
        position = self.names.index(name)
        place: Place = ("layers", position)
        if name in self.open:
            path = " <- ".join([*self.open[self.open.index(name) :], name])
            self.source.fail((*place, "from"), f"The network is cyclic: {path}.", "A layer cannot read its own result.")
        self.open.append(name)
        entry = dict(self.layers[position])
        inputs = self.inputs_of(entry.pop("from", None), position)
        entry.pop("name", None)
        built = self.shared_layer(entry, place) if "same_as" in entry else self.new_layer(name, entry, place)
        try:
            result = built(*inputs)
        except BPCompileError as error:
            self.source.wrap(place, error)
        self.open.pop()
        self.objects[name] = built
        self.results[name] = result if isinstance(result, tuple) else (result,)
        return self.results[name]

    def inputs_of(self, names: Any, position: int) -> list[Value]:
        if names is not None:
            return [self.value(name, ("layers", position, "from")) for name in _listed(names)]
        if position > 0:
            return [self.single(self.names[position - 1], ("layers", position))]
        inputs = [v for v in self.values.values() if v.role == "input"]
        if len(inputs) != 1:
            self.source.fail(
                ("layers", 0),
                f"The first layer has {len(inputs)} inputs to choose from.",
                'Say which: from = "x", or from = ["x", "u"].',
            )
        return inputs

    def single(self, name: str, place: Place) -> Value:
        results = self.layer(name)
        if len(results) > 1:
            labels = ", ".join(f"{name}.{v.label}" for v in results)
            self.source.fail(place, f"Layer '{name}' has several outputs.", f"Say which: {labels}.")
        return results[0]

    def value(self, name: Any, place: Place) -> Value:
        """The value of an input, a target, a layer, or one output of a layer (``layer.output``)."""
        if not isinstance(name, str):
            self.source.fail(place, f"A name is a text, not {name!r}.")
        if name in self.values:
            return self.values[name]
        if name in self.names:
            return self.single(name, place)
        owner, dot, label = name.partition(".")
        if dot and owner in self.names:
            for result in self.layer(owner):
                if result.label == label:
                    return result
        known = [*self.values, *self.names]
        guess = nearest(name, known)
        hint = guess or f"There are {', '.join(known)}."
        return self.source.fail(place, f"There is no layer, input or target '{name}'.", hint)

    def shared_layer(self, entry: dict[str, Any], place: Place) -> LayerBase:
        other = entry.pop("same_as")
        self.source.check_keys(entry, (), *place)
        if other not in self.names:
            guess = nearest(str(other), self.names)
            self.source.fail((*place, "same_as"), f"There is no layer '{other}'.", guess)
        self.layer(other)
        return self.objects[other]

    def new_layer(self, name: str, entry: dict[str, Any], place: Place) -> LayerBase:
        kind = entry.pop("kind", None)
        if kind is None and "equations" not in entry:
            self.source.fail(place, "The layer has neither a kind nor equations.", 'Write kind = "dense", for example.')
        if kind is not None and not (isinstance(kind, str) and kind in KINDS):
            guess = nearest(str(kind), KINDS)
            hint = guess or f"There are {', '.join(KINDS)}."
            self.source.fail((*place, "kind"), f"There is no layer kind '{kind}'.", hint)
        constructor = Layer if kind is None else KINDS[kind]
        built = self.construct(constructor, {**entry, "name": name}, place)
        if not isinstance(built, LayerBase):
            self.source.fail(place, f"The kind '{kind}' makes no layer.")
        return built

    def construct(self, constructor: Callable[..., Any], options: dict[str, Any], place: Place) -> Any:
        """Call a constructor with a table's keys, which have to be the names of its arguments."""
        known, needed = options_of(constructor)
        if constructor is Layer:
            known = tuple(key for key in known if key != "kind")
        given = {key: value for key, value in options.items() if key != "name"}
        if not takes_any(constructor):
            self.source.check_keys(given, [key for key in known if key != "name"], *place)
        missing = [key for key in needed if key not in options]
        if missing:
            self.source.fail(place, f"'{missing[0]}' is missing.", f"Write {missing[0]} = ... .")
        try:
            return constructor(**options)
        except BPCompileError as error:
            self.source.wrap(self.finer(place, given, error), error)
        except (TypeError, ValueError) as error:
            self.source.fail(place, f"The options do not fit: {error}.")

    def finer(self, place: Place, options: Mapping[str, Any], error: BPCompileError) -> Place:
        """The key that an error's message speaks of, if one of them is named there."""
        told = str(error)
        named = (key for key in options if f"'{key}'" in told)
        quoted = (key for key, value in options.items() if any(f"'{text}'" in told for text in _texts(value)))
        key = next(named, None) or next(quoted, None)
        return place if key is None else (*place, key)

    # Outputs and losses.

    def outputs(self, header: Mapping[str, Any]) -> list[Value]:
        key = "outputs" if "outputs" in header else "output"
        if key in header:
            if header[key] == []:
                self.source.fail(("network", key), f"'{key}' names no value.", f'Write {key} = "{self.names[-1]}".')
            return [self.value(name, ("network", key)) for name in _listed(header[key])]
        return list(self.layer(self.names[-1]))

    def losses(self, header: Mapping[str, Any]) -> list[WeightedLoss]:
        losses: list[WeightedLoss] = []
        if "loss" in header:
            losses.append(self.loss(header["loss"], ("network", "loss"), self.header_output(header)))
        entries = self.tables.get("losses", [])
        if not isinstance(entries, list):
            self.source.fail(("losses",), "Losses are a list of tables.", "Write [[losses]] for each.")
        for position, entry in enumerate(entries):
            losses.append(self.loss(entry, ("losses", position), self.header_output(header)))
        return losses

    def header_output(self, header: Mapping[str, Any]) -> Value:
        return self.outputs(header)[0]

    def loss(self, entry: Any, place: Place, output: Value) -> WeightedLoss:
        """A loss: its kind, an equation, or a table with either."""
        table = dict(entry) if isinstance(entry, dict) else {}
        if isinstance(entry, str):
            table = {"equations": [entry]} if "=" in entry else {"kind": entry}
        elif not isinstance(entry, dict):
            self.source.fail(place, f"A loss is a name, an equation or a table, not {entry!r}.")
        weight = table.pop("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            self.source.fail((*place, "weight"), f"'weight' is a number, not {weight!r}.")
        names = table.pop("from", None)
        values = None if names is None else [self.value(name, (*place, "from")) for name in _listed(names)]
        value = self.equation_loss(table, place, output, values) if "equations" in table else \
            self.library_loss(table, place, output, values)  # fmt: skip
        return WeightedLoss(((float(weight), value),))

    def library_loss(self, table: dict[str, Any], place: Place, output: Value, values: list[Value] | None) -> Value:
        kind = table.pop("kind", None)
        if not isinstance(kind, str) or kind not in LOSSES:
            guess = nearest(str(kind), LOSSES)
            hint = guess or f"There are {', '.join(LOSSES)}."
            where = (*place, "kind") if place[0] == "losses" else place
            self.source.fail(where, f"There is no loss '{kind}'." if kind else "The loss has no kind.", hint)
        if values is None or len(values) == 1:
            targets = [v for v in self.values.values() if v.role == "target"]
            if len(targets) != 1:
                self.source.fail(
                    place,
                    f"The loss '{kind}' has {len(targets)} targets to choose from.",
                    'Say what it compares: from = ["output", "y"].',
                )
            values = [values[0] if values else output, targets[0]]
        if len(values) != 2:
            self.source.fail((*place, "from"), f"The loss '{kind}' compares two values, not {len(values)}.")
        options = {**table, "prediction": values[0], "target": values[1]}
        self.source.check_keys(table, [o for o in options_of(LOSSES[kind])[0] if o not in ("prediction", "target")], *place)
        try:
            value: Value = LOSSES[kind](**options)
        except BPCompileError as error:
            self.source.wrap(place, error)
        except (TypeError, ValueError) as error:
            self.source.fail(place, f"The options do not fit: {error}.")
        return value

    def equation_loss(self, table: dict[str, Any], place: Place, output: Value, values: list[Value] | None) -> Value:
        layer = self.construct(Layer, table, place)
        if values is None:
            values = self.by_name(layer.inputs, output)
        try:
            result = layer(*values)
        except BPCompileError as error:
            self.source.wrap(place, error)
        if not isinstance(result, Value):
            self.source.fail(place, "A loss has one output.")
        return result

    def by_name(self, names: Sequence[str], output: Value) -> list[Value]:
        """What a loss's equations read: layers, inputs and targets by their names; any other name is the output."""
        return [
            self.values[name] if name in self.values else self.single(name, ()) if name in self.names else output
            for name in names
        ]
