"""A layer applied to every step of a sequence: its equations with one index more."""

from __future__ import annotations

from typing import Any

from bpcompile.errors import LanguageError
from bpcompile.language.equation import Equation, accesses
from bpcompile.language.layer import Layer
from bpcompile.language.layers.composite import Composite
from bpcompile.language.layers.sequential import Sequential
from bpcompile.language.rewrite import rewrite
from bpcompile.language.symbols import BATCH, Access, Index, Reduction
from bpcompile.language.value import LayerBase, Value

__all__ = ["TimeDistributed"]


def TimeDistributed(layer: LayerBase) -> LayerBase:
    """Return a layer that is applied to every step of ``[n, t, ...]``, with the same parameters for all.

    Parameters
    ----------
    layer : layer
        What is applied; it keeps its name. A `Sequential` is applied layer by layer.

    Examples
    --------
    >>> from bpcompile.language.layers.convolution import Conv2D
    >>> from bpcompile.language.value import Input
    >>> TimeDistributed(Conv2D(8, 3, name="conv"))(Input("film", (10, 3, 32, 32)))
    <intermediate 'conv.z' [n, 10, 8, 30, 30]>
    """
    if not isinstance(layer, LayerBase):
        raise LanguageError(f"{layer!r} is no layer.", hint="Write bp.TimeDistributed(bp.Conv2D(8)).")
    if isinstance(layer, Sequential):
        return Sequential([TimeDistributed(part) for part in layer.layers], name=layer.name)
    if isinstance(layer, Composite):
        raise LanguageError(f"{layer!r} is made of layers; apply them step by step one by one, or a Sequential of them.")
    return _Distributed(layer)


class _Distributed(LayerBase):
    """A layer with one index more."""

    def __init__(self, layer: LayerBase) -> None:
        super().__init__(layer.name, layer.kind)
        self.layer = layer

    def build(self, *inputs: Value) -> Layer:
        """Return the equations of the layer for one step, with the step's index behind the batch's."""
        for x in inputs:
            if len(x.shape) < 2:
                raise LanguageError(f"The layer is called on {x!r}, and reads tensors [n, t, ...].", where=self._where)
        steps = [Value(x.name, (None, *x.shape[2:]), x.role, x.integer, x.classes, x.call, x.label) for x in inputs]
        inner = self.layer.build(*steps)
        taken = {*inner.indices, *inner.inputs, *inner.defined, *inner.parameters, *inner.state, *inner.constants}
        step = next(name for name in ("t", "step", *(f"t{k}" for k in range(100))) if name not in taken)
        batched = {*inner.inputs, *(e.lhs.tensor for e in inner.equations if BATCH in e.indices)}
        self._check(inner, batched)
        return Layer(
            [_with_step(e, step, batched) for e in inner.equations],
            parameters=inner.parameters,
            sizes=inner.sizes,
            inputs=inner.inputs,
            output=inner.outputs,
            outside=inner.outside,
            name=inner.name,
            initializers=inner.initializers,
            frozen=inner.frozen,
            penalties=inner.penalties,
            shared=inner.shared,
            kind=inner.kind,
            types=inner.types,
            exempt=inner.exempt,
        )

    @property
    def _where(self) -> str:
        return f"Layer '{self.label}'"

    def _check(self, inner: Layer, batched: set[str]) -> None:
        over_batch = any(_reduces_batch(e.rhs) for e in inner.equations)
        loose = any(e.lhs.tensor not in batched and {a.tensor for a in accesses(e.rhs)} & batched for e in inner.equations)
        if inner.state or over_batch or loose:
            raise LanguageError(
                "The layer looks at the whole batch or keeps a state, and cannot be applied step by step.",
                where=self._where,
                hint="Join the steps and the batch as you want them: bp.Reshape, or equations with the index t.",
            )


def _reduces_batch(expression: Any) -> bool:
    if isinstance(expression, Reduction) and any(i.name == BATCH for i in expression.indices):
        return True
    return any(_reduces_batch(argument) for argument in expression.args)


def _with_step(equation: Equation, step: str, batched: set[str]) -> Equation:
    """The equation with the step behind the batch in every tensor that has a batch."""

    def change(node: Any) -> Any | None:
        if not isinstance(node, Access) or node.tensor not in batched:
            return None
        first, *rest = (rewrite(s, change) for s in node.subscripts)
        return Access(node.tensor, first, Index(step), *rest)

    return Equation(change(equation.lhs) or equation.lhs, rewrite(equation.rhs, change), extents=equation.extents)
