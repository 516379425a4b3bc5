"""What an emitter of kernels hands to the module: C text, its arguments and how its work divides.

A kernel becomes one `static` C function for each of its phases::

    static void NAME(const real *x, real *y, ptrdiff_t n, ptrdiff_t begin, ptrdiff_t end) { BODY }

The phases run in order; all have the same leading arguments, those that `Arguments` collected. A phase with ``units``
divides into that many units of work which touch disjoint targets: its body does the units ``begin <= unit < end``, and
what it computes must not depend on how the units are divided among calls. A phase without units has no such arguments
and runs once. A pointer to a tensor arrives at the tensor's first element, so that kernels that differ only in places
(twelve equal layers) have the same text; `canonical_key` tells them, whatever the names.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Tensor
from bpcompile.program.schedule_types import Place

ElementType = Literal["real", "int32_t", "sint"]
Source = Literal["tensor", "n", "examples", "time", "seed", "key", "step", "training", "scratch"]


_FIXED_NAMES: Final = ("n", "examples", "key", "step", "training", "scratch")
_C_WORDS: Final = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long "
    "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while "
    "asm typeof bool true false main NULL NAN INFINITY "
    "real vreal vint sint vmask smask LANES begin end call arguments index parallel"
)
RESERVED: Final = frozenset({*_C_WORDS.split(), *_FIXED_NAMES})
"""Names that no user's name may become."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a kernel: its declaration in C, and what the caller passes for it."""

    source: Source
    c_name: str
    c_type: str
    tensor: str = ""
    axis: Axis | None = None
    seed: str = ""

    @property
    def declaration(self) -> str:
        """As it stands in the list of parameters of the C function: no two tensors of a kernel share memory."""
        return f"{self.c_type}restrict {self.c_name}" if self.c_type.endswith("*") else self.member

    @property
    def member(self) -> str:
        """As it stands in a struct."""
        return f"{self.c_type}{self.c_name}" if self.c_type.endswith("*") else f"{self.c_type} {self.c_name}"


@dataclass(frozen=True, slots=True)
class Phase:
    """One C function of a kernel.

    Parameters
    ----------
    body : str
        C statements, indented by four spaces, each line ended by a newline.
    units : str, optional
        A C expression in ``n`` and numbers: how many independent units of work there are. Empty: not divisible.
    work : str, optional
        A C expression of type ptrdiff_t in ``n`` and numbers: about how many scalar operations the phase takes in all.
        The module divides a phase among threads only where that pays.
    attributes : str, optional
        What stands before ``void``, for instance ``"static inline"``.
    """

    body: str
    units: str = ""
    work: str = "0"
    attributes: str = "static"


@dataclass(frozen=True, slots=True)
class KernelText:
    """A kernel in C.

    Parameters
    ----------
    name : str
        A C identifier to call it by; the module makes it unique.
    arguments : tuple of Argument
    phases : tuple of Phase
    equations : tuple of str
        What it computes, in the user's names: the comment above the function and at each call.
    names : tuple of str
        Identifiers in the text that come from the user's names (arguments are known anyway): two kernels whose text is
        equal up to a renaming of these are one.
    helpers : tuple of str
        Complete `static` functions or macros at file scope that the bodies use, in order. Equal ones are emitted once.
    families : tuple of str
        The families of tiles that the bodies call (see `contraction_tiles`).
    tiles : tuple of frozenset
        The tiles of these families that they call, on each kind of register file.
    dot_depth : int
        A number that divides the depth of each sum along a contiguous depth; 0 where there are none.
    scratch : str
        A C expression in ``n`` of type size_t: how many elements of the arena ``scratch`` must offer.
    """

    name: str
    arguments: tuple[Argument, ...]
    phases: tuple[Phase, ...]
    equations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    tiles: tuple[frozenset[tuple[str, int, int]], ...] = ()
    dot_depth: int = 0
    scratch: str = ""


def element_type(tensor: Tensor, place: Place) -> ElementType:
    """Give the C type of a tensor's elements: integers are ``int32_t`` in the caller's arrays, ``sint`` elsewhere."""
    if tensor.kind == "real":
        return "real"
    return "int32_t" if place.region == "input" else "sint"


