"""The derivation of a network's gradients, printed: ``bp.derive(net)``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from bpcompile.derivation.context import Context, Options, context_of
from bpcompile.derivation.document import Document, Section
from bpcompile.derivation.render_html import render_html
from bpcompile.derivation.render_latex import render_latex
from bpcompile.derivation.render_markdown import render_markdown
from bpcompile.derivation.render_text import render_text
from bpcompile.derivation.sections.batch import batch_section
from bpcompile.derivation.sections.chain import chain_section
from bpcompile.derivation.sections.check import check_section
from bpcompile.derivation.sections.fundamental import fundamental_section
from bpcompile.derivation.sections.general import general_section
from bpcompile.derivation.sections.layers import layers_section
from bpcompile.derivation.sections.network import network_section
from bpcompile.derivation.sections.sharing import sharing_section
from bpcompile.derivation.sections.worked import worked_section
from bpcompile.derivation.verify import Check, verify
from bpcompile.errors import BPCompileError, BuildError, nearest
from bpcompile.language.network import Network

__all__ = ["SECTIONS", "Derivation", "derive"]

Writer = Callable[[Context], Section | None]

SECTIONS: Final[dict[str, Writer]] = {
    "network": network_section,
    "chain": chain_section,
    "fundamental": fundamental_section,
    "layers": layers_section,
    "general": general_section,
    "batch": batch_section,
    "sharing": sharing_section,
    "worked": worked_section,
    "check": lambda _context: None,
}
"""The sections by name, in the order of the document; the check is written when the others are."""

_WITHOUT_CLAIMS: Final = ("sharing", "worked", "check")
"""Sections that print counts and numbers, and no equation to be checked."""

MOST_ELEMENTS: Final = 2**29
"""The largest tensor of a network whose derivation is written: four gigabytes in float64."""
_ACTIVATIONS: Final = {"sigma": "sigma", "σ": "sigma", "f": "f", "g": "g", "phi": "phi", "h": "h"}
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "level": ("student", "summary"),
    "layout": ("column", "row"),
    "superscript": ("(l)", "[l]"),
    "jacobian": ("numerator", "denominator"),
    "layers": ("auto", "names", "numbers"),
}


@dataclass(frozen=True)
class Derivation:
    """How the gradients of a network follow from its equations.

    Attributes
    ----------
    document : Document
        The sections, before any output language.
    """

    document: Document
    verified: Callable[[], Check]

    def check(self) -> Check:
        """Evaluate every printed equation on random data; ``.passed``, ``.worst``, ``.rows``."""
        return self.verified()

    def latex(self, fragment: bool = False) -> str:
        """Return LaTeX for plain pdflatex: a document, or a fragment for another one."""
        return render_latex(self.document, fragment)

    def markdown(self) -> str:
        """Return Markdown with ``$...$``."""
        return render_markdown(self.document)

    def html(self, fragment: bool = False) -> str:
        """Return one self-contained HTML file: mathematics as MathML, no script, no network access."""
        return render_html(self.document, fragment)

    def text(self) -> str:
        """Return Unicode text for a terminal."""
        return render_text(self.document)

    def pdf(self, path: str | Path) -> Path:
        """Write a PDF with the installed LaTeX.

        Raises
        ------
        BuildError
            Where no pdflatex is installed, or it fails.
        """
        target = Path(path)
        target.write_bytes(_compiled(self.latex()))
        return target

    def save(self, path: str | Path, fragment: bool = False) -> Path:
        """Write the derivation in the form that the file's ending asks for: .tex, .pdf, .md, .html or .txt."""
        target = Path(path)
        writers: dict[str, Callable[[], str]] = {
            ".tex": lambda: self.latex(fragment),
            ".md": self.markdown,
            ".html": lambda: self.html(fragment),
            ".htm": lambda: self.html(fragment),
            ".txt": self.text,
        }
        if target.suffix == ".pdf":
            return self.pdf(target)
        if target.suffix not in writers:
            raise BPCompileError(
                f"A derivation cannot be written as '{target.name}'.",
                hint=f"The name ends in one of {', '.join([*writers, '.pdf'])}.",
            )
        target.write_text(writers[target.suffix](), encoding="utf-8")
        return target

    def _repr_latex_(self) -> str:
        return self.latex(fragment=True)

    def _repr_html_(self) -> str:
        return self.html(fragment=True)

    def __repr__(self) -> str:
        sections, equations = len(self.document.sections), sum(1 for _ in self.document.equations())
        return f"<Derivation: {self.document.title}; {sections} sections, {equations} equations>"

    def __str__(self) -> str:
        return self.text()


