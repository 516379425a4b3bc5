"""Recurrent layers: several layers, both directions, initial and final states, sequences of different lengths.

All layers and directions are the equations of one layer, so that the parameters have PyTorch's names: ``weight_ih_l0``,
``weight_hh_l0_reverse``, ... What is multiplied with the input stands in an equation of its own, outside of the recurrence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import sympy

from bpcompile.errors import LanguageError
from bpcompile.language.activations import activate
from bpcompile.language.equation import Equation
from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer, number
from bpcompile.language.symbols import Access, Index
from bpcompile.language.value import Value

__all__ = ["GRU", "LSTM", "Bidirectional", "SimpleRNN"]


@dataclass(frozen=True)
class _Direction:
    """One layer in one direction: what its tensors are called and how it steps."""

    suffix: str
    level: int
    step: int
    steps: int
    before: str
    masked: bool
    truncate: int | None

    def name(self, tensor: str) -> str:
        """The tensor's name in this layer and direction."""
        return f"{tensor}{self.suffix}"

    def at(self, tensor: str, index: str) -> str:
        """An element at the step itself."""
        return f"{self.name(tensor)}[n,t,{index}]"

    def past(self, tensor: str, index: str) -> str:
        """An element one step before, in this direction."""
        return f"{self.name(tensor)}[n,t {self.before},{index}]"

    def carried(self, tensor: str, index: str) -> str:
        """An element one step before, through which a gradient may be cut."""
        return self.at(f"{tensor}_before", index) if self.truncate else self.past(tensor, index)

    def cut(self, tensor: str) -> list[str]:
        """Backpropagation stops after `truncate` steps (Williams and Peng 1990)."""
        if not self.truncate:
            return []
        past = self.past(tensor, "k")
        count = "t" if self.step > 0 else f"({self.steps - 1} - t)"
        left = self.at(f"{tensor}_before", "k")
        return [f"{left} = where({count}%{self.truncate} == 0, stop_gradient({past}), {past})"]

    def stepped(self, tensor: str, value: str) -> str:
        """The equation of a state; beyond an example's length it stays as it is."""
        if self.masked:
            value = f"where(t < length[n], {value}, {self.past(tensor, 'k')})"
        return f"{self.at(tensor, 'k')} = {value}"

    @property
    def first(self) -> int:
        """The place of the initial state."""
        return -1 if self.step > 0 else self.steps

    @property
    def last(self) -> int:
        """The place of the final state."""
        return self.steps - 1 if self.step > 0 else 0

    def gate(self, name: str, activation: object, source: str, offset: int) -> Equation:
        """``name[n,t,k] = activation(source[n,t,k + offset])``."""
        n, t, k = Index("n"), Index("t"), Index("k")
        place = sympy.Add(k, sympy.Integer(offset), evaluate=False)
        value = activate(activation, Access(self.name(source), n, t, place), ("n", "t", "k"))
        return Equation(Access(self.name(name), n, t, k), value)

    def apply(self, name: str, activation: object, source: str) -> Equation:
        """``name[n,t,k] = activation(source[n,t,k])``."""
        n, t, k = Index("n"), Index("t"), Index("k")
        value = activate(activation, Access(self.name(source), n, t, k), ("n", "t", "k"))
        return Equation(Access(self.name(name), n, t, k), value)


MOST_LAYERS = 256
"""The most layers that one stack of recurrent layers has."""
MOST_UNITS = 2**17
"""The most units of a recurrent layer."""


