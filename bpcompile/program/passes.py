"""The passes over a program, in order."""

from __future__ import annotations

from bpcompile.nodes.statements import Program
from bpcompile.program.accumulate import settle_accumulations
from bpcompile.program.arrange import gradients_early
from bpcompile.program.canonical import Canonical
from bpcompile.program.chain import chain_sums
from bpcompile.program.common import name_common
from bpcompile.program.dead import without_dead
from bpcompile.program.early import slopes_early
from bpcompile.program.factor import factor
from bpcompile.program.momentary import drop_time
from bpcompile.program.phases import in_phases
from bpcompile.program.pieces import in_pieces
from bpcompile.program.share import share
from bpcompile.program.shift import shift_axes
from bpcompile.program.split import split_axes


def improve(program: Program) -> Program:
    """The same values by fewer operations, in statements that the schedule (or the NumPy backend) can take.

    Each pass takes a well-formed program and gives one. Sums stand as sums before values are numbered; values are
    numbered before products are ordered, and again after, since padded copies and partial products repeat.
    """
    canonical = Canonical()
    settled = settle_accumulations(in_phases(split_axes(shift_axes(without_dead(program)))))
    shared = slopes_early(share(settled, canonical))
    contracted = share(factor(share(name_common(shared, canonical), canonical)), canonical)
    return in_pieces(drop_time(chain_sums(gradients_early(contracted))))