def derive(
    network: Network,
    *,
    sections: Sequence[str] | str | None = None,
    level: str = "student",
    layout: str = "column",
    superscript: str = "(l)",
    jacobian: str = "numerator",
    activation: str = "sigma",
    layers: str = "auto",
    wrt: Sequence[str] = ("parameters",),
    example: Mapping[str, Any] | None = None,
    learning_rate: float = 0.1,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Derivation:
    """Print how the gradients of a network follow from its equations.

    Everything comes from the record of the calculus: the derivation is the computation that the compiler carried out.

    Parameters
    ----------
    network : Network
        With a loss.
    sections : sequence of str, optional
        Some of the names in `SECTIONS`; all by default.
    level : {"student", "summary"}
        Every step, or results alone.
    layout : {"column", "row"}
        Whether an example is a column of the batch's matrix, or a row of it.
    superscript : {"(l)", "[l]"}
        What encloses the layer.
    jacobian : {"numerator", "denominator"}
        The layout of matrices of derivatives.
    activation : {"sigma", "f", "g", "phi", "h"}
        The letter of an unspecified activation.
    layers : {"auto", "names", "numbers"}
        What stands for a layer; by default numbers where a name has more than 14 letters.
    wrt : sequence of str
        As for `compile`: ``"parameters"``, names of inputs.
    example : mapping of str to array, optional
        Inputs, targets and parameters for the example with numbers; what is missing is drawn.
    learning_rate : float
        Of the step at the end of that example.
    seed : int
        For numbers that are drawn.
    progress : callable, optional
        Called with words about what is being done.

    Returns
    -------
    Derivation
        With ``.latex()``, ``.markdown()``, ``.html()``, ``.text()``, ``.pdf(path)``; shown as mathematics in Jupyter.
    """
    if not isinstance(network, Network):
        hint = "Write bp.Network(output, loss=...)."
        raise BPCompileError(f"derive takes a Network, not {type(network).__name__}.", hint=hint)
    for t in network.tensors.values():
        elements = prod(e for e in t.shape if e is not None)
        if elements > MOST_ELEMENTS:
            raise BPCompileError(
                f"'{t.name}' has {elements:.3g} elements; a derivation is checked with numbers, and takes {MOST_ELEMENTS:.3g}.",
                hint="Derive a network with smaller extents: the equations are the same.",
            )
    given = {"level": level, "layout": layout, "superscript": superscript, "jacobian": jacobian, "layers": layers}
    for option, value in given.items():
        if value not in _CHOICES[option]:
            raise BPCompileError(f"'{option}' is {value!r}; it is one of {', '.join(map(repr, _CHOICES[option]))}.")
    if activation not in _ACTIVATIONS:
        raise BPCompileError(f"'activation' is {activation!r}; it is one of {', '.join(map(repr, _ACTIVATIONS))}.")
    chosen = _chosen(sections)
    options = Options(
        level, layout, superscript[0] + superscript[-1], jacobian, _ACTIVATIONS[activation], layers, seed,
        example, learning_rate,
    )  # fmt: skip
    return derivation(context_of(network, options, wrt), chosen, progress)


def derivation(
    context: Context, chosen: Sequence[str], progress: Callable[[str], None] | None = None
) -> Derivation:
    """Write the chosen sections about what has been differentiated.

    Parameters
    ----------
    context : Context
        The record and the programs of a network.
    chosen : sequence of str
        Names in `SECTIONS`, in their order.
    progress : callable, optional
        Called with words about what is being done.
    """
    known: list[Check] = []

    def done(count: int, total: int) -> None:
        if progress is not None:
            progress(f"checking equations: {count:,} of {total:,}")

    def verified() -> Check:
        if not known:
            claiming = [name for name in SECTIONS if name not in _WITHOUT_CLAIMS]
            everything = written if set(claiming) <= set(chosen) else _written(context, claiming, progress)
            known.append(verify(context, Document("", tuple(everything)).equations(), context.options.seed, done))
        return known[0]

    written = _written(context, chosen, progress)
    sections = [*written, check_section(verified())] if "check" in chosen else written
    name = context.network.name if context.network is not None else ""
    return Derivation(Document(f"Backpropagation through the network “{name}”", tuple(sections)), verified)


def _written(
    context: Context, chosen: Sequence[str], progress: Callable[[str], None] | None
) -> list[Section]:
    context.introduced.clear()
    context.shown_numbers.clear()
    sections: list[Section] = []
    for name in chosen:
        if progress is not None:
            progress(f"writing the section '{name}'")
        section = SECTIONS[name](context)
        sections += [] if section is None else [section]
    return sections


def _chosen(sections: Sequence[str] | str | None) -> list[str]:
    if sections is None:
        return list(SECTIONS)
    names = [s.strip() for s in sections.split(",")] if isinstance(sections, str) else list(sections)
    for name in names:
        if name not in SECTIONS:
            guess = nearest(name, SECTIONS)
            raise BPCompileError(
                f"There is no section '{name}'.",
                hint=guess or f"There are {', '.join(SECTIONS)}.",
            )
    return [name for name in SECTIONS if name in names]


def _compiled(source: str) -> bytes:
    """The PDF of a LaTeX document."""
    program = shutil.which("pdflatex")
    if program is None:
        raise BuildError(
            "There is no pdflatex, so no PDF can be written.",
            hint="Install a TeX (texlive-latex-recommended and texlive-pictures on Debian), or write .html instead.",
        )
    with tempfile.TemporaryDirectory(prefix="bpcompile-") as folder:
        Path(folder, "derivation.tex").write_text(source, encoding="utf-8")
        command = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "derivation.tex"]
        for _ in range(2):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode:
                raise BuildError("pdflatex failed on the derivation.", hint=done.stdout[-1500:])
        return Path(folder, "derivation.pdf").read_bytes()
