"""The text of equations as Python's syntax trees, before it means anything: limits, names, places for error messages."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from bpcompile.errors import LanguageError, ParseError
from bpcompile.language.symbols import REDUCTION_KINDS

__all__ = ["Names", "Scan", "Scope", "check_size", "find_index_names", "is_declared", "is_reduction",
           "scan_names", "subscripts_of", "syntax_tree", "tidy"]  # fmt: skip

MAX_TEXT = 20_000
MAX_DEPTH = 100
MAX_INTEGER = 10**18
MAX_EXPONENT = 1000


#: Names that stand for numbers where nothing else is called so.
NUMBERS = ("inf", "pi")


@dataclass(frozen=True)
class Names:
    """What the names in a text stand for.

    Attributes
    ----------
    tensors : collection of str or None
        The declared tensors; None lets every other name be a tensor.
    indices : collection of str
        Names that are indices although this text may use them as values only.
    constants : mapping of str to number
        Numbers to put in the place of names.
    """

    tensors: Collection[str] | None = None
    indices: Collection[str] = ()
    constants: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Scope:
    """One text while it is read."""

    text: str
    names: Names
    left: tuple[str, ...] = ()
    indices: frozenset[str] = frozenset()
    draws: int = 0
    depth: int = 0

    def fail(self, node: Any, message: str, hint: str = "") -> NoReturn:
        """Raise an error that shows the place of a node."""
        offset = getattr(node, "col_offset", None)
        raise _error(self.text, None if offset is None else _column(self.text, offset), message, hint)


def _column(text: str, byte_offset: int) -> int:
    """Syntax trees count bytes; people count characters."""
    return len(text.encode()[:byte_offset].decode(errors="ignore"))


def _error(text: str, column: int | None, message: str, hint: str = "") -> ParseError:
    if column is None:
        return ParseError(f"{message}\n    {text[:110]}", hint=hint)
    start = max(0, column - 70)
    shown = text[start : start + 110]
    return ParseError(f"{message}\n    {shown}\n    {' ' * (column - start)}^", hint=hint, where=f"column {column + 1}")


@dataclass(frozen=True)
class Scan:
    """The names in an equation, each once, in the order of the text, before it is known what they stand for."""

    tensors: tuple[str, ...]
    indices: tuple[str, ...]
    left: str
    left_indices: tuple[str, ...]


def scan_names(text: str, names: Names) -> Scan:
    """Return the names in an equation's text; whether the text makes sense is not asked."""
    text = tidy(text)
    tree = syntax_tree(text)
    scope = Scope(text, names)
    tensors = [n.value.id for n in _in_order(tree) if isinstance(n, ast.Subscript) and isinstance(n.value, ast.Name)]
    left = ""
    if tree.body and isinstance(tree.body[0], ast.Assign):
        target = tree.body[0].targets[0]
        scope.left = tuple(s.id for s in subscripts_of(target) if isinstance(s, ast.Name))
        named = target.value if isinstance(target, ast.Subscript) else target
        left = named.id if isinstance(named, ast.Name) else ""
    indices = find_index_names(tree, scope)
    return Scan(tuple(dict.fromkeys(tensors)), tuple(dict.fromkeys(indices)), left, scope.left)


def tidy(text: str) -> str:
    """Return the text on one line, if it is text and not too long."""
    if not isinstance(text, str):
        raise LanguageError(f"An equation is text or an Equation, not {text!r}.")
    if len(text) > MAX_TEXT:
        raise ParseError(
            f"The text is {len(text)} characters long; at most {MAX_TEXT} are read.\n    {text[:80]}...",
            hint="Split it into several equations.",
        )
    return " ".join(text.split())


