"""How tensors and indices are called in print: the user's names, with the layer as a superscript."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bpcompile.derivation.notation import (
    Fraction,
    Group,
    Notation,
    Number,
    Operator,
    Row,
    Script,
    Style,
    Symbol,
    row,
    separated,
)
from bpcompile.language.equation import accesses

if TYPE_CHECKING:
    from bpcompile.language.network import Network

GREEK: Final[dict[str, str]] = dict(zip(
    ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
     "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"),
    "αβγδεζηθικλμνξπρστφχψω", strict=True))  # fmt: skip
"""Words that are printed as Greek letters."""

COST: Final = "C"
LOSS: Final = "loss"
_TEMPORARY: Final[dict[str, str]] = {
    "softmax": "p", "max": "m", "min": "m", "sum": "s", "shifted": "s", "shift": "m", "argmax": "κ", "argmin": "κ",
    "mean": "m", "arg": "κ", "next": "next", "start": "start", "draw": "ξ",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Printed:
    """The name of a tensor in print: a letter and perhaps the layer."""

    base: str
    layer: str = ""


@dataclass
class Names:
    """The symbol table of one derivation.

    Attributes
    ----------
    tensors : dict of str to Printed
        By global name.
    errors : dict of str to str
        Tensors whose adjoint is called delta, with their layer.
    brackets : str
        What encloses a layer in a superscript: ``"()"`` or ``"[]"``.
    cost : str
        The letter of what is differentiated.
    superscripted : mapping of str to int
        Tensors whose first so many subscripts stand as superscripts: the layer number of the abstract network.
    """

    tensors: dict[str, Printed] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    brackets: str = "()"
    cost: str = COST
    superscripted: Mapping[str, int] = field(default_factory=dict)

    def of(self, tensor: str) -> Printed:
        """The printed name of a tensor, made up for those that the compiler introduced."""
        found = self.tensors.get(tensor)
        if found is None:
            found = self.tensors[tensor] = self._made_up(tensor)
        return found

    def symbol(self, tensor: str, subscripts: tuple[Notation, ...] = (), style: Style = "italic") -> Notation:
        """The tensor, or one of its elements."""
        if tensor.endswith(".bar"):
            return self.adjoint(tensor.removesuffix(".bar"), subscripts, style)
        known = self.of(tensor)
        return self._decorated(known.base, known.layer, subscripts, style, self.superscripted.get(tensor, 0))

    def adjoint(self, tensor: str, subscripts: tuple[Notation, ...] = (), style: Style = "italic") -> Notation:
        """The derivative of the cost by a tensor or one of its elements."""
        if tensor in self.errors:
            count = self.superscripted.get(tensor, 0)
            return self._decorated("δ", self.errors[tensor], subscripts, style, count)
        below = self.symbol(tensor, subscripts, style)
        return Fraction(row(Operator("∂", "plain"), Symbol(self.cost)), row(Operator("∂", "plain"), below))

    def derivative(self, above: Notation, below: Notation) -> Notation:
        """A partial derivative."""
        return Fraction(row(Operator("∂", "plain"), above), row(Operator("∂", "plain"), below))

    def _decorated(
        self, base: str, layer: str, subscripts: tuple[Notation, ...], style: Style, raised: int
    ) -> Notation:
        sup: Notation | None = self.layer(layer) if layer else None
        if raised:
            sup, subscripts = Group(separated(subscripts[:raised]), *self.brackets), subscripts[raised:]
        sub = subscript(subscripts) if subscripts else None
        letter = letters(base, style)
        return letter if sub is None and sup is None else Script(letter, sub, sup)

    def layer(self, name: str) -> Notation:
        """The superscript that stands for a layer."""
        body: Notation = Number(name) if name.isdigit() else Symbol(name, "upright")
        return Group(body, self.brackets[0], self.brackets[1])

    def _made_up(self, tensor: str) -> Printed:
        stem, _, last = tensor.rpartition(".")
        kind = re.sub(r"[\d_]+$", "", last)
        base = _TEMPORARY.get(kind, last)
        if base in ("next", "start"):
            owner = self.of(stem)
            return Printed(f"{owner.base}{'⁺' if base == 'next' else '⁰'}", owner.layer)
        owner = self.of(stem) if stem in self.tensors else Printed("", stem.partition(".")[0] if stem else "")
        taken = set(self.tensors.values())
        layer = owner.layer if any(p.base == base for p in taken) else ""
        k, name = 1, base
        while Printed(name, layer) in taken:
            k += 1
            name = f"{base}{k}"
        return Printed(name, layer)


def letters(name: str, style: Style = "italic") -> Notation:
    """A name as a symbol: Greek words as letters, a number at the end of a letter as it is."""
    if name in GREEK:
        return Symbol(GREEK[name], style)
    if name == "l":
        return Symbol("ℓ", style)
    stem = name.rstrip("0123456789")
    if stem != name and (len(stem) == 1 or stem in GREEK):
        return Script(Symbol(GREEK.get(stem, stem), style), Number(name[len(stem) :]))
    return Symbol(name, style if len(name.rstrip("⁺⁰")) == 1 or style == "bold" else "upright")


def subscript(subscripts: tuple[Notation, ...]) -> Notation:
    """Subscripts side by side; with commas where one of them is more than a letter."""
    simple = all(isinstance(s, Symbol) and len(s.text) == 1 for s in subscripts)
    return Row(subscripts) if simple and len(subscripts) > 1 else separated(subscripts)


LONGEST_NAME: Final = 14
"""How many letters the name of a layer may have to stand in a superscript, unless names are asked for."""


def network_names(network: Network, brackets: str = "()", layers: str = "auto") -> Names:
    """The symbol table of a network.

    Parameters
    ----------
    network : Network
        Any network.
    brackets : str
        What encloses a layer in a superscript.
    layers : {"auto", "names", "numbers"}
        What stands for a layer: its name or its number; by default a number where the name is long.
    """
    labels: Counter[str] = Counter()
    owned: dict[str, tuple[str, str]] = {}
    for call in network.calls:
        for local, info in call.tensors.items():
            if info.role in ("input", "target") or not info.call:
                continue
            owner = call.owner if info.role in ("parameter", "state") else call.name
            if info.name not in owned and info.name == f"{owner}.{local}":
                owned[info.name] = (local, owner)
                labels[local] += 1
    numbers = {
        c.name: str(k)
        for k, c in enumerate(network.calls, 1)
        if layers == "numbers" or (layers == "auto" and len(c.name) > LONGEST_NAME)
    }
    leaves = {*network.inputs, *network.targets}
    names = Names(brackets=brackets)
    names.tensors.update({leaf: Printed(leaf) for leaf in leaves})
    for tensor, (local, owner) in owned.items():
        alone = labels[local] == 1 and local not in leaves and local != COST
        names.tensors[tensor] = Printed(local, "" if alone else numbers.get(owner, owner))
    names.tensors[LOSS] = Printed(names.cost)
    for call in network.calls:
        found = _reading_parameters(call.name, network)
        if len(found) == 1:
            names.errors[found[0]] = numbers.get(call.name, call.name)
    return names


def _reading_parameters(call_name: str, network: Network) -> list[str]:
    """The tensors of a call whose equations read a parameter."""
    call = next(c for c in network.calls if c.name == call_name)
    parameters = {local for local, info in call.tensors.items() if info.role == "parameter"}
    found: dict[str, None] = {}
    for equation in call.equations:
        if any(a.tensor in parameters for a in accesses(equation.rhs)):
            found.setdefault(call.resolve[equation.lhs.tensor])
    return list(found)