@dataclass(eq=False)
class _Recurrent(LibraryLayer):
    """What the recurrent layers share; see `LSTM`."""

    units: int
    activation: object = "tanh"
    use_bias: bool = True
    return_sequences: bool = False
    return_state: bool = False
    num_layers: int = 1
    bidirectional: bool = False
    merge_mode: str = "concat"
    go_backwards: bool = False
    dropout: float = 0.0
    truncate: int | None = None
    kernel_initializer: object = "glorot_uniform"
    recurrent_initializer: object = "orthogonal"
    bias_initializer: object = "zeros"

    GATES: ClassVar[int] = 1
    #: The tensors that are carried from step to step; the first is the output.
    STATES: ClassVar[tuple[str, ...]] = ("hidden",)

    def check(self) -> None:
        """Positive numbers and known activations."""
        self.positive(units=self.units, num_layers=self.num_layers)
        if self.num_layers > MOST_LAYERS:
            self.refuse(f"'num_layers' is {self.num_layers}; each has equations of its own, at most {MOST_LAYERS}.")
        if self.units > MOST_UNITS:
            self.refuse(f"'units' is {self.units}; there are units**2 recurrent weights for each gate: at most {MOST_UNITS}.")
        if self.truncate is not None:
            self.positive(truncate=self.truncate)
        self.probability(dropout=self.dropout)
        self.known_activation(activation=self.activation)
        self.one_of(("concat", "sum", "mul", "ave"), merge_mode=self.merge_mode)
        if self.go_backwards and (self.bidirectional or self.num_layers > 1):
            self.refuse("'go_backwards' goes with one layer in one direction.")

    def equations(self, d: _Direction) -> list[str | Equation]:
        """The equations of one layer in one direction; ``input`` is what it gets from below."""
        raise NotImplementedError

    def bias_start(self) -> object:
        """How ``bias_ih`` starts."""
        return self.bias_initializer

    def build(self, *inputs: Value) -> Layer:
        """Return the equations of all layers and directions."""
        steps, features = self.shaped(inputs[0], "n, t, feature")
        starts, lengths = self._given(inputs[1:])
        equations: list[str | Equation] = []
        parameters: dict[str, tuple[int, ...]] = {}
        initializers: dict[str, object] = {}
        below = [("x", features)]
        ends: list[_Direction] = []
        directions = (1, -1) if self.bidirectional else (-1,) if self.go_backwards else (1,)
        for level in range(self.num_layers):
            layer = [self._direction(level, step, steps, bool(lengths)) for step in directions]
            for d in layer:
                equations += [self._projection(d, below), *self._starts(d, starts, len(ends)), *self.equations(d)]
                parameters.update(self._shapes(d, sum(extent for _, extent in below)))
                initializers.update(self._initializers(d))
                ends.append(d)
            below = [(d.name("hidden"), self.units) for d in layer]
            if self.dropout and level < self.num_layers - 1:
                equations += [self._dropped(name) for name, _ in below]
                below = [(f"dropped_{name}", extent) for name, extent in below]
        output, last = self._output([name for name, _ in below], ends[-len(directions) :], bool(lengths))
        states = [self._final(state, ends) for state in self.STATES] if self.return_state else []
        names = [f"final_{state}" for state in self.STATES] if self.return_state else []
        many = {"s": len(ends)} if states and len(ends) > 1 else {}
        wide = {"j": 2 * self.units} if self.bidirectional and self.merge_mode == "concat" else {}
        return self.layer(
            [*equations, *last, *states],
            inputs=("x", *starts, *lengths),
            output=(output, *names),
            parameters=parameters,
            sizes={"k": self.units, "g": self.GATES * self.units, **wide, **many},
            initializers=initializers,
        )

    def _direction(self, level: int, step: int, steps: int, masked: bool) -> _Direction:
        suffix = "_reverse" if step < 0 and self.bidirectional else ""
        return _Direction(f"_l{level}{suffix}", level, step, steps, "- 1" if step > 0 else "+ 1", masked, self.truncate)

    def _given(self, inputs: Sequence[Value]) -> tuple[list[str], list[str]]:
        """The names of the initial states and of the lengths."""
        lengths = ["length"] if inputs and inputs[-1].integer else []
        if lengths and len(inputs[-1].shape) != 1:
            self.refuse(f"The lengths are {inputs[-1]!r}; one integer for each example was expected: [n].")
        count = len(inputs) - len(lengths)
        if count not in (0, len(self.STATES)):
            self.refuse(f"{count} initial states came, and the layer has {len(self.STATES)}: {', '.join(self.STATES)}.")
        levels = self.num_layers * (1 + self.bidirectional)
        shape = (self.units,) if levels == 1 else (levels, self.units)
        for value in inputs[:count]:
            if value.shape[1:] != shape:
                self.refuse(f"The initial state is {value!r}, and the layer's is [n, {', '.join(map(str, shape))}].")
        return [f"first_{state}" for state in self.STATES] if count else [], lengths

    def _projection(self, d: _Direction, below: Sequence[tuple[str, int]]) -> str:
        terms, start = [], 0
        for k, (name, extent) in enumerate(below):
            i = f"{'ij'[k]}{d.level}" if self.num_layers > 1 else "ij"[k]
            column = f"{i} + {start}" if len(below) > 1 else i
            terms.append(f"sum({d.name('weight_ih')}[g,{column}]*{name}[n,t,{i}], {i})")
            start += extent
        bias = [f"{d.name('bias_ih')}[g]"] if self.use_bias else []
        return f"{d.at('input', 'g')} = {' + '.join([*terms, *bias])}"

    def _shapes(self, d: _Direction, features: int) -> dict[str, tuple[int, ...]]:
        rows = self.GATES * self.units
        shapes: dict[str, tuple[int, ...]] = {
            d.name("weight_ih"): (rows, features),
            d.name("weight_hh"): (rows, self.units),
        }
        if self.use_bias:
            shapes.update({d.name("bias_ih"): (rows,), d.name("bias_hh"): (rows,)})
        return shapes

    def _initializers(self, d: _Direction) -> dict[str, object]:
        starts = {d.name("weight_ih"): self.kernel_initializer, d.name("weight_hh"): self.recurrent_initializer}
        if self.use_bias:
            starts.update({d.name("bias_ih"): self.bias_start(), d.name("bias_hh"): "zeros"})
        return starts

    def recurrent(self, d: _Direction) -> str:
        """What is multiplied with the state before."""
        bias = f" + {d.name('bias_hh')}[g]" if self.use_bias else ""
        return f"sum({d.name('weight_hh')}[g,m]*{d.carried('hidden', 'm')}, m){bias}"

    def _starts(self, d: _Direction, starts: Sequence[str], level: int) -> list[str]:
        many = self.num_layers * (1 + self.bidirectional) > 1
        return [
            f"{d.name(state)}[n,{d.first},k] = {start}[n,{f'{level},' if many else ''}k]"
            for state, start in zip(self.STATES, starts, strict=False)
        ]

    def _dropped(self, name: str) -> str:
        keep = number(1 - self.dropout)
        element = f"{name}[n,t,k]"
        return f"dropped_{element} = where(training, {element}*bernoulli({keep})/{keep}, {element})"

    def _output(self, names: Sequence[str], ends: Sequence[_Direction], masked: bool) -> tuple[str, list[str]]:
        """The name of the output and the equations that it needs."""
        place = f"{ends[0].steps - 1} - t" if self.go_backwards else "t"
        if not self.return_sequences:
            values, left = [f"{name}[n,{d.last},k]" for name, d in zip(names, ends, strict=True)], "y[n,k]"
        elif len(names) == 1 and not masked and not self.go_backwards:
            return names[0], []
        else:
            values, left = [f"{name}[n,{place},k]" for name in names], "y[n,t,k]"
        value = values[0]
        if len(values) == 2 and self.merge_mode == "concat":
            left, first = left.replace("k]", "j]"), values[0].replace("k]", "j]")
            value = f"where(j < {self.units}, {first}, {values[1].replace('k]', f'j - {self.units}]')})"
        elif len(values) == 2:
            value = {"sum": "{} + {}", "mul": "{}*{}", "ave": "({} + {})/2"}[self.merge_mode].format(*values)
        guarded = masked and self.return_sequences
        return "y", [f"{left} = " + (f"where({place} < length[n], {value}, 0)" if guarded else value)]

    def _final(self, state: str, ends: Sequence[_Direction]) -> str:
        values = [f"{d.name(state)}[n,{d.last},k]" for d in ends]
        if len(values) == 1:
            return f"final_{state}[n,k] = {values[0]}"
        text = values[-1]
        for level in range(len(values) - 2, -1, -1):
            text = f"where(s == {level}, {values[level]}, {text})"
        return f"final_{state}[n,s,k] = {text}"