def syntax_tree(text: str) -> ast.Module:
    """Return Python's syntax tree of the text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        column = None if error.offset is None else min(max(error.offset - 1, 0), len(text))
        raise _error(text, column, f"This cannot be read: {error.msg}.") from None
    except (ValueError, MemoryError, RecursionError, OverflowError):
        raise _error(text, None, "This cannot be read: it is nested too deeply, or holds a strange character.") from None


def _in_order(node: ast.AST) -> list[ast.AST]:
    """All nodes in the order of the text, without recursion (the tree may be deep)."""
    found, waiting = [], [node]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting.extend(reversed(list(ast.iter_child_nodes(current))))
    return found


def subscripts_of(node: ast.expr) -> list[ast.expr]:
    """Return the subscripts of a tensor access; none for a bare name."""
    if not isinstance(node, ast.Subscript):
        return []
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def find_index_names(tree: ast.AST, scope: Scope) -> list[str]:
    """Names that occur as indices: bare in subscripts, after the first argument of a reduction, in ``size``."""
    found: list[str] = []
    for node in _in_order(tree):
        if isinstance(node, ast.Subscript):
            found += _bare_names(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "size":
                found += [a.id for a in node.args if isinstance(a, ast.Name)]
            elif node.func.id in REDUCTION_KINDS and is_reduction(node, scope):
                found += [a.id for a in node.args[1:] if isinstance(a, ast.Name)]
    return [name for name in found if not is_declared(name, scope.names)]


def _bare_names(node: ast.expr) -> list[str]:
    """The names in a subscript that are neither called nor subscripted."""
    hidden = {
        id(inner.func if isinstance(inner, ast.Call) else inner.value)
        for inner in _in_order(node)
        if isinstance(inner, (ast.Call, ast.Subscript))
    }
    return [n.id for n in _in_order(node) if isinstance(n, ast.Name) and id(n) not in hidden]


def is_declared(name: str, names: Names) -> bool:
    """Whether a name is a tensor or a constant."""
    return name in names.constants or (names.tensors is not None and name in names.tensors)


def is_reduction(node: ast.Call, scope: Scope) -> bool:
    """Whether the arguments after the first are indices to run over; always so except for max and min."""
    if not isinstance(node.func, ast.Name) or node.func.id not in ("max", "min"):
        return True
    return len(node.args) > 1 and all(
        isinstance(a, ast.Name) and not is_declared(a.id, scope.names) and a.id not in scope.left
        and a.id not in NUMBERS
        for a in node.args[1:]
    )  # fmt: skip


def check_size(node: ast.BinOp, scope: Scope) -> None:
    """Refuse towers of numbers before anything computes them."""
    exponent = _constant(node.right, scope) if isinstance(node.op, ast.Pow) else None
    if exponent is not None and abs(exponent) > MAX_EXPONENT:
        scope.fail(node.right, f"The exponent is too large; at most {MAX_EXPONENT} is read.")
    value = _constant(node, scope)
    if value is not None and abs(value) == float("inf"):
        scope.fail(node, "This number is too large for a double.", "Infinity is written inf.")
    if isinstance(node.op, (ast.Div, ast.FloorDiv, ast.Mod)) and _constant(node.right, scope) == 0:
        scope.fail(node, "This divides by zero.")


_FOLD: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}


def _constant(node: ast.expr, scope: Scope) -> float | None:
    """The rough size of a constant as a float, infinite where it overflows; None for what is no constant."""
    value: float | None = None
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        value = float(node.value) if abs(node.value) < 1e300 else float("inf")
    elif isinstance(node, ast.Name) and node.id in scope.names.constants:
        value = float(scope.names.constants[node.id])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _constant(node.operand, scope)
        value = None if inner is None else -inner if isinstance(node.op, ast.USub) else inner
    elif isinstance(node, ast.BinOp) and type(node.op) in _FOLD:
        value = _folded(node, scope)
    return value


def _folded(node: ast.BinOp, scope: Scope) -> float | None:
    a, b = _constant(node.left, scope), _constant(node.right, scope)
    if a is None or b is None:
        return None
    try:
        result = _FOLD[type(node.op)](a, b)
    except OverflowError:
        return float("inf")
    except ZeroDivisionError:
        return None
    return result if isinstance(result, float) else None


