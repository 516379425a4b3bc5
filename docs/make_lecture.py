"""Write docs/lecture.md from docs/lecture.template.md: the words are written by hand, every formula by the compiler.

Run it: python docs/make_lecture.py [target]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

import bpcompile as bp
from bpcompile.derivation.document import Block, Details, Equation, Paragraph
from bpcompile.derivation.notation import Operator, row
from bpcompile.derivation.render_markdown import block_markdown, within

DOCS = Path(__file__).parent
TARGET = DOCS / "lecture.md"


@dataclass(frozen=True)
class Shown:
    """One network and what its derivation says."""

    network: bp.Network
    options: dict[str, Any]

    @cached_property
    def derivation(self) -> Any:
        """The whole derivation, its equations checked."""
        found = bp.derive(self.network, **self.options)
        if not found.check().passed:
            raise SystemExit(f"the derivation of '{self.network.name}' does not hold")
        return found

    def __call__(self, *labels: str) -> str:
        """The equations with these labels, as Markdown."""
        return "\n\n".join(block_markdown(self._labelled(label)) for label in labels)

    def _labelled(self, label: str) -> Equation:
        known = [e for e in self.derivation.document.equations() if e.label]
        for equation in known:
            if equation.label == label:
                return equation
        raise SystemExit(f"'{self.network.name}' has no equation '{label}'; there are {', '.join(e.label for e in known)}")

    def inline(self, label: str, line: int) -> str:
        """One line of an equation, within a sentence."""
        equation = self._labelled(label)
        shown = equation.lines[line].shown
        return within(row(equation.left, Operator("=", "relation"), shown) if line == 0 else shown)

    def section(self, key: str) -> str:
        """All blocks of a section."""
        return "\n\n".join(block_markdown(b) for b in self._blocks(key))

    def part(self, key: str, first: int, last: int | None = None) -> str:
        """Some blocks of a section."""
        return "\n\n".join(block_markdown(b) for b in list(self._blocks(key))[first:last])

    def after(self, key: str, words: str, until: str = "") -> str:
        """The blocks of a section after the paragraph that begins with these words."""
        taken: list[Block] = []
        taking = False
        for block in self._blocks(key):
            head = block.text[0] if isinstance(block, Paragraph) else ""
            if taking and until and isinstance(head, str) and head.startswith(until):
                break
            if taking:
                taken.append(block)
            taking = taking or (isinstance(head, str) and head.startswith(words))
        if not taken:
            raise SystemExit(f"'{self.network.name}' has nothing after '{words}' in '{key}'")
        return "\n\n".join(block_markdown(b) for b in taken)

    def _blocks(self, key: str) -> Iterator[Block]:
        for section in self.derivation.document.sections:
            if section.key == key:
                yield from (b for x in section.blocks for b in (x.blocks if isinstance(x, Details) else (x,)))


def neuron() -> Shown:
    """One neuron: two inputs, a sigmoid, a squared error typed by hand."""
    x, y = bp.Input("x", (2,)), bp.Target("y")
    a = bp.Layer(
        ["z[n] = sum(w[i]*x[n,i], i) + b", "a[n] = 1/(1 + exp(-z[n]))"],
        parameters={"w": ("i",), "b": ()}, inputs=("x",), output="a", name="neuron",
    )(x)  # fmt: skip
    cost = bp.Layer(["l[n] = (a[n] - y[n])**2/2"], inputs=("a", "y"), output="l", name="cost")(a, y)
    example = {"x": [1.0, 0.5], "y": 1.0, "neuron.w": [0.4, -0.2], "neuron.b": 0.1}
    return Shown(bp.Network(a, loss=cost, name="neuron"), {"example": example, "learning_rate": 0.5})


def surprised() -> Shown:
    """The same neuron with cross-entropy instead of the squared error."""
    x, y = bp.Input("x", (2,)), bp.Target("y")
    a = bp.Layer(
        ["z[n] = sum(w[i]*x[n,i], i) + b", "a[n] = 1/(1 + exp(-z[n]))"],
        parameters={"w": ("i",), "b": ()}, inputs=("x",), output="a", name="neuron",
    )(x)  # fmt: skip
    loss = ["l[n] = -(y[n]*log(a[n]) + (1 - y[n])*log(1 - a[n]))"]
    cost = bp.Layer(loss, inputs=("a", "y"), output="l", name="cost")(a, y)
    return Shown(bp.Network(a, loss=cost, name="surprised"), {})


def dense(name: str, activation: str, output: str, loss: Any, **target: Any) -> Shown:
    """A hidden layer and an output layer."""
    x, y = bp.Input("x", (2,)), bp.Target("y", **target)
    h = bp.Dense(2, activation=activation, name="hidden")(x)
    o = bp.Dense(target.get("classes", 1), activation=output or None, name="output")(h)
    example = {
        "x": [0.5, 0.3], "y": [1.0], "hidden.W": [[0.1, 0.3], [0.2, 0.4]], "hidden.b": [0.1, 0.2], "output.W": [[0.5, 0.6]],
        "output.b": [0.1],
    }  # fmt: skip
    return Shown(bp.Network(o, loss=loss(o, y), name=name), {} if target.get("classes") else {"example": example})


def deep() -> Shown:
    """Four sigmoid layers of one unit each: saturation multiplies."""
    x, y = bp.Input("x", (1,)), bp.Target("y", (1,))
    a = x
    example: dict[str, Any] = {"x": [1.0], "y": [0.0]}
    for k in range(1, 5):
        a = bp.Dense(1, activation="sigmoid", name=f"l{k}")(a)
        example |= {f"l{k}.W": [[1.0]], f"l{k}.b": [3.0]}
    return Shown(bp.Network(a, loss=bp.MeanSquaredError(a, y), name="deep"), {"example": example})


def recurrent() -> Shown:
    """A small recurrent layer."""
    x, y = bp.Input("x", (4, 2)), bp.Target("y", (2,))
    h = bp.Layer(
        ["h[n,t,j] = tanh(sum(W[j,i]*x[n,t,i], i) + sum(U[j,k]*h[n,t-1,k], k) + b[j])"],
        parameters={"W": ("j", "i"), "U": ("j", "k"), "b": ("j",)}, sizes={"j": 2, "k": 2}, inputs=("x",), output="h",
        name="cell",
    )(x)  # fmt: skip
    cost = bp.Layer(["l[n] = sum((h[n,3,j] - y[n,j])**2, j)"], inputs=("h", "y"), output="l", name="cost")(h, y)
    return Shown(bp.Network(h, loss=cost, name="recurrent"), {})


def convolution() -> Shown:
    """A convolution over a signal."""
    x, y = bp.Input("x", (8,)), bp.Target("y", (6,))
    z = bp.Layer(
        ["z[n,s] = sum(k[p]*x[n,s+p], p) + b"], parameters={"k": ("p",), "b": ()}, sizes={"p": 3, "s": 6}, inputs=("x",),
        output="z", name="filter",
    )(x)  # fmt: skip
    return Shown(bp.Network(z, loss=bp.MeanSquaredError(z, y), name="convolution"), {})


def page() -> str:
    """The lecture."""
    networks = {
        "neuron": neuron(),
        "surprised": surprised(),
        "two_layers": dense("two_layers", "sigmoid", "sigmoid", bp.BinaryCrossentropy, shape=(1,)),
        "classifier": dense("classifier", "relu", "", bp.SoftmaxCrossEntropy, classes=3),
        "deep": deep(),
        "recurrent": recurrent(),
        "convolution": convolution(),
    }
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return environment.from_string((DOCS / "lecture.template.md").read_text(encoding="utf-8")).render(networks)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.write_text(page(), encoding="utf-8")
    print(f"written: {target}")
