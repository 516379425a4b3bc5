"""The vector preamble of generated C: element and vector types, memory, masks, elementary functions and draws.

A generated file uses functions `v_*` on vectors and `s_*` on single numbers, which give the same bits. The preamble
holds those in use and what they depend on, in the order of the table in `vector_rows`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from bpcompile.emit.c.vector_coefficients import COEFFICIENTS
from bpcompile.emit.c.vector_rows import ALWAYS, ROWS, VectorFunction
from bpcompile.emit.draws import ROTATIONS
from bpcompile.emit.templates import environment

_CALL = re.compile(r"\b(?:v|s|bp)_([a-z][a-z0-9_]*)\b")


@dataclass(frozen=True)
class ElementFormat:
    """What the templates have to know of an element type: its C name, suffixes and layout."""

    real: str
    suffix: str
    f: str
    bits: int
    mantissa_bits: int
    exponent_bias: int


FORMATS = {
    "float32": ElementFormat(real="float", suffix="ps", f="f", bits=32, mantissa_bits=23, exponent_bias=127),
    "float64": ElementFormat(real="double", suffix="pd", f="", bits=64, mantissa_bits=52, exponent_bias=1023),
}


def vector_preamble(dtype: str, functions: Iterable[str]) -> str:
    """Render the preamble that defines the given functions, and what they depend on, for one element type.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        The element type.
    functions : iterable of str
        Names without prefix, as in ``"exp"`` or ``"load_part"``; see `functions_in`. Order and repetition are irrelevant.

    Returns
    -------
    str
        C11 text with the GNU vector extensions, or strict C11 under ``-DBP_PLAIN``.

    Raises
    ------
    KeyError
        Where a function is not in the table.
    """
    wanted = _closure(dtype, [*ALWAYS, *functions])
    texts = (_render(dtype, row) for row in ROWS if row.name in wanted)
    return "\n".join(texts)


def functions_in(text: str) -> tuple[str, ...]:
    """Give the names of the table that generated text calls, sorted: the argument `functions` of `vector_preamble`."""
    return tuple(sorted(set(_CALL.findall(text)) & _by_name().keys()))


def real_literal(value: float, dtype: str) -> str:
    """Print a finite number as a C literal of the element type that reads back bit for bit."""
    short = repr(float(value))
    exact = short if len(short) < 8 and float(value).is_integer() else _short_hex(float(value))
    return exact + FORMATS[dtype].f


def _short_hex(number: float) -> str:
    mantissa, exponent = number.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}"


@cache
def _by_name() -> dict[str, VectorFunction]:
    return {row.name: row for row in ROWS}


def _closure(dtype: str, functions: Iterable[str]) -> frozenset[str]:
    """Add what the functions' own texts call, and so on."""
    found: set[str] = set()
    waiting = list(functions)
    while waiting:
        row = _by_name()[waiting.pop()]
        if row.name not in found:
            found.add(row.name)
            waiting.extend((*row.needs, *functions_in(_render(dtype, row))))
    return frozenset(found)


@cache
def _render(dtype: str, row: VectorFunction) -> str:
    template = environment().get_template(f"c/vector_{row.template}.j2")
    module: Any = template.make_module(_template_data(dtype))
    text = module.v_library(row.name, row.library) if row.library else getattr(module, f"v_{row.name}")()
    return str(text).strip() + "\n"


@cache
def _template_data(dtype: str) -> dict[str, object]:
    layout = FORMATS[dtype]
    mantissa = layout.mantissa_bits
    one = layout.exponent_bias << mantissa
    half_sqrt2 = COEFFICIENTS[dtype]["half_sqrt2"][0]
    patterns = {
        "sign_mask": 1 << (layout.bits - 1),
        "magnitude_mask": (1 << (layout.bits - 1)) - 1,
        "mantissa_mask": (1 << mantissa) - 1,
        "high_mask": (1 << layout.bits) - (1 << (mantissa // 2 + 1)),
        "one_bits": one,
        "integer_bits": (layout.exponent_bias + mantissa) << mantissa,
        "half_sqrt2_bits": _bit_pattern(half_sqrt2, dtype),
        "log_offset": one - _bit_pattern(half_sqrt2, dtype),
    }
    return {
        "real": layout.real,
        "suffix": layout.suffix,
        "f": layout.f,
        "bits": layout.bits,
        "bytes": layout.bits // 8,
        "mask_bits": 512 // layout.bits,
        "mantissa_bits": mantissa,
        **{name: _unsigned(value, dtype) for name, value in patterns.items()},
        "unsigned": lambda value: _unsigned(value, dtype),
        "literal": lambda value: real_literal(value, dtype),
        "constant": lambda name: real_literal(COEFFICIENTS[dtype][name][0], dtype),
        "polynomial": _polynomial(dtype),
        "threefry_rotations": ROTATIONS,
        "scalar": _scalar_of,
    }


def _scalar_of(name: str) -> str:
    return f"\nBP_INLINE real s_{name}(real x) {{ return v_lane(v_{name}(v_first(x)), 0); }}"


def _bit_pattern(value: float, dtype: str) -> int:
    code = {"float32": ("<f", "<I"), "float64": ("<d", "<Q")}[dtype]
    return int(struct.unpack(code[1], struct.pack(code[0], value))[0])


def _unsigned(value: int, dtype: str) -> str:
    return f"UINT{FORMATS[dtype].bits}_C(0x{value:x})"


def _polynomial(dtype: str) -> Callable[..., str]:
    def polynomial(target: str, variable: str, name: str, times: int = 1, ctype: str = "vreal") -> str:
        """Print statements that evaluate ``times * p(times * variable)`` by Horner's rule."""
        first, second, *rest = reversed([c * times ** (k + 1) for k, c in enumerate(COEFFICIENTS[dtype][name])])
        lines = [f"{ctype} {target} = {variable} * {real_literal(first, dtype)} {_signed(second, dtype)};"]
        lines.extend(f"{target} = {target} * {variable} {_signed(number, dtype)};" for number in rest)
        return "\n".join(f"    {line}" for line in lines)

    return polynomial


def _signed(number: float, dtype: str) -> str:
    return f"{'-' if number < 0 else '+'} {real_literal(abs(number), dtype)}"
