"""Every printed line holds: against differences, against the generated code, in the form that a lecturer would write."""

from __future__ import annotations

import pytest

import bpcompile as bp
from bpcompile.errors import BPCompileError
from tests.derivation.networks import NETWORKS, derived


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_equation_holds(name: str) -> None:
    check = derived(name).check()
    assert [r.equation.label for r in check.rows if not r.passed] == []
    gradients = [r for r in check.rows if r.equation.claim.kind == "gradient"]
    assert gradients
    assert any(r.generated is not None for r in gradients), "the generated code was compared"
    assert max(r.magnitude for r in gradients) > 1e-3, "nothing but zeros was compared"


@pytest.mark.parametrize("layout", ["column", "row"])
@pytest.mark.parametrize("level", ["student", "summary"])
def test_every_equation_holds_with_every_option(layout: str, level: str) -> None:
    derivation = bp.derive(
        NETWORKS["logits"](), layout=layout, level=level, superscript="[l]", activation="g", layers="numbers",
        jacobian="denominator", wrt=("parameters", "x"),
    )  # fmt: skip
    assert derivation.check().passed


def lines(name: str, **options: object) -> list[str]:
    """The lines of the text, blanks at their ends cut off."""
    derivation = bp.derive(NETWORKS[name](), **options) if options else derived(name)
    return [line.strip() for line in derivation.text().splitlines()]


def holds(found: list[str], wanted: str) -> bool:
    return any(wanted in line for line in found)


def test_sigmoid_network_reads_as_in_a_textbook() -> None:
    found = lines("sigmoid")
    assert holds(found, "δ(hidden) = (W(output)ᵀ δ(output)) ⊙ a(hidden) ⊙ (1 − a(hidden))")
    assert holds(found, "∂C/∂W(hidden) = δ(hidden) xᵀ")
    assert holds(found, "∂C/∂b(hidden) = δ(hidden)")
    assert holds(found, "∂z(hidden)[j]/∂W(hidden)[k,m] = ∑[i] δ[j,k] δ[i,m] x[i]")
    assert holds(found, "= δ[j,k] x[m]")


@pytest.mark.parametrize(("name", "value"), [("logits", "p"), ("cross_entropy", "a(output)")])
def test_softmax_with_cross_entropy_is_p_minus_y(name: str, value: str) -> None:
    assert holds(lines(name), f"δ(output) = {value} − e[y]")


def test_another_activation_gives_another_derivation() -> None:
    assert holds(lines("logits"), "⊙ [0 < a]")
    assert not holds(lines("logits"), "a(hidden) ⊙ (1 − a(hidden))")


def test_jacobians_have_the_layout_that_was_asked_for() -> None:
    assert holds(lines("sigmoid"), "∂z(output)/∂a(hidden) = W(output)")
    assert holds(lines("sigmoid", jacobian="denominator"), "∂z(output)/∂a(hidden) = W(output)ᵀ")
    assert holds(lines("sigmoid"), "∂a(hidden)/∂z(hidden) = diag(a(hidden) ⊙ (1 − a(hidden)))")


def test_kinks_have_a_convention() -> None:
    assert holds(lines("logits"), "relu'(0) = 0")
    assert not holds(lines("cross_entropy"), "relu'(0) = 0")


def test_paths_add_up() -> None:
    found = lines("residual")
    assert holds(found, "∂r[i]/∂a[j]")
    normal = lines("normalization")
    assert holds(normal, "chain rule, over 3 paths")


def test_backpropagation_through_time_is_a_recursion_and_unrolled() -> None:
    found = lines("recurrence")
    assert holds(found, "δ(cell)[t] = [t < 3] Uᵀ (δ(cell)[t + 1] ⊙ (1 − h[t + 1] ⊙ h[t + 1])) + δ[t,3] 2 (h[3] − y)")
    assert holds(found, "δ(cell)[3,j] = 2 (h[3,j] − y[j])")
    assert holds(found, "δ(cell)[2,j] = ∑[k] δ(cell)[3,k] (1 − h[3,k]²) U[k,j]")
    assert holds(found, "∂C/∂W = ∑[t]")


def test_convolution_has_the_flipped_kernel() -> None:
    found = lines("convolution", sections="general")
    assert holds(found, "δ(conv)[o,r − p + 1,s − q + 1] K[o,c,p,q]")


def test_embedding_adds_to_the_rows_that_were_read() -> None:
    assert holds(lines("embedding"), "∂C/∂E[v,d] = ∑[t] δ[token[t],v] δ(embedding)[d]")


def test_attention_transposes_one_factor() -> None:
    found = lines("attention")
    assert holds(found, "∂C/∂p = 1/3 (o − y) kᵀ")
    assert holds(found, "∂C/∂s = p ⊙ (∂C/∂p − (∂C/∂p ⊙ p) 1 1ᵀ)")


def test_batch_is_a_product_over_examples() -> None:
    found = lines("sigmoid", sections="batch")
    assert holds(found, "z(hidden) = W(hidden) x + b(hidden) 1ᵀ")
    assert holds(found, "∂C/∂W(hidden) = δ(hidden) xᵀ")
    rows = lines("sigmoid", sections="batch", layout="row")
    assert holds(rows, "z(hidden) = x W(hidden)ᵀ + 1 b(hidden)")
    assert holds(rows, "∂C/∂W(hidden) = δ(hidden)ᵀ x")


def test_a_part_of_a_weight_makes_no_matrix_product() -> None:
    assert not holds(lines("joined", sections="layers"), "∂C/∂a(left) = W(output)ᵀ δ(output)")
    assert holds(lines("joined", sections="layers"), "∂C/∂y(joined) = W(output)ᵀ δ(output)")


