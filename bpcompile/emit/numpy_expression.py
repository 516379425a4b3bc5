"""Expressions of a program as NumPy text.

An expression is written for a *frame*, a tuple of axes: its array lines up with the frame from the right, as NumPy
broadcasts; a dimension that it does not depend on has extent 1, or is missing in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bpcompile.emit.numpy_names import Names
from bpcompile.nodes.affine import affine, interval
from bpcompile.nodes.expressions import Axis, Expr, children_first
from bpcompile.nodes.statements import Tensor

Frame = tuple[Axis, ...]

RUNTIME_FUNCTIONS: Final = ("erf", "erfc", "gamma", "lgamma", "digamma", "trigamma", "sigmoid", "softplus")
"""What `numpy_runtime` provides."""

_NUMPY_NAMES: Final = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "atan2": "arctan2", "min": "minimum", "max": "maximum", "round": "rint",
}  # fmt: skip
_INFIX: Final[dict[str, tuple[str, int]]] = {
    "or": (" | ", 3), "and": (" & ", 4), "lt": (" < ", 1), "le": (" <= ", 1), "eq": (" == ", 1), "ne": (" != ", 1),
    "add": (" + ", 5), "sub": (" - ", 5), "mul": (" * ", 6), "div": (" / ", 6), "floordiv": (" // ", 6),
    "mod": (" % ", 6), "pow": ("**", 8),
}  # fmt: skip
_LONGEST: Final = 88  # characters of an expression before it gets a name of its own


@dataclass(frozen=True, slots=True)
class Text:
    """Python text and how strongly its outermost operation binds (10: an atom)."""

    text: str
    strength: int = 10

    def within(self, needed: int) -> str:
        """The text, in parentheses if it binds more weakly than needed."""
        return self.text if self.strength >= needed else f"({self.text})"


@dataclass
class Writer:
    """Writes the expressions of one function; lines that must come first are added to `lines`.

    Attributes
    ----------
    tensors : mapping
        The program's tensors.
    names : Names
        Python names of the function.
    running : dict
        The axes of the Python loops around the statement, and their variables.
    """

    tensors: Mapping[str, Tensor]
    names: Names
    lines: list[str] = field(default_factory=list)
    running: dict[Axis, str] = field(default_factory=dict)
    _bound: dict[tuple[Expr, Frame, bool], Text] = field(default_factory=dict)
    _shared: set[Expr] = field(default_factory=set)
    _axes: dict[Expr, frozenset[Axis]] = field(default_factory=dict)
    _loads: dict[Expr, bool] = field(default_factory=dict)

    def start(self, roots: tuple[Expr, ...]) -> None:
        """Begin a statement: names bound by the one before are forgotten, nodes with several users will get one."""
        self._bound.clear()
        users: dict[Expr, int] = {}
        for root in roots:
            for e in children_first(root):
                for a in e.args:
                    users[a] = users.get(a, 0) + 1
        self._shared = {e for e, count in users.items() if count > 1 and e.op not in ("const", "axis", "size", "load")}

    def depends(self, e: Expr) -> frozenset[Axis]:
        """The axes of arrays (not of Python loops) that an expression's value depends on."""
        if e in self._axes:
            return self._axes[e].difference(self.running)
        for part in children_first(e):
            if part not in self._axes:
                own = frozenset((part.value,)) if part.op == "axis" else frozenset()
                self._axes[part] = own.union(*(self._axes[a] for a in part.args))
        return self._axes[e].difference(self.running)

    def _reads(self, e: Expr) -> bool:
        """True if there is a tensor access in an expression."""
        if e in self._loads:
            return self._loads[e]
        for part in children_first(e):
            if part not in self._loads:
                self._loads[part] = part.op == "load" or any(self._loads[a] for a in part.args)
        return self._loads[e]

    def bind(self, text: str) -> Text:
        """Give a value a name of its own."""
        name = self.names.fresh("t")
        self.lines.append(f"{name} = {text}")
        return Text(name)

    def extent(self, a: Axis) -> str:
        """The extent of an axis."""
        return "n" if a.extent is None else str(a.extent)

    def shape(self, tensor: str) -> str:
        """The shape of a tensor as a Python tuple."""
        extents = ["n" if e is None else str(e) for e in self.tensors[tensor].shape]
        return f"({', '.join(extents)}{',' if len(extents) == 1 else ''})"

    def real(self, text: str) -> str:
        """Convert to the module's element type."""
        return f"real({text})"

    # --- values ---------------------------------------------------------------------------------------------------

    def value(self, e: Expr, frame: Frame, guarded: bool = False) -> Text:
        """The text of an expression; ``guarded`` under a ``where``, where subscripts may leave their tensor."""
        guarded = guarded and self._reads(e)
        key = (e, frame, guarded)
        found = self._bound.get(key)
        if found is not None:
            return found
        result = self._plain(e, frame, guarded)
        if (e in self._shared and not result.text.isidentifier()) or len(result.text) > _LONGEST:
            result = self.bind(result.text)
        if e in self._shared or result.text.isidentifier():
            self._bound[key] = result
        return result

    def top(self, e: Expr, frame: Frame) -> Text:
        """As `value`, for what gets a name anyway."""
        return self._plain(e, frame, False)

    def as_real(self, e: Expr, frame: Frame, guarded: bool = False) -> Text:
        """As `value`; integer arrays converted, since int64 with float32 would make float64."""
        if e.op == "where" and e.kind == "int" and all(self.is_number(a) for a in e.args[1:]):
            return self._where(e, frame, guarded, real=True)
        text = self.value(e, frame, guarded)
        if e.kind == "int" and not self.is_number(e):
            return Text(f"{text.within(9)}.astype(real)")
        return text

    def is_number(self, e: Expr) -> bool:
        """True if the value is a Python number and no array: it takes the element type of what it meets."""
        return not self.depends(e) and not any(p.op in ("load", "draw") for p in children_first(e))

    def _plain(self, e: Expr, frame: Frame, guarded: bool) -> Text:
        if e.op == "const":
            return _constant(e.value)
        if e.op == "axis":
            return self._axis(e, frame)
        if e.op == "size":
            return Text("n")
        if e.op == "load":
            return self.load(e, frame, guarded)
        if e.op == "flag":
            return Text("training")
        if e.op == "seed":
            return Text("step" if e.value == "step" else self.names.of(e.value))
        if e.op == "draw":
            return self._draw(e, frame, guarded)
        if e.op == "stop":
            return self.value(e.args[0], frame, guarded)
        if e.op == "where":
            return self._where(e, frame, guarded)
        if e.op in _INFIX:
            return self._infix(e, frame, guarded)
        if e.op == "neg":
            inner = self.value(e.args[0], frame, guarded)
            return Text(f"-{inner.within(7)}", 7)
        if e.op == "not":
            return Text(f"np.logical_not({self.value(e.args[0], frame, guarded).text})")
        return self._call(e, frame, guarded)

    def _axis(self, e: Expr, frame: Frame) -> Text:
        a: Axis = e.value
        if a in self.running:
            return Text(self.running[a])
        behind = len(frame) - 1 - frame.index(a)
        name = self.names.fresh(a.name)
        self.lines.append(f"{name} = np.arange({self.extent(a)}){'[:' + ', None' * behind + ']' if behind else ''}")
        return Text(name)

    def _arguments(self, e: Expr, frame: Frame, guarded: bool) -> list[Text]:
        if e.kind == "int" or (all(a.kind == "int" for a in e.args) and e.op in ("lt", "le", "eq", "ne")):
            return [self.value(a, frame, guarded) for a in e.args]
        return [self.as_real(a, frame, guarded) for a in e.args]

    def _infix(self, e: Expr, frame: Frame, guarded: bool) -> Text:
        sign, strength = _INFIX[e.op]
        if e.op in ("div", "pow", "floordiv", "mod") and self.is_number(e) and not _safe_division(e):
            # Python raises where NumPy gives infinity.
            left, right = (self.value(a, frame, guarded).text for a in e.args)
            name = {"div": "divide", "pow": "power", "floordiv": "floor_divide", "mod": "mod"}[e.op]
            return Text(f"float(np.{name}(float({left}), {right}))")
        a, b = self._arguments(e, frame, guarded)
        if strength <= 4:  # comparisons and logic: parentheses wherever an operation stands
            return Text(f"{a.within(5)}{sign}{b.within(5)}", strength)
        left_needs = strength + 1 if e.op == "pow" else strength
        right_needs = strength if e.op == "pow" else strength + 1  # rounding, and // and %, feel the grouping
        return Text(f"{a.within(left_needs)}{sign}{b.within(right_needs)}", strength)

    def _where(self, e: Expr, frame: Frame, guarded: bool, real: bool = False) -> Text:
        condition = self.value(e.args[0], frame, guarded).text
        if e.kind == "int" and not real:
            a, b = (self.value(x, frame, True).text for x in e.args[1:])
        else:
            a, b = (self.as_real(x, frame, True).text for x in e.args[1:])
            if all(self.is_number(x) for x in e.args[1:]):
                a, b = self.real(a), self.real(b)
        return Text(f"np.where({condition}, {a}, {b})")

    def _call(self, e: Expr, frame: Frame, guarded: bool) -> Text:
        arguments = ", ".join(a.text for a in self._arguments(e, frame, guarded))
        if e.op in RUNTIME_FUNCTIONS:
            self.names.functions.add(e.op)
            text = f"{e.op}({arguments})"
        else:
            text = f"np.{_NUMPY_NAMES.get(e.op, e.op)}({arguments})"
        if self.is_number(e):  # a NumPy number would force its own type on arrays
            text = f"{'int' if e.kind == 'int' else 'float'}({text})"
        return Text(text)

    def _draw(self, e: Expr, frame: Frame, guarded: bool) -> Text:
        kind, stream = e.value
        *parameters, element = (self.value(a, frame, guarded).text for a in e.args)
        self.names.functions.add(kind)
        return Text(f"{kind}({', '.join(['key', 'step', repr(stream), element, *parameters])}, dtype=real)")

    # --- tensor accesses ------------------------------------------------------------------------------------------

    def load(self, e: Expr, frame: Frame, guarded: bool) -> Text:
        """An access lined up with the frame."""
        name, subscripts = self.names.of(e.value[0]), e.args
        if not subscripts:
            return Text(name)
        basic = self.basic_index(e.value[0], subscripts, guarded)
        if basic is None or any(a not in frame for a in basic.axes):
            index = ", ".join(self._position(s, extent, frame, guarded) for s, extent in self._places(e))
            return Text(f"{name}[{index}]")
        return self._aligned(name, basic, frame)

    def _places(self, e: Expr) -> list[tuple[Expr, int | None]]:
        return list(zip(e.args, self.tensors[e.value[0]].shape, strict=True))

    def _position(self, subscript: Expr, extent: int | None, frame: Frame, guarded: bool) -> str:
        """A subscript as an array of integers, kept inside the tensor where a ``where`` or an integer tensor may leave it."""
        text = self.value(subscript, frame, guarded).text
        low, high = interval(subscript)
        guarded = guarded or not any(e.op == "load" for e in children_first(subscript))
        if extent is not None and guarded and (low < 0 or high >= extent):
            if self.is_number(subscript):
                return f"min(max({text}, 0), {extent - 1})"
            return f"np.clip({text}, 0, {extent - 1})"
        return text

    def positions(self, tensor: str, subscripts: tuple[Expr, ...], frame: Frame) -> str:
        """All subscripts of a written access as arrays of integers; what leaves the tensor adds zero at its edge."""
        shape = self.tensors[tensor].shape
        return ", ".join(self._position(s, e, frame, True) for s, e in zip(subscripts, shape, strict=True))

    def basic_index(self, tensor: str, subscripts: tuple[Expr, ...], guarded: bool) -> BasicIndex | None:
        """The access as NumPy slices and numbers; None where it needs arrays of integers."""
        items: list[str] = []
        axes: list[Axis | None] = []
        for subscript, extent in zip(subscripts, self.tensors[tensor].shape, strict=True):
            used = self.depends(subscript)
            if not used and not any(p.op == "load" for p in children_first(subscript)):
                items.append(self._position(subscript, extent, (), guarded))
                axes.append(None)
                continue
            item = _slice(subscript, extent)
            if item is None or len(used) != 1:
                return None
            (a,) = used
            if a in axes:
                return None
            items.append(item)
            axes.append(a)
        return BasicIndex(tuple(items), tuple(axes))

    def _aligned(self, name: str, basic: BasicIndex, frame: Frame) -> Text:
        order = sorted(basic.axes, key=frame.index)
        if list(basic.axes) != order:
            permutation = [basic.axes.index(a) for a in order]
            base = name + _brackets(list(basic.items))
            turned = f"{base}.T" if len(order) == 2 else f"{base}.transpose({', '.join(map(str, permutation))})"
            return Text(turned + _brackets(_with_missing([":"] * len(order), order, frame)))
        return Text(name + _brackets(_with_missing(list(basic.items), list(basic.all_axes), frame)))


