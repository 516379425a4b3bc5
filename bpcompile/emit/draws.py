"""The counter-based generator of random draws in NumPy: the same bits as in generated C.

A draw is identified by (key, step, stream, element): the caller's key, the step of training, the draw statement and the
logical element. The generator is Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
as easy as 1, 2, 3", SC 2011): the key and the step give a key, that and the stream give another, and that enciphers the
element's number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_WORD = 0xFFFFFFFF

Words = NDArray[np.uint32]


def threefry(key: tuple[int, int], first: ArrayLike, second: ArrayLike) -> tuple[Words, Words]:
    """Encipher pairs of 32-bit words by Threefry-2x32 with 20 rounds."""
    keys = tuple(np.uint32(word) for word in (key[0], key[1], key[0] ^ key[1] ^ _PARITY))
    with np.errstate(over="ignore"):
        x = np.asarray(first, np.uint32) + keys[0]
        y = np.asarray(second, np.uint32) + keys[1]
        for group in range(5):
            for rotation in ROTATIONS[group % 2]:
                x = x + y
                y = ((y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation))) ^ x
            x = x + keys[(group + 1) % 3]
            y = y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def words(key: int, step: int, stream: int, elements: ArrayLike) -> tuple[Words, Words]:
    """Give the two random words of each element.

    Parameters
    ----------
    key, step : int
        Taken modulo 2**64.
    stream : int
        The number of the draw statement, below 2**32.
    elements : array_like of int
        Logical elements, of any shape.
    """
    step_key = threefry(_halves(key), *_halves(step))
    statement_key = threefry((int(step_key[0]), int(step_key[1])), stream & _WORD, 0)
    counter = np.asarray(elements).astype(np.uint64)
    low = (counter & np.uint64(_WORD)).astype(np.uint32)
    high = (counter >> np.uint64(32)).astype(np.uint32)
    return threefry((int(statement_key[0]), int(statement_key[1])), low, high)


def bits(key: int, step: int, stream: int, elements: ArrayLike) -> Words:
    """Give 32 random bits for each element: `bp_bits` of generated C."""
    return words(key, step, stream, elements)[0]


def bernoulli(key: int, step: int, stream: int, elements: ArrayLike, p: ArrayLike, dtype: DTypeLike) -> NDArray[np.floating]:
    """Give 1 with probability p and 0 otherwise, for each element; bit for bit as in generated C.

    Parameters
    ----------
    p : array_like of float
        Probabilities, broadcast against `elements`; they count in steps of 2**-24.
    dtype : {float32, float64}
        The element type of `p` and of the result.
    """
    threshold = np.rint(np.asarray(p, dtype) * np.asarray(2.0**24, dtype))
    drawn = (bits(key, step, stream, elements) >> np.uint32(8)).astype(dtype)
    result: NDArray[np.floating] = (drawn < threshold).astype(dtype)
    return result


def normal(key: int, step: int, stream: int, elements: ArrayLike, dtype: DTypeLike) -> NDArray[np.floating]:
    """Give a standard normal number for each element (Box-Muller); as in generated C up to rounding."""
    first, second = words(key, step, stream, elements)
    one_half, scale = np.asarray(0.5, dtype), np.asarray(2.0**-32, dtype)
    radius = np.sqrt(np.log((first.astype(dtype) + one_half) * scale) * np.asarray(-2, dtype))
    angle = second.astype(np.int32).astype(dtype) * np.asarray(np.pi * 2.0**-31, dtype)
    result: NDArray[np.floating] = radius * np.cos(angle)
    return result


def _halves(value: int) -> tuple[int, int]:
    return value & _WORD, (value >> 32) & _WORD
