"""The numbers at which a contraction changes from one way of computing it to another: the defaults are those measured alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the variants of a contraction part; other numbers are as right, and may be faster on another processor.

    Attributes
    ----------
    depth_block : int
        The most depths of a panel: with 192 bytes for each, 336 of them fill 64 KiB of stack.
    dot_rows : int or None
        Rows up to which sums along the depth beat transposing the right operand into a panel; None leaves it to the cost
        model.
    packed_rows, packed_depth : int
        Rows and depths from which a panel of contiguous columns is worth the copy.
    row_block : int or None
        Rows of a unit of work; None leaves it to the cost model.
    """

    depth_block: int = 336
    dot_rows: int | None = None
    packed_rows: int = 24
    packed_depth: int = 64
    row_block: int | None = None


DEFAULTS = Limits()
