"""What stands on the page has the value of the tree that was laid out: parentheses, signs and subscripts are right."""

from __future__ import annotations

import numpy as np
import pytest

from bpcompile.derivation.axes import bound_axes
from bpcompile.derivation.context import Options, context_of
from bpcompile.derivation.document import Document
from bpcompile.derivation.numeric import random_world
from bpcompile.derivation.sections.chain import chain_section
from bpcompile.derivation.sections.layers import layers_section
from bpcompile.derivation.sections.network import network_section
from bpcompile.nodes.expressions import children_first
from tests.derivation.networks import NETWORKS
from tests.derivation.reading import Reader


@pytest.mark.parametrize(
    "name",
    ["sigmoid", "cross_entropy", "logits", "residual", "recurrence", "normalization", "attention", "embedding", "convolution"],
)
def test_the_page_says_what_the_tree_says(name: str) -> None:
    context = context_of(NETWORKS[name](), Options())
    document = Document("", (network_section(context), chain_section(context), layers_section(context)))
    world = random_world(context)
    world.values.arrays |= world.adjoints()
    generator = np.random.default_rng(0)
    compared = 0
    for equation in document.equations():
        for line in equation.lines:
            tree = line.tree
            if tree is None or line.matrix or any(x.op in ("partial", "argmax") for x in children_first(tree)):
                continue
            if any(x.op == "reduce" and x.value[0].startswith("arg") for x in children_first(tree)):
                continue
            extents = {a.name: world.values.extent(a) for a in (*equation.axes, *bound_axes(tree))}
            reader = Reader(context.names, world.values.arrays, extents)
            whole = world.values.over(tree, equation.axes)
            for _ in range(3):
                place = tuple(int(generator.integers(0, e)) for e in whole.shape)
                env = {a.name: i for a, i in zip(equation.axes, place, strict=True)}
                assert reader.value(line.shown, env) == pytest.approx(float(whole[place]), abs=1e-9), equation.label
                compared += 1
    assert compared > 20
