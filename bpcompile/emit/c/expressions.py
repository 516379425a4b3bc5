"""Expressions as C text: each distinct node becomes one variable, in the outermost block where its value is fixed.

In a scope with a lane axis, a value that depends on that axis is a vector (``vreal``, ``vmask``); all others are
scalars, computed outside the loop over lanes and spread where they meet vectors. Integers that differ among lanes are
vectors of reals as long as that is exact. What has no vector form is computed lane by lane.
"""

from __future__ import annotations

from typing import Final

from bpcompile.emit.c.access import index_text, load_scalar, load_vector
from bpcompile.emit.c.affine import affine, interval
from bpcompile.emit.c.scope import Scope
from bpcompile.nodes.expressions import COMPARISONS, UNARY_FUNCTIONS, Expr, const, node

_C_TYPES: Final = {"real": "real", "int": "ptrdiff_t", "bool": "smask"}
_LETTERS: Final = {"real": "x", "int": "i", "bool": "m"}
_SIGNS: Final = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_RELATIONS: Final = {"lt": "<", "le": "<=", "eq": "==", "ne": "!="}
_EXACT_INTEGERS: Final = {"float32": 1 << 24, "float64": 1 << 53}
_EXACT_IN_VECTORS: Final = ("axis", "const", "add", "sub", "neg", "mul", "min", "max", "abs", "floordiv", "mod", "where")


def scalar(scope: Scope, e: Expr) -> str:
    """C text of a value of the expression's own kind (``real``, ``ptrdiff_t`` or ``smask``): a name or a literal.

    In a scope with lanes the expression must not depend on the lane axis.
    """
    if e.op == "const":
        return _constant(scope, e)
    if e.op == "axis":
        return scope.axis(e.value)
    found = scope.find(e, False)
    if found is not None:
        return found
    home = scope.home(e)
    text = _scalar_text(home, e)
    if e.op in ("size", "flag", "seed", "stop"):
        return home.keep(e, False, text)
    name = scope.writer.fresh(_LETTERS[e.kind])
    home.lines.append(f"const {_C_TYPES[e.kind]} {name} = {text};")
    return home.keep(e, False, name)


def real(scope: Scope, e: Expr) -> str:
    """C text of a scalar of type ``real``: integers are converted, truth values become 0 and 1."""
    if e.op == "const" and e.kind != "real":
        return scope.writer.literal(float(e.value))
    text = scalar(scope, e)
    return text if e.kind == "real" else f"(real){text}"


def vector(scope: Scope, e: Expr) -> str:
    """C text of a ``vreal`` (or, for truth values, a ``vmask``) with the expression's value in each lane."""
    if not scope.is_vector(e):
        return _spread(scope, e)
    found = scope.find(e, True)
    if found is not None:
        return found
    home = scope.home(e)
    text = _vector_text(home, e)
    if e.op == "stop":
        return home.keep(e, True, text)
    name = scope.writer.fresh("m" if e.kind == "bool" else "x")
    home.lines.append(f"const {'vmask' if e.kind == 'bool' else 'vreal'} {name} = {text};")
    return home.keep(e, True, name)


def value(scope: Scope, e: Expr) -> str:
    """C text of a real value: a vector where the expression differs among lanes, else a scalar."""
    return vector(scope, e) if scope.is_vector(e) else real(scope, e)


def numeric(scope: Scope, e: Expr) -> str:
    """C text of a number: a vector in a scope with lanes, else a scalar; truth values become 0 and 1."""
    if scope.lane is None:
        return real(scope, e)
    text = vector(scope, e)
    return f"v_select({text}, v_splat({scope.writer.literal(1.0)}), v_zero())" if e.kind == "bool" else text


def _spread(scope: Scope, e: Expr) -> str:
    if e.kind == "bool":
        return f"v_ne(v_splat((real){scalar(scope, e)}), v_zero())"
    if e.op == "const" and float(e.value) == 0.0 and str(float(e.value)) == "0.0":
        return "v_zero()"
    found = scope.find(e, True)
    if found is not None:
        return found
    text = f"v_splat({real(scope, e)})"
    if e.op == "const":
        return text
    home = scope.home(e)
    name = scope.writer.fresh("x")
    home.lines.append(f"const vreal {name} = {text};")
    return home.keep(e, True, name)


def _constant(scope: Scope, e: Expr) -> str:
    if e.kind == "real":
        return scope.writer.literal(e.value)
    number = int(e.value)
    return str(number) if number >= 0 else f"({number})"


