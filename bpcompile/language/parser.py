"""Text to equations: a parser of our own over Python's syntax trees, with a white list.

Nothing in the text is ever executed or evaluated; what is not in the tables below is refused. The trees that come out are
what was typed: nothing is flattened, sorted or folded.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection
from functools import singledispatch
from typing import Any

import sympy

from bpcompile.errors import LanguageError, nearest
from bpcompile.language.equation import Equation
from bpcompile.language.functions import FUNCTIONS, exact_call
from bpcompile.language.symbols import (
    REDUCTION_KINDS,
    TRAINING,
    Access,
    Draw,
    FloorDivide,
    Index,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    Maximum,
    Minimum,
    Modulo,
    Reduction,
    SizeOf,
    StopGradient,
    Where,
)
from bpcompile.language.syntax import (
    MAX_DEPTH,
    MAX_INTEGER,
    Names,
    Scope,
    check_size,
    find_index_names,
    is_declared,
    is_reduction,
    subscripts_of,
    syntax_tree,
    tidy,
)

__all__ = ["Names", "parse_equation", "parse_expression"]

_CONSTANTS = {"inf": sympy.oo, "pi": sympy.pi}
_HALF = sympy.Rational(1, 2)
_MINUS = sympy.Integer(-1)


def parse_equation(text: str, names: Names | None = None) -> Equation:
    """Return the equation that `text` states.

    Parameters
    ----------
    text : str
        ``left = right``, such as ``z[n,j] = sum(W[j,i]*x[n,i], i) + b[j]``.
    names : Names, optional
        The tensors, indices and constants that are known.

    Raises
    ------
    ParseError
        If the text is not in the grammar; the message shows the place.
    LanguageError
        If it is, and means nothing: an index that is neither on the left nor reduced, ...

    Examples
    --------
    >>> print(parse_equation("a[n,j] = z[n,j]/(1 + exp(-z[n,j]))").rhs)
    z[n,j]/(1 + exp(-z[n,j]))
    """
    text = tidy(text)
    tree = syntax_tree(text)
    scope = Scope(text, names or Names())
    statement = tree.body[0] if tree.body else None
    if len(tree.body) > 1:
        scope.fail(tree.body[1], "One text states one equation.", "Give several equations as a list.")
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        hint = "Write '=' and not '=='." if isinstance(getattr(statement, "value", None), ast.Compare) else ""
        scope.fail(statement, "An equation has the form 'left = right'.", hint or "For example: y[n,i] = 2*x[n,i].")
    target = statement.targets[0]
    if not isinstance(target, (ast.Name, ast.Subscript)):
        scope.fail(target, "On the left of an equation stands one tensor element, such as z[n,j].")
    scope.left = tuple(s.id for s in subscripts_of(target) if isinstance(s, ast.Name))
    scope.indices = frozenset(find_index_names(statement, scope)) | frozenset(scope.names.indices)
    name = target.id if isinstance(target, ast.Name) else _tensor_name(target, scope)
    lhs = Access(name, *(_expression(s, scope) for s in subscripts_of(target)))
    rhs = _expression(statement.value, scope)
    return Equation(lhs, rhs, text)


def parse_expression(text: str, names: Names | None = None) -> sympy.Expr:
    """Return the expression that `text` states, such as ``z*tanh(log(1+exp(z)))``; bare names are scalar tensors.

    Raises
    ------
    ParseError
        If the text is not in the grammar.
    """
    text = tidy(text)
    tree = syntax_tree(text)
    scope = Scope(text, names or Names())
    statement = tree.body[0] if len(tree.body) == 1 else None
    if not isinstance(statement, ast.Expr):
        scope.fail(statement, "One expression was expected, without '='.")
    scope.indices = frozenset(find_index_names(statement, scope)) | frozenset(scope.names.indices)
    return _expression(statement.value, scope)


# Expressions: one function for each kind of node that is allowed.


def _expression(node: Any, scope: Scope) -> sympy.Expr:
    scope.depth += 1
    if scope.depth > MAX_DEPTH:
        scope.fail(node, f"The formula is nested more than {MAX_DEPTH} deep.", "Split it into several equations.")
    result = _convert(node, scope)
    scope.depth -= 1
    return result


_REFUSED = {
    ast.Attribute: ("A dot has no meaning here: names are plain.", "Write exp(x), not np.exp(x)."),
    ast.Lambda: ("A lambda is not part of the language.", "State the formula itself."),
    ast.ListComp: ("A comprehension is not part of the language.", "Reduce over an index: sum(x[n,i], i)."),
    ast.GeneratorExp: ("A comprehension is not part of the language.", "Reduce over an index: sum(x[n,i], i)."),
    ast.IfExp: ("'if' and 'else' are not part of the language.", "Write where(condition, a, b)."),
    ast.Slice: ("A slice is not part of the language.", "Name the index: x[n,i]."),
    ast.Compare: ("A comparison is a condition, not a number.", "Write where(a < b, 1, 0)."),
    ast.BoolOp: ("'and' and 'or' make conditions, not numbers.", "Write where(a and b, 1, 0)."),
    ast.Tuple: ("A comma has no meaning here.", ""),
    ast.Call: ("Only functions are called, by their names.", ""),
}


@singledispatch
def _convert(node: Any, scope: Scope) -> sympy.Expr:
    message, hint = _REFUSED.get(type(node), (f"'{type(node).__name__}' is not part of the language.", ""))
    scope.fail(node, message, hint)


@_convert.register
def _(node: ast.Constant, scope: Scope) -> sympy.Expr:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        scope.fail(node, f"{value!r} is not a number of the language.", "Numbers are integers and decimals.")
    return _number(value, node, scope)


def _number(value: float, node: Any, scope: Scope) -> sympy.Expr:
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            scope.fail(node, "This integer is too large.", "Write it as a decimal, such as 1e30.")
        return sympy.Integer(value)
    if value in (float("inf"), float("-inf")):
        scope.fail(node, "This number is too large for a double.", "Infinity is written inf.")
    return sympy.Float(value)


@_convert.register
def _(node: ast.Name, scope: Scope) -> sympy.Expr:
    name, names = node.id, scope.names
    if name in names.constants:
        return _number(names.constants[name], node, scope)
    if names.tensors is not None and name in names.tensors:
        return Access(name)
    if name in scope.indices:
        return Index(name)
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    if name == "training":
        scope.fail(node, "'training' is a condition, not a number.", "Write where(training, a, b).")
    if name in _CALLS or name in FUNCTIONS:
        scope.fail(node, f"'{name}' is a function and needs its arguments in parentheses.")
    if names.tensors is None:
        return Access(name)
    known = [*names.tensors, *names.constants, *scope.indices]
    return scope.fail(
        node,
        f"'{name}' is neither a tensor, nor an index, nor a constant.",
        nearest(name, known) or f"Declare it; known are {', '.join(sorted(known))}.",
    )


def _tensor_name(node: ast.Subscript, scope: Scope) -> str:
    if isinstance(node.value, ast.Subscript):
        scope.fail(node, "Subscripts stand in one pair of brackets.", "Write x[n,i], not x[n][i].")
    if not isinstance(node.value, ast.Name):
        scope.fail(node, "Only a tensor's name takes subscripts.")
    return node.value.id


@_convert.register
def _(node: ast.Subscript, scope: Scope) -> sympy.Expr:
    name = _tensor_name(node, scope)
    known = scope.names.tensors
    if known is not None and name not in known:
        scope.fail(node, f"There is no tensor '{name}'.", nearest(name, known) or _listing(known))
    return Access(name, *(_expression(s, scope) for s in subscripts_of(node)))


def _listing(known: Collection[str]) -> str:
    return f"Known are {', '.join(sorted(known))}." if known else ""


@_convert.register
def _(node: ast.UnaryOp, scope: Scope) -> sympy.Expr:
    if isinstance(node.op, ast.UAdd):
        return _expression(node.operand, scope)
    if not isinstance(node.op, ast.USub):
        scope.fail(node, "Of the signs in front of a number, there are + and -.", "'not' makes a condition.")
    inner = _expression(node.operand, scope)
    return -inner if isinstance(node.operand, ast.Constant) else _multiply(_MINUS, inner)


def _add(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return sympy.Add(a, b, evaluate=False)


def _multiply(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return sympy.Mul(a, b, evaluate=False)


def _power(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return sympy.Pow(a, b, evaluate=False)


_OPERATORS: dict[type[ast.operator], Callable[[sympy.Expr, sympy.Expr], sympy.Expr]] = {
    ast.Add: _add,
    ast.Sub: lambda a, b: _add(a, _multiply(_MINUS, b)),
    ast.Mult: _multiply,
    ast.Div: lambda a, b: _multiply(a, _power(b, _MINUS)),
    ast.Pow: _power,
    ast.FloorDiv: FloorDivide,
    ast.Mod: Modulo,
}

_OPERATOR_HINTS: dict[type[ast.operator], str] = {
    ast.BitXor: "A power is written x**2.",
    ast.BitAnd: "Conditions are joined by 'and'.",
    ast.BitOr: "Conditions are joined by 'or'.",
    ast.MatMult: "A matrix product is a sum over an index: sum(W[j,i]*x[n,i], i).",
}


@_convert.register
def _(node: ast.BinOp, scope: Scope) -> sympy.Expr:
    build = _OPERATORS.get(type(node.op))
    if build is None:
        scope.fail(node, "This operator is not part of the language.", _OPERATOR_HINTS.get(type(node.op), ""))
    check_size(node, scope)
    return build(_expression(node.left, scope), _expression(node.right, scope))


# Calls.


@_convert.register
def _(node: ast.Call, scope: Scope) -> sympy.Expr:
    if not isinstance(node.func, ast.Name):
        if isinstance(node.func, ast.Attribute):
            return _convert(node.func, scope)
        scope.fail(node, *_REFUSED[ast.Call])
    name = node.func.id
    if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
        scope.fail(node, f"'{name}' takes plain arguments, in order.")
    special = _CALLS.get(name)
    if special is not None:
        return special(node, scope)
    if name not in FUNCTIONS:
        if name in scope.names.constants or is_declared(name, scope.names):
            scope.fail(node, f"'{name}' is a tensor, and is not called.", f"Subscripts stand in brackets: {name}[...].")
        scope.fail(
            node,
            f"There is no function '{name}'.",
            nearest(name, [*FUNCTIONS, *_CALLS]) or f"There are {', '.join([*FUNCTIONS, *_CALLS])}.",
        )
    arguments = _arguments(node, scope, FUNCTIONS[name].arity)
    return exact_call(name, *arguments)


def _arguments(node: ast.Call, scope: Scope, count: int) -> list[sympy.Expr]:
    if len(node.args) != count:
        name = node.func.id if isinstance(node.func, ast.Name) else "this"
        plural = "argument" if count == 1 else "arguments"
        scope.fail(node, f"'{name}' takes {count} {plural}, and {len(node.args)} came.")
    return [_expression(a, scope) for a in node.args]


def _call_reduction(node: ast.Call, scope: Scope) -> sympy.Expr:
    kind = node.func.id if isinstance(node.func, ast.Name) else ""
    if len(node.args) < 2:
        scope.fail(node, f"'{kind}' needs the index to run over.", f"Write {kind}(x[n,i], i).")
    if not is_reduction(node, scope):
        pairwise: Any = Maximum if kind == "max" else Minimum
        result = _expression(node.args[0], scope)
        for argument in node.args[1:]:
            result = pairwise(result, _expression(argument, scope))
        return result
    bound = []
    for argument in node.args[1:]:
        if not isinstance(argument, ast.Name) or is_declared(argument.id, scope.names):
            scope.fail(argument, f"'{kind}' runs over indices; this is none.", f"Write {kind}(x[n,i], i).")
        bound.append(Index(argument.id))
    body = _expression(node.args[0], scope)
    try:
        return Reduction(kind, body, bound)
    except LanguageError as error:
        scope.fail(node, error.message, error.hint)


def _call_where(node: ast.Call, scope: Scope) -> sympy.Expr:
    if len(node.args) != 3:
        scope.fail(node, f"'where' takes a condition and two values, and {len(node.args)} arguments came.")
    condition = _condition(node.args[0], scope)
    return Where(condition, _expression(node.args[1], scope), _expression(node.args[2], scope))


def _call_size(node: ast.Call, scope: Scope) -> sympy.Expr:
    if len(node.args) != 1 or not isinstance(node.args[0], ast.Name) or is_declared(node.args[0].id, scope.names):
        scope.fail(node, "'size' takes one index.", "Write size(i).")
    return SizeOf(Index(node.args[0].id))


def _call_draw(kind: str, count: int) -> Callable[[ast.Call, Scope], sympy.Expr]:
    def call(node: ast.Call, scope: Scope) -> sympy.Expr:
        parameters = _arguments(node, scope, count)
        scope.draws += 1
        return Draw(kind, parameters, scope.draws - 1)

    return call


_CALLS: dict[str, Callable[[ast.Call, Scope], sympy.Expr]] = {
    **dict.fromkeys(REDUCTION_KINDS, _call_reduction),
    "where": _call_where,
    "size": _call_size,
    "stop_gradient": lambda node, scope: StopGradient(*_arguments(node, scope, 1)),
    "sqrt": lambda node, scope: sympy.Pow(*_arguments(node, scope, 1), _HALF, evaluate=False),
    "bernoulli": _call_draw("bernoulli", 1),
    "normal": _call_draw("normal", 0),
}


# Conditions.

_COMPARISONS: dict[type[ast.cmpop], Any] = {
    ast.Lt: sympy.Lt,
    ast.LtE: sympy.Le,
    ast.Gt: sympy.Gt,
    ast.GtE: sympy.Ge,
    ast.Eq: sympy.Eq,
    ast.NotEq: sympy.Ne,
}


def _condition(node: ast.expr, scope: Scope) -> Any:
    scope.depth += 1
    if scope.depth > MAX_DEPTH:
        scope.fail(node, f"The condition is nested more than {MAX_DEPTH} deep.")
    result = _convert_condition(node, scope)
    scope.depth -= 1
    return result


@singledispatch
def _convert_condition(node: Any, scope: Scope) -> Any:
    scope.fail(node, "A condition was expected here.", "Compare with < <= > >= == !=, join with and, or, not.")


@_convert_condition.register
def _(node: ast.Name, scope: Scope) -> Any:
    if node.id != "training":
        scope.fail(node, f"'{node.id}' is not a condition.", f"Compare it, as in {node.id} != 0, or write training.")
    return TRAINING


@_convert_condition.register
def _(node: ast.Compare, scope: Scope) -> Any:
    values = [_expression(value, scope) for value in (node.left, *node.comparators)]
    result: Any = None
    for a, operator, b in zip(values[:-1], node.ops, values[1:], strict=True):
        compare = _COMPARISONS.get(type(operator))
        if compare is None:
            scope.fail(node, "Comparisons are < <= > >= == !=.")
        pair = compare(a, b, evaluate=False)
        result = pair if result is None else LogicalAnd(result, pair)
    return result


@_convert_condition.register
def _(node: ast.BoolOp, scope: Scope) -> Any:
    join = LogicalAnd if isinstance(node.op, ast.And) else LogicalOr
    first, *rest = (_condition(value, scope) for value in node.values)
    for value in rest:
        first = join(first, value)
    return first


@_convert_condition.register
def _(node: ast.UnaryOp, scope: Scope) -> Any:
    if not isinstance(node.op, ast.Not):
        scope.fail(node, "A condition was expected here, and this is a number.")
    return LogicalNot(_condition(node.operand, scope))
