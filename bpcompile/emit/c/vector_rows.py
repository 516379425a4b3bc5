"""The functions of the vector preamble, a row each, in the order in which they are printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VectorFunction:
    """A function of the preamble.

    Attributes
    ----------
    name : str
        The name without its prefix `v_`, `s_` or `bp_`.
    template : str
        The file `templates/c/vector_<template>.j2`, whose macro `v_<name>` prints it.
    ulp : float or None
        The largest error for either element type, in units in the last place of the exact result; None where nothing
        is rounded.
    library : str or None
        The function of the C library that does the work, lane by lane.
    needs : tuple of str
        Functions that must come before it although its text does not call them; the called ones are found in the text.
    """

    name: str
    template: str
    ulp: float | None = None
    library: str | None = None
    needs: tuple[str, ...] = ()


_Row = VectorFunction

ALWAYS = ("types",)

_MEMORY = (
    _Row("types", "types"),
    _Row("splat", "types"),
    _Row("zero", "types"),
    _Row("first", "types"),
    _Row("lane", "types"),
    _Row("iota", "types"),
    _Row("as_bits", "types"),
    _Row("from_bits", "types"),
    _Row("load", "memory"),
    _Row("store", "memory"),
    _Row("first_lanes", "memory"),
    _Row("load_part", "memory"),
    _Row("store_part", "memory"),
    _Row("load_stride", "memory"),
    _Row("load_stride_part", "memory"),
    _Row("gather", "memory"),
)

_COMPARE = (
    _Row("fma", "compare"),
    _Row("lt", "compare"),
    _Row("le", "compare"),
    _Row("eq", "compare"),
    _Row("ne", "compare"),
    _Row("and", "compare"),
    _Row("or", "compare"),
    _Row("not", "compare"),
    _Row("true", "compare"),
    _Row("false", "compare"),
    _Row("any", "compare"),
    _Row("select", "compare"),
    _Row("max", "compare"),
    _Row("min", "compare"),
    _Row("at_least", "compare"),
    _Row("at_most", "compare"),
    _Row("abs", "compare"),
    _Row("copysign", "compare"),
    _Row("high", "pow"),
    _Row("sign", "compare"),
    _Row("sqrt", "compare", ulp=0.5),
    _Row("round", "compare"),
    _Row("floor", "compare"),
    _Row("ceil", "compare"),
    _Row("swap", "compare"),
    _Row("sum", "compare"),
    _Row("hmax", "compare"),
    _Row("hmin", "compare"),
)

_EXP_AND_LOG = (
    _Row("scale", "exp"),
    _Row("power_of_two", "exp"),
    _Row("exp_reduced", "exp"),
    _Row("exp", "exp", ulp=1.25),
    _Row("exp_minus_abs", "exp"),
    _Row("log_reduced", "log"),
    _Row("log1p_reduced", "log"),
    _Row("log_joined", "log"),
    _Row("log_special", "log"),
    _Row("log", "log", ulp=1.0),
    _Row("log1p", "log", ulp=1.5),
    _Row("log2", "log", ulp=2.0),
    _Row("log10", "log", ulp=2.0),
    _Row("expm1", "exp", ulp=2.0),
    _Row("tanh", "exp", ulp=3.0),
    _Row("sigmoid", "exp", ulp=2.5),
    _Row("softplus", "exp", ulp=2.0),
)

_SIN_ERF_POW = (
    _Row("quarter_turns", "trig"),
    _Row("sin_after", "trig"),
    _Row("sin", "trig", ulp=2.0),
    _Row("cos", "trig", ulp=2.0),
    _Row("erf_near", "erf"),
    _Row("erf", "erf", ulp=1.5),
    _Row("erfc", "erf", ulp=4.0),
    _Row("pow_finite", "pow"),
    _Row("pow", "pow", ulp=1.0),
)

# Errors of functions of the C library are those of glibc.
_LANE_BY_LANE = (
    _Row("tan", "lanes", ulp=1.5, library="tan"),
    _Row("asin", "lanes", ulp=1.0, library="asin"),
    _Row("acos", "lanes", ulp=1.0, library="acos"),
    _Row("atan", "lanes", ulp=1.0, library="atan"),
    _Row("sinh", "lanes", ulp=2.0, library="sinh"),
    _Row("cosh", "lanes", ulp=2.0, library="cosh"),
    _Row("asinh", "lanes", ulp=2.0, library="asinh"),
    _Row("acosh", "lanes", ulp=2.5, library="acosh"),
    _Row("atanh", "lanes", ulp=2.0, library="atanh"),
    _Row("lgamma", "lanes", ulp=7.0),
    _Row("gamma", "lanes", ulp=8.0, library="tgamma"),
    _Row("atan2", "lanes", ulp=1.0),
    _Row("mod", "lanes"),
    _Row("digamma", "lanes", ulp=5.0),  # of max(1, |psi|)
    _Row("trigamma", "lanes", ulp=8.0),
)

_DRAWS = (
    _Row("threefry", "draws"),
    _Row("draw_key", "draws"),
    _Row("element_words", "draws"),
    _Row("bits", "draws"),
    _Row("bernoulli", "draws", needs=("threefry",)),
    _Row("draw_bernoulli", "draws"),
    _Row("normal", "draws", needs=("threefry",)),
    _Row("draw_normal", "draws"),
)

ROWS: tuple[VectorFunction, ...] = (
    *_MEMORY,
    *_COMPARE,
    *_EXP_AND_LOG,
    *_SIN_ERF_POW,
    *_LANE_BY_LANE,
    *_DRAWS,
)