@dataclass(frozen=True, slots=True)
class BasicIndex:
    """Slices and numbers, one for each subscript, and the axis that each slice runs over (None for a number)."""

    items: tuple[str, ...]
    all_axes: tuple[Axis | None, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of the slices, in order."""
        return tuple(a for a in self.all_axes if a is not None)

    @property
    def text(self) -> str:
        """The brackets; nothing where the whole tensor is meant."""
        return _brackets(list(self.items))


def _brackets(items: list[str]) -> str:
    return "" if all(i == ":" for i in items) else f"[{', '.join(items)}]"


def _with_missing(items: list[str], axes: list[Axis] | list[Axis | None], frame: Frame) -> list[str]:
    """Put ``None`` where the frame has an axis that is not there, except in front."""
    result: list[str] = []
    at = None
    for item, a in zip(items, axes, strict=True):
        if a is not None:
            here = frame.index(a)
            result += ["None"] * (0 if at is None else here - at - 1)
            at = here
        result.append(item)
    return result + ["None"] * (0 if at is None else len(frame) - 1 - at)


def _slice(subscript: Expr, extent: int | None) -> str | None:
    """``c*i + d`` as a slice; None where that is not possible."""
    form = affine(subscript)
    if len(form.terms) != 1 or form.terms[0][0].op != "axis":
        return None
    (axis_node, step), first = form.terms[0], form.constant
    count = axis_node.value.extent
    if count is None or extent is None:
        return ":" if (step, first) == (1, 0) and count is extent else None
    last = first + step * (count - 1)
    if min(first, last) < 0 or max(first, last) >= extent:
        return None
    if step > 0:
        stop = last + 1
        start = str(first) if first else ""
        return f"{start}:{stop if stop < extent else ''}{f':{step}' if step != 1 else ''}"
    return f"{first}:{last - 1 if last > 0 else ''}:{step}"


def _constant(value: float | int | bool) -> Text:
    if isinstance(value, (bool, int)):
        return Text(repr(value), 10 if value >= 0 else 7)
    if value != value:
        return Text("np.nan")
    if value in (float("inf"), float("-inf")):
        return Text("np.inf") if value > 0 else Text("-np.inf", 7)
    text = repr(value)
    return Text(text, 7 if text.startswith("-") else 10)


def _safe_division(e: Expr) -> bool:
    """True if Python computes this quotient of numbers without raising."""
    divisor = e.args[1]
    if e.op == "pow":
        return all(a.op == "const" for a in e.args) and e.args[0].value > 0 and abs(divisor.value) < 64
    return divisor.op == "size" or (divisor.op == "const" and divisor.value != 0)
