"""Statements of a program as NumPy text: products under sums become matrix products, scatters ``np.add.at``."""

from __future__ import annotations

from bpcompile.emit.numpy_expression import Frame, Text, Writer
from bpcompile.nodes.expressions import Axis, Expr
from bpcompile.nodes.quotients import kept_quotients
from bpcompile.nodes.statements import Statement

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def write_statement(w: Writer, s: Statement, known: set[str]) -> None:
    """Add the lines of a statement; `known` holds the tensors that exist already, and gains the target."""
    axes = tuple(a for a in s.axes if a not in w.running)
    w.start((s.body, *s.subscripts))
    target = w.names.of(s.target)
    basic = w.basic_index(s.target, s.subscripts, guarded=False)
    if basic is None:
        allocate(w, s.target, known)
        _scatter(w, s, axes, target)
        return
    places = basic.axes
    extra = tuple(a for a in axes if a not in places)
    value = _reduced(w, s, places, extra)
    whole = basic.text == "" and not any(a is None for a in basic.all_axes)
    if s.target not in known and whole and not w.running:
        _create(w, s, places, target, value)
    else:
        allocate(w, s.target, known)
        place = basic.text or ("" if s.accumulate and s.subscripts else "[...]")
        w.lines.append(f"{target}{place} {'+=' if s.accumulate else '='} {value.text}")
    known.add(s.target)


def allocate(w: Writer, tensor: str, known: set[str]) -> None:
    """Add the line that makes a tensor of zeros, unless it exists."""
    if tensor in known:
        return
    known.add(tensor)
    w.lines.append(f"{w.names.of(tensor)} = np.zeros({w.shape(tensor)}, {_element(w, tensor)})")


def _element(w: Writer, tensor: str) -> str:
    if w.tensors[tensor].kind == "int":
        return "np.int64"
    return "real"


def _create(w: Writer, s: Statement, places: Frame, target: str, value: Text) -> None:
    """``target = value``, broadcast where the value does not depend on every axis."""
    body = s.body
    if set(places) <= w.depends(body) and s.subscripts:
        # A bare access would be a second name for the same memory.
        fresh = s.reduce is not None or body.op not in ("load", "stop")
        text = value.text if fresh else f"np.array({value.text})"
        if s.reduce is None and body.kind == "int" and w.tensors[s.target].kind != "int":
            text = f"{value.within(9)}.astype(real)"
        w.lines.append(f"{target} = {text}")
        return
    if s.subscripts:
        w.lines.append(f"{target} = np.full({w.shape(s.target)}, {value.text}, {_element(w, s.target)})")
    else:
        w.lines.append(f"{target} = np.array({value.text}, {_element(w, s.target)})")


def _scatter(w: Writer, s: Statement, axes: Frame, target: str) -> None:
    value = w.top(s.body, axes) if s.reduce is None else _reduction(w, s, axes, s.over)
    index = w.positions(s.target, s.subscripts, axes)
    if s.accumulate and len(s.subscripts) == 1:
        # add.at of NumPy 2.4 reads past a row of values that belongs to an array of places.
        several = any(a in w.depends(s.subscripts[0]) for a in axes[:-1])
        w.lines.append(f"np.add.at({target}, ({index},), {f'np.atleast_2d({value.text})' if several else value.text})")
    elif s.accumulate:
        w.lines.append(f"np.add.at({target}, ({index}), {value.text})")
    else:
        w.lines.append(f"{target}[{index}] = {value.text}")


def _reduced(w: Writer, s: Statement, places: Frame, extra: Frame) -> Text:
    """The value over the target's axes; axes that the target does not have are summed."""
    if s.reduce == "sum" or (s.reduce is None and extra):
        return _sum(w, s.body, places, (*extra, *s.over))
    if s.reduce is None:
        return w.top(s.body, places)
    inner = _reduction(w, s, (*places, *extra), s.over)
    if not extra:
        return inner
    return _along(inner, "sum", len(extra))


def _reduction(w: Writer, s: Statement, places: Frame, over: Frame) -> Text:
    kind = s.reduce
    if kind == "sum":
        return _sum(w, s.body, places, over)
    if kind in ("argmax", "argmin"):
        return _position_of(w, s.body, places, over, kind)
    present = tuple(a for a in over if a in w.depends(s.body))
    return _along(w.value(s.body, (*places, *present)), str(kind), len(present)) if present else w.value(s.body, places)


def _position_of(w: Writer, body: Expr, places: Frame, over: Frame, kind: str) -> Text:
    frame = (*places, *over)
    text = w.value(body, frame)
    if not set(frame) <= w.depends(body):
        shape = ", ".join(w.extent(a) for a in frame)
        text = Text(f"np.broadcast_to({text.text}, ({shape}{',' if len(frame) == 1 else ''}))")
    if len(over) > 1:
        shape = ", ".join([*(w.extent(a) for a in places), "-1"])
        text = Text(f"{text.within(9)}.reshape({shape})")
    return Text(f"{text.within(9)}.{kind}(axis=-1)")


def _along(array: Text, kind: str, last: int, first: int = 0) -> Text:
    """A reduction over the last axes, and over the first ones."""
    axes = [*range(first), *range(-last, 0)]
    return Text(f"{array.within(9)}.{kind}(axis={axes[0] if len(axes) == 1 else tuple(axes)})")