def _scalar_text(scope: Scope, e: Expr) -> str:
    if e.op == "load":
        return load_scalar(scope, e)
    if e.op == "size":
        return scope.writer.arguments.examples()
    if e.op == "flag":
        return scope.writer.arguments.training()
    if e.op == "seed":
        arguments = scope.writer.arguments
        return f"(real){arguments.step()}" if e.value == "step" else arguments.seed(e.value)
    if e.op == "draw":
        return _draw_text(scope, e)
    if e.op in COMPARISONS:
        return _relation(scope, e)
    if e.op in ("and", "or"):
        return f"{scalar(scope, e.args[0])} {'&' if e.op == 'and' else '|'} {scalar(scope, e.args[1])}"
    if e.op == "not":
        return f"!{scalar(scope, e.args[0])}"
    if e.op == "stop":
        return scalar(scope, e.args[0])
    return _integer_text(scope, e) if e.kind == "int" else _real_text(scope, e)


def _relation(scope: Scope, e: Expr) -> str:
    a, b = e.args
    if a.kind == b.kind == "int":
        return f"{scalar(scope, a)} {_RELATIONS[e.op]} {scalar(scope, b)}"
    return f"s_{e.op}({real(scope, a)}, {real(scope, b)})"


def _integer_text(scope: Scope, e: Expr) -> str:
    args = [scalar(scope, a) for a in e.args]
    if e.op in ("add", "sub", "mul"):
        return f"{args[0]} {_SIGNS[e.op]} {args[1]}"
    if e.op == "neg":
        return f"-{args[0]}"
    if e.op in ("min", "max"):
        return f"{args[0]} {'<' if e.op == 'min' else '>'} {args[1]} ? {args[0]} : {args[1]}"
    if e.op == "where":
        return f"{args[0]} ? {args[1]} : {args[2]}"
    if e.op == "abs":
        return f"{args[0]} < 0 ? -{args[0]} : {args[0]}"
    if e.op == "sign":
        return f"({args[0]} > 0) - ({args[0]} < 0)"
    if e.op in ("floordiv", "mod"):
        low = interval(e.args[0])[0]
        divisor = interval(e.args[1])[0]
        if low is not None and low >= 0 and divisor is not None and divisor > 0:
            return f"{args[0]} {'/' if e.op == 'floordiv' else '%'} {args[1]}"
        return f"{scope.writer.helper('bp_floordiv' if e.op == 'floordiv' else 'bp_floormod')}({args[0]}, {args[1]})"
    raise NotImplementedError(e.op)


def _real_text(scope: Scope, e: Expr) -> str:
    if e.op == "where":
        return f"s_select({scalar(scope, e.args[0])}, {real(scope, e.args[1])}, {real(scope, e.args[2])})"
    if e.op == "pow":
        return _power(scope, e, real(scope, e.args[0]), "s")
    return _function_text(e, [real(scope, a) for a in e.args], "s")


def _vector_text(scope: Scope, e: Expr) -> str:
    if e.op == "load":
        text = load_vector(scope, e)
        return lane_by_lane(scope, e) if text is None else text
    if e.kind == "bool":
        return _mask_text(scope, e)
    if e.kind == "int" and not _exact(scope, e):
        return lane_by_lane(scope, e)
    if e.op == "axis":
        return f"v_splat((real){scope.axis(e.value)}) + v_iota()"
    if e.op == "mod" and e.kind == "int" and e.args[0].op == "axis" and e.args[1].op == "const" and e.args[1].value > 0:
        base = int(e.args[1].value)
        return f"{scope.writer.helper('bp_last_digits')}((int)({scope.axis(e.args[0].value)} % {base}), {base})"
    if e.op == "draw":
        return _draws_text(scope, e)
    if e.op == "stop":
        return vector(scope, e.args[0])
    if e.op == "where":
        return f"v_select({', '.join(vector(scope, a) for a in e.args)})"
    if e.op == "div" and not scope.is_vector(e.args[1]):
        return _quotient(scope, e)
    if e.op in _SIGNS:
        return f"{value(scope, e.args[0])} {_SIGNS[e.op]} {value(scope, e.args[1])}"
    if e.op == "pow":
        return _power(scope, e, vector(scope, e.args[0]), "v")
    return _function_text(e, [vector(scope, a) for a in e.args], "v")


def _mask_text(scope: Scope, e: Expr) -> str:
    if e.op == "stop":
        return vector(scope, e.args[0])
    if not _comparable(scope, e):
        return f"v_ne({lane_by_lane(scope, e)}, v_zero())"
    return f"v_{e.op}({', '.join(vector(scope, a) for a in e.args)})"


