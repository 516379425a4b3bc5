"""Small C functions that the text of kernels calls: indices, and accesses along the lanes that are not plain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Helper:
    """The text of a function, and the helpers that it calls itself, each after what it needs."""

    text: str
    needs: tuple[str, ...] = ()


_CLAMP: Final = """\
/* The index within 0 .. extent - 1 that is nearest to i. */
BP_INLINE ptrdiff_t bp_clamp(ptrdiff_t i, ptrdiff_t extent) {
    return i < 0 ? 0 : i < extent ? i : extent - 1;
}
"""

_WITHIN: Final = """\
/* Whether i is one of 0 .. extent - 1. */
BP_INLINE int bp_within(ptrdiff_t i, ptrdiff_t extent) {
    return 0 <= i && i < extent;
}
"""

_FLOORDIV: Final = """\
/* Quotient rounded towards minus infinity. */
BP_INLINE ptrdiff_t bp_floordiv(ptrdiff_t a, ptrdiff_t b) {
    const ptrdiff_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}
"""

_FLOORMOD: Final = """\
/* Remainder with the sign of the divisor. */
BP_INLINE ptrdiff_t bp_floormod(ptrdiff_t a, ptrdiff_t b) {
    const ptrdiff_t r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
"""

_OVER: Final = """\
/* x / y, given 1 / y: multiplying is faster. Where 1 / y would lose digits or overflow, x is divided. */
BP_INLINE vreal bp_over(vreal x, real y, real reciprocal) {
    const int safe = (y > (real)0x1p-100f && y < (real)0x1p100f) || (y < (real)-0x1p-100f && y > (real)-0x1p100f);
    return safe ? x * v_splat(reciprocal) : x / v_splat(y);
}
"""

_TURNED: Final = """\
/* Lane l gets lane last - l; lanes behind last get any. */
BP_INLINE vreal bp_turned(vreal x, int last) {
#if BP_VECTOR && !defined(__clang__)
    vint from = {0};
    for (int l = 0; l < LANES; l++) from[l] = (sint)((last - l) & (LANES - 1));
    return __builtin_shuffle(x, from);
#else
    vreal y = x;
    for (int l = 0; l <= last; l++) BP_LANE(y, l) = BP_LANE(x, last - l);
    return y;
#endif
}
"""

_LOAD_BACKWARDS: Final = """\
/* Lane l < count reads p[-l]. */
BP_INLINE vreal bp_load_backwards(const real *p, int count) {
    if (count == LANES) return bp_turned(v_load(p - (LANES - 1)), LANES - 1);
    return bp_turned(v_load_part(p - (count - 1), count), count - 1);
}
"""

_LOAD_SECOND: Final = """\
/* Lane l < count reads p[2*l]: two loads that end with the last element, and a shuffle. */
BP_INLINE vreal bp_load_second(const real *p, int count) {
#if BP_VECTOR && !defined(__clang__)
    const int span = 2 * count - 1;
    const vreal a = span < LANES ? v_load_part(p, span) : v_load(p);
    const real *const rest = p + (LANES - 1);
    const vreal b = span < LANES ? a : count == LANES ? v_load(rest) : v_load_part(rest, span - (LANES - 1));
    vint from = {0};
    for (int l = 0; l < LANES; l++) from[l] = (sint)(2 * l < LANES ? 2 * l : 2 * l + 1);
    return __builtin_shuffle(a, b, from);
#else
    return count == LANES ? v_load_stride(p, 2) : v_load_stride_part(p, 2, count);
#endif
}
"""

_STORE_SECOND: Final = """\
/* Lane l < count goes to p[2*l]. */
BP_INLINE void bp_store_second(real *p, vreal x, int count) {
#if BP_AVX512 && !defined(__clang__)
    const uint64_t lanes = (((uint64_t)1 << (2 * count)) - 1) & UINT64_C(0x55555555);
    vint low = {0}, high = {0};
    for (int l = 0; l < LANES; l++) {
        low[l] = (sint)(l / 2);
        high[l] = (sint)((LANES + l) / 2);
    }
    BP_X(mask_storeu)(p, (vmask)lanes, __builtin_shuffle(x, low));
    BP_X(mask_storeu)(p + LANES, (vmask)(lanes >> LANES), __builtin_shuffle(x, high));
#else
    real lanes[LANES];
    v_store(lanes, x);
    for (int l = 0; l < count; l++) p[2 * l] = lanes[l];
#endif
}
"""

_LOAD_REPEATED: Final = """\
/* Lane l < count reads p[(phase + l) / repeat]. */
BP_INLINE vreal bp_load_repeated(const real *p, int phase, int repeat, int count) {
    real lanes[LANES] = {0};
#if BP_VECTOR && !defined(__clang__)
    if (LANES % repeat == 0) { /* a vector begins with a new element */
        vint from = {0};
        for (int l = 0; l < LANES; l++) from[l] = (sint)(l / repeat);
        return __builtin_shuffle(v_load_part(p, (count + repeat - 1) / repeat), from);
    }
#endif
    for (int l = 0; l < count; l++) lanes[l] = p[(phase + l) / repeat];
    return v_load(lanes);
}
"""

_LOAD_INTEGERS_REPEATED: Final = """\
/* Integers as reals: lane l < count reads p[(phase + l) / repeat]. */
BP_INLINE vreal bp_load_integers_repeated(const sint *p, int phase, int repeat, int count) {
    real lanes[LANES] = {0};
#if BP_VECTOR && !defined(__clang__)
    if (LANES % repeat == 0) { /* a vector begins with a new element */
        vint from = {0};
        for (int l = 0; l < LANES; l++) from[l] = (sint)(l / repeat);
        return __builtin_shuffle(bp_load_integers(p, (count + repeat - 1) / repeat), from);
    }
#endif
    for (int l = 0; l < count; l++) lanes[l] = (real)p[(phase + l) / repeat];
    return v_load(lanes);
}
"""

_LAST_DIGITS: Final = """\
/* Lane l gets (phase + l) % base; phase is 0 where vectors begin with multiples of the base. */
BP_INLINE vreal bp_last_digits(int phase, int base) {
    real lanes[LANES];
    for (int l = 0; l < LANES; l++) lanes[l] = (real)(((LANES % base == 0 ? 0 : phase) + l) % base);
    return v_load(lanes);
}
"""

_LOAD_INSIDE: Final = """\
/* Lane l < count reads p[stride * i], i = start + step*l. Where i is not within 0 .. extent - 1 the lane's value is of no
   account: it is selected off later. */
BP_INLINE vreal bp_load_inside(const real *p, ptrdiff_t start, ptrdiff_t step, ptrdiff_t extent, ptrdiff_t stride,
                               int count) {
    real lanes[LANES] = {0};
    if (stride == 1 && (step == 1 || step == -1)) {
        const ptrdiff_t low = step == 1 ? start : start - (LANES - 1);
        const int first = low >= 0 ? 0 : low < -LANES ? LANES : (int)-low;
        const int last = low + LANES <= extent ? LANES : low >= extent ? 0 : (int)(extent - low);
        vreal x;
#if BP_AVX512
        x = BP_X(maskz_loadu)((vmask)(((1u << (unsigned)last) - 1u) & ~((1u << (unsigned)first) - 1u)), p + low);
#else
        if (first == 0 && last == LANES) {
            x = v_load(p + low);
        } else {
            for (int l = first; l < last; l++) lanes[l] = p[low + l];
            x = v_load(lanes);
        }
#endif
        return step == 1 ? x : bp_turned(x, LANES - 1);
    }
    for (int l = 0; l < count; l++) {
        const ptrdiff_t i = start + step * l;
        lanes[l] = p[(i < 0 ? 0 : i < extent ? i : extent - 1) * stride];
    }
    return v_load(lanes);
}
"""

_LOAD_INTEGERS: Final = """\
/* Integers as reals: lane l < count reads p[l]. */
BP_INLINE vreal bp_load_integers(const sint *p, int count) {
#if BP_VECTOR
    const real *const bits = (const real *)(const void *)p;
    return __builtin_convertvector((vint)(count == LANES ? v_load(bits) : v_load_part(bits, count)), vreal);
#else
    return count > 0 ? (real)*p : (real)0;
#endif
}
"""

_STORE_INTEGERS: Final = """\
/* Lane l < count goes to p[l]. */
BP_INLINE void bp_store_integers(sint *p, vreal x, int count) {
#if BP_VECTOR
    real *const bits = (real *)(void *)p;
    const vreal whole = (vreal)__builtin_convertvector(x, vint);
    if (count == LANES) v_store(bits, whole);
    else v_store_part(bits, whole, count);
#else
    if (count > 0) *p = (sint)x;
#endif
}
"""

_ARGMAX_LANES: Final = """\
/* Where the greatest lane is first attained; NaN wins. */
BP_INLINE real bp_argmax_lanes(vreal value, vreal where) {
    real best = v_lane(value, 0), at = v_lane(where, 0);
    for (int l = 1; l < LANES; l++) {
        const real x = v_lane(value, l), i = v_lane(where, l);
        const int nan = x != x, best_nan = best != best;
        const int better = nan ? !best_nan || i < at : !best_nan && (x > best || (x == best && i < at));
        best = better ? x : best;
        at = better ? i : at;
    }
    return at;
}
"""

HELPERS: Final[Mapping[str, Helper]] = {
    "bp_clamp": Helper(_CLAMP),
    "bp_within": Helper(_WITHIN),
    "bp_floordiv": Helper(_FLOORDIV),
    "bp_over": Helper(_OVER),
    "bp_floormod": Helper(_FLOORMOD),
    "bp_turned": Helper(_TURNED),
    "bp_load_backwards": Helper(_LOAD_BACKWARDS, ("bp_turned",)),
    "bp_load_second": Helper(_LOAD_SECOND),
    "bp_store_second": Helper(_STORE_SECOND),
    "bp_load_repeated": Helper(_LOAD_REPEATED),
    "bp_load_inside": Helper(_LOAD_INSIDE, ("bp_turned",)),
    "bp_load_integers": Helper(_LOAD_INTEGERS),
    "bp_load_integers_repeated": Helper(_LOAD_INTEGERS_REPEATED, ("bp_load_integers",)),
    "bp_last_digits": Helper(_LAST_DIGITS),
    "bp_store_integers": Helper(_STORE_INTEGERS),
    "bp_argmax_lanes": Helper(_ARGMAX_LANES),
}
"""The helpers by name; see `ExpressionWriter.helper`."""