@dataclass(eq=False)
class SimpleRNN(_Recurrent):
    """``h[t] = activation(weight_ih x[t] + bias_ih + weight_hh h[t-1] + bias_hh)`` (Elman 1990).

    Parameters, inputs and outputs are those of `LSTM`, with one state and one gate.
    """

    KIND: ClassVar[str] = "simple_rnn"

    def equations(self, d: _Direction) -> list[str | Equation]:
        """The recurrence."""
        pre = f"{d.at('z', 'g')} = {d.at('input', 'g')} + {self.recurrent(d)}"
        if d.masked:
            new = d.apply("new", self.activation, "z")
            return [*d.cut("hidden"), pre, new, d.stepped("hidden", d.at("new", "k"))]
        return [*d.cut("hidden"), pre, d.apply("hidden", self.activation, "z")]


@dataclass(eq=False)
class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; with forget gates, Gers et al. 2000).

    Parameters
    ----------
    units : int
        The extent of the state.
    activation : optional
        Of the candidate and the cell.
    recurrent_activation : optional
        Of the gates.
    unit_forget_bias : bool
        Whether the forget gates' bias starts at one.
    use_bias : bool
        Whether there are biases ``bias_ih`` and ``bias_hh``.
    return_sequences : bool
        Whether the output is the state at every step ``[n, t, units]``, or the last one ``[n, units]``.
    return_state : bool
        Whether the call also returns the final states: ``[n, units]``, or ``[n, layers*directions, units]``.
    num_layers : int
        How many layers stand on each other.
    bidirectional : bool
        Whether there is a second set of layers that reads the sequence backwards.
    merge_mode : str
        What becomes of the outputs of both directions: ``"concat"``, ``"sum"``, ``"mul"`` or ``"ave"``.
    go_backwards : bool
        Whether one layer reads the sequence backwards; its outputs come in the order in which it makes them.
    dropout : float
        What of the output of each layer but the last is dropped while training.
    truncate : int, optional
        After how many steps backpropagation through time stops.
    kernel_initializer, recurrent_initializer, bias_initializer : optional
        How the parameters start.

    Notes
    -----
    Parameters, as PyTorch's: ``weight_ih_l0[4*units, features]``, ``weight_hh_l0[4*units, units]``, ``bias_ih_l0``,
    ``bias_hh_l0``, gates in the order input, forget, candidate, output; then ``_l1``, ...; backwards ``_l0_reverse``.

    The layer is called on a sequence ``[n, t, feature]``, then (if given) the initial states, of the shape of the final ones,
    then (if given) the lengths ``[n]``, integers.
    """

    recurrent_activation: object = "sigmoid"
    unit_forget_bias: bool = True

    KIND: ClassVar[str] = "lstm"
    GATES: ClassVar[int] = 4
    STATES: ClassVar[tuple[str, ...]] = ("hidden", "cell")

    def check(self) -> None:
        """Known activations too."""
        super().check()
        self.known_activation(activation=self.recurrent_activation)

    def bias_start(self) -> object:
        """Ones for the forget gates."""
        if not self.unit_forget_bias or self.bias_initializer != "zeros":
            return self.bias_initializer
        return [0.0] * self.units + [1.0] * self.units + [0.0] * (2 * self.units)

    def equations(self, d: _Direction) -> list[str | Equation]:
        """Gates in the order input, forget, cell, output."""
        u, gates = self.units, self.recurrent_activation
        i, f, g, o = (d.at(name, "k") for name in ("input_gate", "forget_gate", "candidate", "output_gate"))
        return [
            *d.cut("hidden"),
            *d.cut("cell"),
            f"{d.at('gates', 'g')} = {d.at('input', 'g')} + {self.recurrent(d)}",
            d.gate("input_gate", gates, "gates", 0),
            d.gate("forget_gate", gates, "gates", u),
            d.gate("candidate", self.activation, "gates", 2 * u),
            d.gate("output_gate", gates, "gates", 3 * u),
            d.stepped("cell", f"{f}*{d.carried('cell', 'k')} + {i}*{g}"),
            d.apply("squashed", self.activation, "cell"),
            d.stepped("hidden", f"{o}*{d.at('squashed', 'k')}"),
        ]


@dataclass(eq=False)
class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al. 2014), its reset gate behind the recurrent product as in PyTorch and Keras.

    Parameters, inputs and outputs are those of `LSTM`, with one state and the gates reset, update, new.
    """

    recurrent_activation: object = "sigmoid"

    KIND: ClassVar[str] = "gru"
    GATES: ClassVar[int] = 3

    def check(self) -> None:
        """Known activations too."""
        super().check()
        self.known_activation(activation=self.recurrent_activation)

    def equations(self, d: _Direction) -> list[str | Equation]:
        """Gates in the order reset, update, new."""
        u, name = self.units, d.name
        r, z, new = (d.at(gate, "k") for gate in ("reset", "update", "new"))
        element = "{}[n,t,k + {}]".format
        reset, update = (
            f"{d.at(f'{gate}_input', 'k')} = {element(name('input'), offset)} + {element(name('recurrent'), offset)}"
            for gate, offset in (("reset", 0), ("update", u))
        )
        candidate = f"{d.at('new_input', 'k')} = {element(name('input'), 2 * u)} + {r}*{element(name('recurrent'), 2 * u)}"
        return [
            *d.cut("hidden"),
            f"{d.at('recurrent', 'g')} = {self.recurrent(d)}",
            reset,
            update,
            d.apply("reset", self.recurrent_activation, "reset_input"),
            d.apply("update", self.recurrent_activation, "update_input"),
            candidate,
            d.apply("new", self.activation, "new_input"),
            d.stepped("hidden", f"(1 - {z})*{new} + {z}*{d.carried('hidden', 'k')}"),
        ]


def Bidirectional(layer: _Recurrent, merge_mode: str = "concat") -> _Recurrent:
    """Return a recurrent layer that also reads the sequence backwards.

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
        The layer; both directions have parameters of their own.
    merge_mode : str
        What becomes of both outputs: ``"concat"``, ``"sum"``, ``"mul"`` or ``"ave"``.
    """
    if not isinstance(layer, _Recurrent):
        raise LanguageError(f"{layer!r} is no recurrent layer.", hint="Write bp.Bidirectional(bp.LSTM(32)).")
    return replace(layer, bidirectional=True, merge_mode=merge_mode)