# --- sums -------------------------------------------------------------------------------------------------------------


def _sum(w: Writer, body: Expr, places: Frame, over: Frame) -> Text:
    """``sum(body, over)`` with what does not depend on `over` outside the sum."""
    negative, factors, divisors = _product(w, body, over, kept_quotients(body))
    inside = [f for f in factors if w.depends(f) & set(over)]
    outside = [f for f in factors if f not in inside]
    absent = tuple(a for a in over if not any(a in w.depends(f) for f in inside))
    summed = tuple(a for a in over if a not in absent)
    parts = [_sum_of_product(w, inside, places, summed)] if inside else []
    parts += [w.as_real(f, places) for f in outside]
    parts += [Text(w.extent(a)) for a in absent]
    text = Text(" * ".join(p.within(6) for p in parts), 6) if len(parts) > 1 else parts[0]
    for d in divisors:
        text = Text(f"{text.within(6)} / {w.as_real(d, places).within(7)}", 6)
    return Text(f"-{text.within(7)}", 7) if negative else text


def _product(w: Writer, e: Expr, over: Frame, kept: frozenset[Expr]) -> tuple[bool, list[Expr], list[Expr]]:
    """The sign, the factors (some quotients are `kept` whole), and the divisors that do not depend on `over`."""
    if e.op == "mul" and e.kind == "real":
        a, b = (_product(w, x, over, kept) for x in e.args)
        return a[0] != b[0], a[1] + b[1], a[2] + b[2]
    if e.op == "neg":
        negative, factors, divisors = _product(w, e.args[0], over, kept)
        return not negative, factors, divisors
    if e.op == "div" and e not in kept and not w.depends(e.args[1]) & set(over):
        negative, factors, divisors = _product(w, e.args[0], over, kept)
        return negative, factors, [*divisors, e.args[1]]
    return False, [e], []


def _sum_of_product(w: Writer, factors: list[Expr], places: Frame, over: Frame) -> Text:
    groups = _groups(w, factors)
    if len(groups) == 1:
        # The batch is summed where it stands, in front; turning the array round would only cost time.
        front = tuple(a for a in over if a.extent is None)
        behind = tuple(a for a in over if a not in front)
        return _along(_multiplied(w, groups[0], (*front, *places, *behind)), "sum", len(behind), len(front))
    shapes = [w.depends(group[0]).union(*(w.depends(f) for f in group)) for group in groups]
    present = tuple(a for a in places if any(a in shape for shape in shapes))
    text = _matrix_product(w, groups, shapes, present, over) or _einsum(w, groups, shapes, present, over)
    return _spread(text, present, places)


def _groups(w: Writer, factors: list[Expr]) -> list[list[Expr]]:
    """Factors over the same axes are multiplied element by element."""
    groups: dict[frozenset[Axis], list[Expr]] = {}
    for f in factors:
        groups.setdefault(w.depends(f), []).append(f)
    return list(groups.values())


def _multiplied(w: Writer, factors: list[Expr], frame: Frame) -> Text:
    texts = [w.as_real(f, frame) for f in factors]
    return texts[0] if len(texts) == 1 else Text(" * ".join(t.within(6) for t in texts), 6)


def _matrix_product(
    w: Writer, groups: list[list[Expr]], shapes: list[frozenset[Axis]], places: Frame, over: Frame
) -> Text | None:
    """``left @ right`` where the sum is one; None where it is something else."""
    if len(groups) != 2 or len(over) != 1 or any(over[0] not in shape for shape in shapes):
        return None
    shared = tuple(a for a in places if all(a in shape for shape in shapes))
    own = [tuple(a for a in places if a in shape and a not in shared) for shape in shapes]
    for first, second in ((0, 1), (1, 0)):
        rows, columns = own[first], own[second]
        fits = len(rows) == len(columns) == 1 if shared else len(columns) <= 1
        if fits and (*shared, *rows, *columns) == places:
            left = _multiplied(w, groups[first], (*shared, *rows, *over))
            right = _multiplied(w, groups[second], (*shared, *over, *columns))
            return Text(f"{left.within(6)} @ {right.within(7)}", 6)
    return None


def _einsum(w: Writer, groups: list[list[Expr]], shapes: list[frozenset[Axis]], places: Frame, over: Frame) -> Text:
    axes = [*places, *over]
    letters: dict[Axis, str] = {}
    for a in axes:
        own = a.name if len(a.name) == 1 and a.name in _LETTERS and a.name not in letters.values() else ""
        letters[a] = own or next(x for x in _LETTERS if x not in letters.values() and x not in {b.name for b in axes})
    operands = []
    terms = []
    for group, shape in zip(groups, shapes, strict=True):
        frame = tuple(a for a in axes if a in shape)
        terms.append("".join(letters[a] for a in frame))
        operands.append(_multiplied(w, group, frame).text)
    signature = f"{','.join(terms)}->{''.join(letters[a] for a in places)}"
    return Text(f"np.einsum({signature!r}, {', '.join(operands)}, optimize=True)")


def _spread(text: Text, present: Frame, places: Frame) -> Text:
    """Line up a value over some of the axes with all of them."""
    if not present or present == places[len(places) - len(present) :]:
        return text
    items: list[str] = []
    for a in places[places.index(present[0]) :]:
        items.append(":" if a in present else "None")
    return Text(f"{text.within(9)}[{', '.join(items)}]")
