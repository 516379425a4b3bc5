"""What is alike apart from the names of tensors: found, renamed back, and not found where anything else differs."""

from __future__ import annotations

import gc

from bpcompile.calculus.gather import Gathering, gather
from bpcompile.nodes import expressions as nodes
from bpcompile.nodes.expressions import Axis, Expr, axis, const, load, node
from bpcompile.nodes.likeness import Shapes
from bpcompile.nodes.renaming import Renaming
from bpcompile.nodes.statements import Statement

N, J, D = Axis("n", None), Axis("j", 4), Axis("i", 3)


def _product(weight: str, value: str, i: Axis = D) -> Expr:
    return node("mul", (load(weight, (axis(J), axis(i))), load(value, (axis(N), axis(i)))))


def _shape(target: str, body: Expr, i: Axis = D) -> tuple[object, tuple[str, ...]]:
    shapes = Shapes()
    shapes.statement(Statement(target, (axis(N), axis(J)), (N, J), body, "sum", (i,)))
    return shapes.shape(), tuple(shapes.tensors)


def test_renamed_tensors_give_the_same_shape() -> None:
    first, second = _shape("z", _product("W", "x")), _shape("q", _product("V", "z"))
    assert first[0] == second[0]
    assert dict(zip(first[1], second[1], strict=True)) == {"W": "V", "x": "z", "z": "q"}


def test_anything_else_gives_another_shape() -> None:
    plain = _shape("z", _product("W", "x"))[0]
    longer = Axis("i", 5)
    assert plain != _shape("z", _product("W", "x", longer), longer)[0]
    assert plain != _shape("z", _product("W", "W"))[0], "one tensor is not two"
    assert plain != _shape("x", _product("W", "x"))[0], "a target that is read is not one that is not"
    assert _shape("z", const(1))[0] != _shape("z", const(1.0))[0]


def test_tensors_are_renamed_at_once() -> None:
    swapped = Renaming({"W": "x", "x": "W"}).expression(_product("W", "x"))
    assert swapped is _product("x", "W")


def test_a_gathered_contribution_is_used_again_under_other_names() -> None:
    gathering = Gathering()
    for weight, value in (("W", "x"), ("V", "z"), ("x", "W")):
        body = node("mul", (load("bar", (axis(N), axis(J))), load(weight, (axis(J), axis(D)))))
        subscripts = (axis(N), axis(D))
        places = (Axis("n", None), Axis("k", 3))
        again = gathering.gather(body, subscripts, (N, J, D), places)
        fresh = gather(body, subscripts, (N, J, D), places)
        assert again is not None and fresh is not None
        assert again.expression is fresh.expression and again.solved == fresh.solved, value


def test_nodes_without_users_are_forgotten() -> None:
    gc.collect()
    before = len(nodes._interned)
    made = load("a tensor of this test", (node("add", (axis(J), const(123456))),))
    assert made is load("a tensor of this test", (node("add", (axis(J), const(123456))),))
    assert len(nodes._interned) > before
    del made
    gc.collect()
    assert len(nodes._interned) <= before + 1, "only the axis, which is kept, may be new"
