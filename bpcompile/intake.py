"""What a user passes to a model, as the generated code takes it: ready things as they are, others converted or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from bpcompile.arrays import batch_size, check_names, conform
from bpcompile.errors import ArrayError
from bpcompile.parameters import Parameters, State, aligned_zeros, check_writable, gathered
from bpcompile.signature import Signature

Array = NDArray[Any]


@dataclass(frozen=True)
class Intake:
    """What converts and refuses.

    Attributes
    ----------
    signature : Signature
        What is expected.
    finite : bool
        Refuse NaN and infinity in inputs.
    """

    signature: Signature
    finite: bool = False

    def empty_parameters(self) -> Parameters:
        """Zeros, to be filled."""
        layout = self.signature.parameters
        return Parameters(layout, aligned_zeros(layout.size, self.signature.real))

    def empty_state(self) -> State:
        """Zeros, to be filled."""
        layout = self.signature.states
        return State(layout, aligned_zeros(layout.size, self.signature.real))

    @cached_property
    def _no_state(self) -> State:
        return self.empty_state()

    def parameters(self, given: object) -> Parameters:
        """`given` itself where it is ready, else a converted copy."""
        layout, real = self.signature.parameters, self.signature.real
        if type(given) is Parameters and given.flat.dtype == real and (given.layout is layout or given.layout == layout):
            return given
        if not isinstance(given, Mapping):
            raise ArrayError(
                f"Parameters are a mapping of names to arrays, not {type(given).__name__}.", hint="Use model.init()."
            )
        return self.new_parameters(given)

    def new_parameters(self, values: Mapping[str, Any]) -> Parameters:
        """A copy of the values, whatever they are."""
        layout, real = self.signature.parameters, self.signature.real
        return Parameters(layout, gathered(layout, values, real, "parameter"))

    def state(self, given: Mapping[str, Any] | None) -> State:
        """`given` itself where it is ready, else a converted copy; what a network without a state takes is empty."""
        names = self.signature.states.names
        if not names:
            return self._no_state
        if given is None:
            raise ArrayError(
                f"The network has a state ({', '.join(names)}), and none was passed.",
                hint="Pass state=model.init_state() and keep it: value_and_grad moves it on in place.",
            )
        if type(given) is State and given.layout == self.signature.states and given.flat.dtype == self.signature.real:
            return given
        if type(given) is State:
            raise ArrayError("The state belongs to another network or element type.", hint="Use model.init_state().")
        return self.new_state(given)

    def moving_state(self, given: Mapping[str, Any] | None) -> State:
        """The state for a call that moves it on in place."""
        state = self.state(given)
        check_writable(state)
        return state

    def new_state(self, values: Mapping[str, Any]) -> State:
        """A copy of the values, whatever they are."""
        layout, real = self.signature.states, self.signature.real
        return State(layout, gathered(layout, values, real, "state"))

    def arrays(self, data: Mapping[str, Any], *, targets: bool) -> tuple[list[Array | None], int]:
        """Inputs (and targets) in the order of the generated code, and the number of examples."""
        specs, real = self.signature.arrays, self.signature.real
        check_names(specs, data, targets=targets)
        arrays = [conform(s, data[s.name], real, finite=self.finite) if s.name in data else None for s in specs]
        n = batch_size((s.name, a) for s, a in zip(specs, arrays, strict=True) if a is not None)
        return arrays, n

    def inputs(self, data: Mapping[str, Any]) -> tuple[list[Array | None], int]:
        """Inputs alone; targets among the data are left out."""
        targets = {s.name for s in self.signature.arrays if s.target}
        return self.arrays({name: v for name, v in data.items() if name not in targets}, targets=False)