def _comparable(scope: Scope, e: Expr) -> bool:
    """True if a comparison of integers comes out the same among reals.

    Rounding keeps order: an integer too large for a real compares like itself with every integer that is small enough.
    """
    wide = [a for a in e.args if a.kind == "int" and scope.is_vector(a) and not _exact(scope, a)]
    if not wide:
        return True
    others = [a for a in e.args if a is not wide[0]]
    return wide[0].op == "load" and all(a.kind == "int" and _small(scope, a) for a in others)


def _small(scope: Scope, e: Expr) -> bool:
    """True if an integer is always a real number of this type, and so is each of its parts that differs among lanes."""
    low, high = interval(e)
    bounded = low is not None and high is not None and max(-low, high) < _EXACT_INTEGERS[scope.writer.dtype]
    return bounded and (not scope.is_vector(e) or _exact(scope, e))


def _exact(scope: Scope, e: Expr) -> bool:
    """True if an integer expression can be computed with reals: every step is an integer small enough."""
    limit = _EXACT_INTEGERS[scope.writer.dtype]
    if scope.find(e, True) is not None:
        return True
    if e.op not in _EXACT_IN_VECTORS or e.kind != "int":
        return False
    low, high = interval(e)
    if low is None or high is None or max(-low, high) >= limit:
        return False
    return all(a.kind == "bool" or not scope.is_vector(a) or _exact(scope, a) for a in e.args)


def _function_text(e: Expr, args: list[str], prefix: str) -> str:
    if e.op in _SIGNS:
        return f"{args[0]} {_SIGNS[e.op]} {args[1]}"
    if e.op == "neg":
        return f"-{args[0]}"
    if e.op == "floordiv":
        return f"{prefix}_floor({args[0]} / {args[1]})"
    if e.op in UNARY_FUNCTIONS or e.op in ("min", "max", "atan2", "mod"):
        return f"{prefix}_{e.op}({', '.join(args)})"
    raise NotImplementedError(e.op)


def _quotient(scope: Scope, e: Expr) -> str:
    """A vector divided by one number for all lanes: its reciprocal is found once, outside the loop over the lanes."""
    above, below = e.args
    reciprocal = real(scope, node("div", (const(1.0), below)))
    return f"{scope.writer.helper('bp_over')}({vector(scope, above)}, {real(scope, below)}, {reciprocal})"


def _power(scope: Scope, e: Expr, base: str, prefix: str) -> str:
    """Small constant powers are products and quotients; the rest is the function ``pow``."""
    exponent = e.args[1]
    if exponent.op == "const":
        literal = scope.writer.literal(1.0)
        one = f"v_splat({literal})" if prefix == "v" else literal
        products = {1: base, 2: f"{base} * {base}", 3: f"{base} * {base} * {base}", -1: f"{one} / {base}",
                    -2: f"{one} / ({base} * {base})"}  # fmt: skip
        if exponent.value in products:
            return products[exponent.value]
    power = vector(scope, exponent) if prefix == "v" else real(scope, exponent)
    return f"{prefix}_pow({base}, {power})"


def lane_by_lane(scope: Scope, e: Expr) -> str:
    """A vector (for truth values: of 0 and 1) computed by a loop over the lanes; gives its C name."""
    lanes, index = scope.writer.fresh("lanes"), scope.writer.fresh("l")
    inner = scope.one_lane(index)
    result = real(inner, e)
    scope.lines.append(f"real {lanes}[LANES] = {{0}};")
    scope.lines.append(f"for (int {index} = 0; {index} < {scope.count or 'LANES'}; {index}++) {{")
    scope.lines.extend("    " + line for line in inner.lines)
    scope.lines.extend((f"    {lanes}[{index}] = {result};", "}"))
    return f"v_load({lanes})"


def _draw_identity(scope: Scope, e: Expr) -> str:
    """What a random number depends on: key, step, stream and element (of the first lane)."""
    arguments = scope.writer.arguments
    element = index_text(scope, affine(e.args[-1]), ())
    return f"{arguments.key()}, {arguments.step()}, UINT32_C({e.value[1]}), (uint64_t)({element})"


def _draw_text(scope: Scope, e: Expr) -> str:
    parameters = "".join(f", {real(scope, a)}" for a in e.args[:-1])
    return f"s_draw_{e.value[0]}({_draw_identity(scope, e)}{parameters})"


def _draws_text(scope: Scope, e: Expr) -> str:
    """A random number for each lane, where the elements are evenly spaced."""
    assert scope.lane is not None
    form = affine(e.args[-1])
    if any(scope.is_vector(t) and t.op != "axis" for t, _ in form.terms):
        return lane_by_lane(scope, e)
    parameters = "".join(f", {vector(scope, a)}" for a in e.args[:-1])
    return f"v_draw_{e.value[0]}({_draw_identity(scope, e)}, (uint64_t){form.factor(scope.lane)}{parameters})"