def test_the_worked_example_has_the_numbers_of_the_issue() -> None:
    x, y = bp.Input("x", (2,)), bp.Target("y", (1,))
    h = bp.Dense(2, activation="sigmoid", name="hidden")(x)
    o = bp.Dense(1, activation="sigmoid", name="output")(h)
    net = bp.Network(o, loss=bp.BinaryCrossentropy(o, y))
    example = {
        "x": [0.5, 0.3], "y": [1], "hidden.W": [[0.1, 0.3], [0.2, 0.4]], "hidden.b": [0.1, 0.2], "output.W": [[0.5, 0.6]],
        "output.b": [0.1],
    }  # fmt: skip
    text = bp.derive(net, sections="worked", example=example).text()
    for number in ("0.24, 0.42", "0.559714, 0.603483", "0.741947", "0.677421", "0.389462", "−0.322579", "−0.03974", "−0.04631",
                   "−0.180552, −0.194671", "−0.01987", "−0.01192", "−0.02315", "−0.01389"):  # fmt: skip
        assert number in text, number


def test_sharing_is_counted() -> None:
    text = derived("sigmoid").text()
    assert "numeric differentiation: two forward passes for each of 23 parameters" in text
    assert "both passes, values shared" in text


@pytest.mark.parametrize(
    "options",
    [{"sections": "chian"}, {"level": "expert"}, {"layout": "diagonal"}, {"activation": "q"}, {"example": {"w": 1}}],
)
def test_wrong_options_get_a_sentence(options: dict[str, object]) -> None:
    with pytest.raises(BPCompileError):
        bp.derive(NETWORKS["sigmoid"](), **options)


def test_row_vectors_are_rows_everywhere() -> None:
    found = lines("sigmoid", layout="row")
    assert holds(found, "(z(hidden) = x W(hidden)ᵀ + b(hidden))")
    assert holds(found, "(z(l) = a(l − 1) W(l)ᵀ + b(l))")
    assert holds(found, "⇒ δ(l) = (δ(l + 1) W(l + 1)) ⊙ σ′(z(l))")
    assert holds(found, "⇒ ∂C/∂W(l) = δ(l)ᵀ a(l − 1)")
    assert holds(found, "⇒ ∂C/∂W(hidden) = δ(hidden)ᵀ x")
    assert holds(found, "(z(hidden) = x W(hidden)ᵀ + 1 b(hidden))")
    assert holds(found, "with row vectors")
    assert not holds(found, "δ(l + 1)ᵀ")


@pytest.mark.parametrize(
    ("layout", "jacobian", "path"),
    [
        ("column", "numerator", "∂C/∂u = (∂y/∂u)ᵀ ∂C/∂y"),
        ("column", "denominator", "∂C/∂u = ∂y/∂u ∂C/∂y"),
        ("row", "numerator", "∂C/∂u = ∂C/∂y ∂y/∂u"),
        ("row", "denominator", "∂C/∂u = ∂C/∂y (∂y/∂u)ᵀ"),
    ],
)
def test_where_the_transpose_comes_from(layout: str, jacobian: str, path: str) -> None:
    assert holds(lines("sigmoid", layout=layout, jacobian=jacobian, sections="chain"), path)


@pytest.mark.parametrize("name", ["residual", "normalization", "attention", "recurrence", "joined", "embedding"])
def test_every_equation_holds_for_rows(name: str) -> None:
    check = bp.derive(NETWORKS[name](), layout="row", jacobian="denominator", sections="network,chain,layers,batch").check()
    assert [r.equation.label for r in check.rows if not r.passed] == []


def test_heads_and_times_are_families_of_matrices() -> None:
    x = bp.Input("x", (4, 6))
    h = bp.MultiHeadAttention(2, name="attention")(x)
    z = bp.Dense(3, name="output")(h)
    net = bp.Network(z, loss=bp.MeanSquaredError(z, bp.Target("y", (4, 3))), name="heads")
    derivation = bp.derive(net, sections="network,layers,batch")
    text = derivation.text()
    assert "context[h] = attention[h] value[h]" in text
    assert "∂C/∂W = ∑[t] δ(output)[t]" in text
    assert derivation.check().passed


def deep(layers: int) -> bp.Network:
    """Many layers that are alike."""
    a = x = bp.Input("x", (3,))
    for k in range(1, layers + 1):
        a = bp.Dense(3, activation="tanh", name=f"h{k}")(a)
    return bp.Network(a, loss=bp.MeanSquaredError(a, bp.Target("y", x.shape[1:])), name="deep")


def test_layers_that_are_alike_are_told_once() -> None:
    short, long = (bp.derive(deep(k), sections="layers") for k in (9, 18))
    assert "The same holds" in long.text()
    assert len(long.text()) < 1.3 * len(short.text())
    printed = long.text().count("definition of the error")
    assert printed <= 4
    labels = [e.label for e in long.document.equations()]
    assert {f"gradient.h{k}.W" for k in range(1, 19)} <= set(labels), "all of them are checked"
    assert long.check().passed


def test_few_layers_are_told_one_by_one() -> None:
    assert "The same holds" not in bp.derive(deep(3)).text()


def test_layers_that_differ_are_not_told_together() -> None:
    a = bp.Input("x", (3,))
    for k in range(1, 13):
        a = bp.Dense(3, activation="tanh" if k != 6 else "sigmoid", name=f"h{k}")(a)
    net = bp.Network(a, loss=bp.MeanSquaredError(a, bp.Target("y", (3,))), name="mixed")
    text = bp.derive(net, sections="layers").text()
    assert "a(h6) ⊙ (1 − a(h6))" in text
