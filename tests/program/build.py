"""Programs for tests from lines of text such as ``z[n,j] = sum(W[j,i]*x[n,i], i)``."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from bpcompile.nodes.expressions import ARITY, Axis, Expr, axes_of, axis, const, load, node, size
from bpcompile.nodes.statements import Origin, Phase, Program, Statement, Step, Tensor, TimeLoop

_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow", ast.FloorDiv: "floordiv",
           ast.Mod: "mod"}  # fmt: skip
_REDUCTIONS = ("sum", "max", "min", "argmax", "argmin", "mean")


class Builder:
    """Reads statements; axes are given by extents, integer tensors by name."""

    def __init__(self, extents: Mapping[str, int | None], integers: tuple[str, ...] = ()) -> None:
        self.axes = {name: Axis(name, e) for name, e in extents.items()}
        self.integers = integers

    def expression(self, e: ast.expr) -> Expr:
        match e:
            case ast.Constant(value=value):
                return const(value)
            case ast.Name(id="inf"):
                return const(float("inf"))
            case ast.Name(id="training"):
                return node("flag", (), "training")
            case ast.Name(id=name):
                return axis(self.axes[name]) if name in self.axes else load(name, ())
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                parts = index.elts if isinstance(index, ast.Tuple) else [index]
                kind = "int" if name in self.integers else "real"
                return load(name, [self.expression(p) for p in parts], kind)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)):
                return const(-value)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return node("neg", (self.expression(operand),))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return node("not", (self.expression(operand),))
            case ast.BinOp(left=left, op=op, right=right):
                return node(_BINARY[type(op)], (self.expression(left), self.expression(right)))
            case ast.BoolOp(op=op, values=values):
                result = self.expression(values[0])
                for v in values[1:]:
                    result = node("and" if isinstance(op, ast.And) else "or", (result, self.expression(v)))
                return result
            case ast.Compare(left=left, ops=ops, comparators=right):
                result = None
                for op, r in zip(ops, right, strict=True):
                    pair = (self.expression(left), self.expression(r))
                    name = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "lt", ast.GtE: "le", ast.Eq: "eq", ast.NotEq: "ne"}
                    part = node(name[type(op)], pair[::-1] if isinstance(op, ast.Gt | ast.GtE) else pair)
                    result = part if result is None else node("and", (result, part))
                    left = r
                return result
            case ast.Call(func=ast.Name(id="size"), args=[ast.Name(id=name)]):
                return size(self.axes[name])
            case ast.Call(func=ast.Name(id=name), args=args) if name in ARITY:
                return node(name, tuple(map(self.expression, args)))
        raise ValueError(ast.dump(e))

    def statement(self, line: str, phase: Phase = "forward") -> Statement:
        left, right = line.split(" += ") if " += " in line else line.split(" = ")
        target = self.expression(ast.parse(left.strip(), mode="eval").body)
        body = ast.parse(right.strip(), mode="eval").body
        reduce, over = None, ()
        if isinstance(body, ast.Call) and body.func.id in _REDUCTIONS and isinstance(body.args[-1], ast.Name) and (
            body.args[-1].id in self.axes
        ):
            reduce = body.func.id
            over = tuple(self.axes[a.id] for a in body.args[1:])
            body = body.args[0]
        value = self.expression(body)
        used = [a for e in (*target.args, value) for a in axes_of(e)]
        axes = tuple(dict.fromkeys(a for a in used if a not in over))
        return Statement(target.value[0], target.args, axes, value, reduce, over, " += " in line, Origin(phase=phase))

    def loop(self, name: str, reverse: bool, lines: str, phase: Phase = "forward") -> TimeLoop:
        a = self.axes[name]
        body = []
        for line in lines.strip().splitlines():
            s = self.statement(line.strip(), phase)
            body.append(Statement(s.target, s.subscripts, tuple(b for b in s.axes if b != a), s.body, s.reduce, s.over,
                                  s.accumulate, s.origin))  # fmt: skip
        return TimeLoop(a, reverse, tuple(body))

    def lines(self, text: str, phase: Phase = "forward") -> list[Step]:
        return [self.statement(line.strip(), phase) for line in text.strip().splitlines()]

    def program(self, steps: list[Step], roles: Mapping[str, str] = {}, **extra: Tensor) -> Program:
        """``roles`` maps names to roles, a gradient being ``gradient:W``; shapes are read off the subscripts."""
        shapes: dict[str, tuple[int | None, ...]] = {}
        for s in (s for step in steps for s in (step.body if isinstance(step, TimeLoop) else (step,))):
            for name, subscripts in [(s.target, s.subscripts), *((e.value[0], e.args) for e in _loads(s))]:
                if all(e.op == "axis" for e in subscripts):
                    shapes.setdefault(name, tuple(e.value.extent for e in subscripts))
        tensors = {}
        for name in [*(n for n in roles if n in shapes or n in extra), *(n for n in shapes if n not in roles)]:
            role, _, of = roles.get(name, "temporary").partition(":")
            kind = "int" if name in self.integers else "real"
            tensors[name] = extra.get(name) or Tensor(name, shapes[name], role, kind, of=of)
        return Program("test", tensors, tuple(steps), tuple(n for n, t in tensors.items() if t.role in ("loss", "output")))


def _loads(s: Statement) -> list[Expr]:
    from bpcompile.nodes.expressions import loads

    return [e for root in (*s.subscripts, s.body) for e in loads(root)]
