"""The document: sections of paragraphs, equations, tables and pictures, before any output language.

An equation keeps the trees that were laid out, so that the check computes exactly what is printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bpcompile.derivation.notation import Notation
from bpcompile.nodes.expressions import Axis, Expr

Inline = str | Notation
"""Words, or a formula within a line."""

Text = tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """What an equation says, so that it can be checked.

    Attributes
    ----------
    kind : str
        ``value``: the value of ``tensor``; ``gradient``: the derivative of the cost by ``tensor``; ``local``: the derivative
        of ``tensor`` by ``by``, over the axes of both; ``none``: a definition or something said in words.
    tensor, by : str
        Global names.
    """

    kind: Literal["value", "gradient", "local", "none"]
    tensor: str = ""
    by: str = ""


NOTHING = Claim("none")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an equation: what stands to the right of a relation, and why.

    Attributes
    ----------
    shown : Notation
        As laid out.
    tree : Expr or None
        What is evaluated.
    reason : Text
        The rule, in words.
    matrix : bool
        Whether the tree is a matrix form.
    relation : str
        The sign before it.
    turned : bool
        Whether the matrix is the transpose of what the axes say: a Jacobian in denominator layout.
    fixed : tuple of Axis
        Axes that stay subscripts in the matrix form, besides time.
    """

    shown: Notation
    tree: Expr | None = None
    reason: Text = ()
    matrix: bool = False
    relation: str = "="
    turned: bool = False
    fixed: tuple[Axis, ...] = ()


@dataclass(frozen=True, slots=True)
class Equation:
    """A left side and what it equals, line by line.

    ``axes`` are the free axes of the index trees, in the order of the tensor's subscripts (for ``local``: those of the
    upper tensor, then those of the lower one).
    """

    left: Notation
    lines: tuple[Line, ...]
    claim: Claim = NOTHING
    axes: tuple[Axis, ...] = ()
    label: str = ""
    beside: Equation | None = None
    """The same in matrix form, side by side."""
    world: str = ""
    """Where it is checked: ``""`` for the network as shown, ``batch``, ``inputs`` (differentiated too) or ``abstract``."""
    at: tuple[tuple[Axis, int], ...] = ()
    """Axes of the tensor that are fixed here: one time of a recurrence."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words and formulas."""

    text: Text


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a heading."""

    head: tuple[Text, ...]
    rows: tuple[tuple[Text, ...], ...]
    right: tuple[int, ...] = ()
    """Columns that are set flush right: numbers."""


@dataclass(frozen=True, slots=True)
class Box:
    """A node of a picture: its words, and where it is (column, row)."""

    name: str
    lines: tuple[str, ...]
    column: int
    row: int
    kind: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph: boxes and arrows between them, with what flows along each."""

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Details:
    """Steps that a reader may skip: collapsible where the output can do that."""

    title: Text
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Together:
    """Equations one below the other, their relations aligned."""

    blocks: tuple[Equation, ...]


@dataclass(frozen=True, slots=True)
class Boxed:
    """Results to remember, set apart."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Likewise:
    """A sentence about equations that are like those above it, except for the names of layers; they are checked too."""

    text: Text
    hidden: tuple[Equation, ...]


Block = Equation | Paragraph | Bullets | Table | Picture | Details | Boxed | Together | Likewise


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it; ``key`` is its name in options."""

    key: str
    title: str
    blocks: tuple[Block, ...]
    level: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """All sections, in order."""

    title: str
    sections: tuple[Section, ...]
    lead: Text = ()

    def equations(self) -> Iterator[Equation]:
        """Every equation, in order."""
        for section in self.sections:
            yield from _equations(section.blocks)


def _equations(blocks: tuple[Block, ...]) -> Iterator[Equation]:
    for block in blocks:
        if isinstance(block, Equation):
            yield block
            if block.beside is not None:
                yield block.beside
        elif isinstance(block, Likewise):
            yield from _equations(block.hidden)
        elif isinstance(block, (Details, Boxed, Together)):
            yield from _equations(block.blocks)