@dataclass
class Arguments:
    """Collects a kernel's arguments while its text is written; each is asked for by what it stands for.

    Parameters
    ----------
    tensors : mapping of str to Tensor
    places : mapping of str to Place
    written : iterable of str
        The tensors that the kernel writes: pointers to all others are pointers to constants.
    """

    tensors: Mapping[str, Tensor]
    places: Mapping[str, Place]
    written: Iterable[str] = ()
    taken: set[str] = field(default_factory=lambda: set(RESERVED))
    _found: dict[tuple[str, str], Argument] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.written = frozenset(self.written)

    def pointer(self, tensor: str) -> str:
        """Give the C name of the pointer to a tensor's first element."""
        kind = element_type(self.tensors[tensor], self.places[tensor])
        constant = "" if tensor in self.written else "const "
        return self._ask("tensor", tensor, f"{constant}{kind} *", mangled(tensor), tensor=tensor)

    def n(self) -> str:
        """Give the C name of the number of examples that the kernel works on."""
        return self._ask("n", "", "ptrdiff_t", "n")

    def examples(self) -> str:
        """Give the C name of the number of examples in the batch."""
        return self._ask("examples", "", "ptrdiff_t", "examples")

    def time(self, axis: Axis) -> str:
        """Give the C name of the value of a time loop's axis around the kernel."""
        return self._ask("time", axis.name, "ptrdiff_t", mangled(axis.name), axis=axis)

    def seed(self, name: str) -> str:
        """Give the C name of a run-time scalar such as ``learning_rate``."""
        return self._ask("seed", name, "real", mangled(name), seed=name)

    def key(self) -> str:
        """Give the C name of the generator's key (uint64_t)."""
        return self._ask("key", "", "uint64_t", "key")

    def step(self) -> str:
        """Give the C name of the number of the training step (uint64_t)."""
        return self._ask("step", "", "uint64_t", "step")

    def training(self) -> str:
        """Give the C name of the flag that tells training from prediction (int, 0 or 1)."""
        return self._ask("training", "", "int", "training")

    def scratch(self) -> str:
        """Give the C name of the pointer to the kernel's scratch memory (see `KernelText.scratch`)."""
        return self._ask("scratch", "", "real *", "scratch")

    def local(self, stem: str) -> str:
        """Give a fresh C name for a variable of the kernel's own."""
        return self._fresh(mangled(stem))

    def in_order(self) -> tuple[Argument, ...]:
        """All arguments, in the order in which they were asked for first."""
        return tuple(self._found.values())

    def _ask(
        self, source: Source, what: str, c_type: str, stem: str, *, tensor: str = "", axis: Axis | None = None,
        seed: str = "",
    ) -> str:  # fmt: skip
        found = self._found.get((source, what))
        if found is None:
            name = stem if source in _FIXED_NAMES else self._fresh(stem)
            found = Argument(source, name, c_type, tensor, axis, seed)
            self._found[source, what] = found
        return found.c_name

    def _fresh(self, stem: str) -> str:
        name, number = stem, 1
        while name in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return name


_USED_PREFIXES: Final = re.compile(r"^(?:v_|s_|bp_|BP_|x\d|i\d|[vi]\d|_|[A-Z0-9_]+$|[a-z]+[0-9]*[fl]?$)")
"""Shapes of names that the preamble, the C library or the emitters use themselves."""


def mangled(name: str) -> str:
    """Turn any name of the user's into a C identifier of its own kind: one that ends in an underscore.

    No identifier of the C library, of the preamble or of the emitters ends so.
    """
    text = re.sub(r"[^A-Za-z0-9_]", "_", name.encode("ascii", "replace").decode().replace("?", "_")).strip("_")
    text = re.sub(r"_+", "_", text)
    if not text or text[0].isdigit() or text in RESERVED or keyword.iskeyword(text):
        text = f"t_{text}"
    return text + "_" if _USED_PREFIXES.match(text) else text


_COMMENT: Final = re.compile(r"/\*.*?\*/", re.S)
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def canonical_key(kernel: KernelText) -> str:
    """A text that two kernels have in common exactly if one C function can serve both."""
    renamed = {a.c_name: "" for a in kernel.arguments if a.source not in _FIXED_NAMES}
    renamed.update(dict.fromkeys(kernel.names, ""))
    numbers: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        name = match.group()
        return numbers.setdefault(name, f"@{len(numbers)}") if name in renamed else name

    parts = [", ".join(a.declaration for a in kernel.arguments), kernel.scratch]
    for phase in kernel.phases:
        parts += [phase.attributes, phase.units, phase.work, phase.body]
    named = _IDENTIFIER.sub(rename, _COMMENT.sub("", "\0".join(parts)))
    return "\0".join((named, *kernel.helpers))  # helpers know no names of the user's
