"""The functions of the vector preamble, a row each, in the order in which they are printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VectorFunction:
    """A function of the preamble.

    Attributes
    ----------
    name : str
        The name without its prefix `v_` or `s_`.
    template : str
        The file `templates/c/vector_<template>.j2` whose macro `v_<macro>` prints it.
    needs : tuple of str
        The functions that its text calls.
    ulp : float or None
        The largest error in units in the last place of the exact result; None where the result is exact or is moved,
        not computed.
    """

    name: str
    template: str
    needs: tuple[str, ...] = ()
    ulp: float | None = None
    macro: str = ""
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.macro:
            object.__setattr__(self, "macro", self.name)


_Row = VectorFunction

ALWAYS = ("types",)

_MEMORY = (
    _Row("types", "types"),
    _Row("splat", "types"),
    _Row("zero", "types", ("splat",)),
    _Row("first", "types"),
    _Row("lane", "types"),
    _Row("iota", "types", ("zero",)),
    _Row("bits", "types"),
    _Row("load", "memory"),
    _Row("store", "memory"),
    _Row("part_mask", "memory"),
    _Row("load_part", "memory", ("zero", "part_mask")),
    _Row("store_part", "memory", ("part_mask",)),
    _Row("load_stride", "memory"),
    _Row("load_stride_part", "memory"),
    _Row("gather", "memory", ("zero",)),
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
    _Row("max", "compare", ("select", "le", "ne", "or")),
    _Row("min", "compare", ("select", "le", "ne", "or")),
    _Row("at_least", "compare", ("splat", "select", "lt")),
    _Row("at_most", "compare", ("splat", "select", "lt")),
    _Row("abs", "compare", ("bits",)),
    _Row("copysign", "compare", ("bits",)),
    _Row("high", "pow", ("bits",)),
    _Row("sign", "compare", ("zero", "select", "eq", "lt")),
    _Row("sqrt", "compare", ulp=0.5),
    _Row("round", "compare", ("splat", "copysign", "abs", "lt", "select")),
    _Row("floor", "compare", ("round", "lt", "select")),
    _Row("ceil", "compare", ("round", "copysign", "lt", "select")),
    _Row("swap", "compare"),
    _Row("sum", "compare", ("swap", "lane")),
    _Row("hmax", "compare", ("swap", "lane", "max")),
    _Row("hmin", "compare", ("swap", "lane", "min")),
)

_EXP_LOG = (
    _Row("scale", "exp", ("bits",)),
    _Row("power_of_two", "exp", ("bits",)),
    _Row("exp_reduced", "exp", ("zero",)),
    _Row("exp", "exp", ("first", "lane", "at_least", "at_most", "exp_reduced", "scale"), ulp=1.25),
    _Row("exp_minus_abs", "exp", ("at_least", "bits", "exp_reduced", "scale")),
    _Row("log_reduced", "log", ("splat", "zero", "bits", "lt", "select")),
    _Row("log1p_reduced", "log"),
    _Row("log_joined", "log", ("log1p_reduced",)),
    _Row("log_special", "log", ("splat", "zero", "eq", "le", "lt", "and", "select")),
    _Row("log", "log", ("first", "lane", "log_reduced", "log_joined", "log_special"), ulp=1.0),
    _Row("log1p", "log", ("first", "lane", "log_reduced", "log_joined", "log_special", "scale", "abs"), ulp=1.5),
    _Row("log2", "log", ("first", "lane", "log_reduced", "log1p_reduced", "log_special"), ulp=2.0),
    _Row("log10", "log", ("first", "lane", "log_reduced", "log1p_reduced", "log_special"), ulp=2.0),
    _Row("expm1", "exp", ("first", "lane", "at_least", "at_most", "exp_reduced", "power_of_two", "abs", "lt", "select"), ulp=2.0),
    _Row("tanh", "exp", ("first", "lane", "at_least", "exp_reduced", "power_of_two", "copysign"), ulp=2.5),
    _Row("sigmoid", "exp", ("first", "lane", "exp_minus_abs", "lt", "zero", "splat", "select"), ulp=2.5),
    _Row("softplus", "exp", ("first", "lane", "exp_minus_abs", "log_joined", "lt", "zero", "splat", "select", "at_least"), ulp=2.0),
)

_TRIGONOMETRIC_ERROR_POWER = (
    _Row("quarter_turns", "trig", ("bits",)),
    _Row("sin", "trig", ("first", "lane", "quarter_turns", "abs", "lt", "le", "not", "any", "select", "splat"), ulp=2.0),
    _Row("cos", "trig", ("first", "lane", "quarter_turns", "abs", "le", "not", "any", "splat"), ulp=2.0),
    _Row("erf_near", "erf"),
    _Row("erf", "erf", ("first", "lane", "erf_near", "splat", "abs", "at_most", "exp_reduced", "power_of_two", "lt", "select", "copysign"), ulp=2.0),
    _Row("erfc", "erf", ("first", "lane", "erf_near", "splat", "zero", "abs", "at_least", "at_most", "high", "exp_reduced", "scale", "lt", "select"), ulp=4.0),
    _Row("pow_finite", "pow", ("log_reduced", "high", "at_most", "at_least", "scale")),
    _Row(
        "pow",
        "pow",
        ("first", "lane", "pow_finite", "zero", "splat", "abs", "eq", "ne", "lt", "and", "or", "not", "round", "select", "copysign"),
        ulp=1.0,
    ),
)

# Errors of functions of the C library are those of glibc 2.36 where nothing else is said.
_LIBRARY = (
    ("tan", "tan", 1.0),
    ("asin", "asin", 1.0),
    ("acos", "acos", 1.0),
    ("atan", "atan", 1.0),
    ("sinh", "sinh", 2.0),
    ("cosh", "cosh", 2.0),
    ("asinh", "asinh", 2.0),
    ("acosh", "acosh", 2.0),
    ("atanh", "atanh", 2.0),
    ("lgamma", "lgamma", 6.0),
    ("gamma", "tgamma", 6.0),
)

_LANE_BY_LANE = (
    *(_Row(name, "lanes", ulp=ulp, macro="library", arguments=(name, function)) for name, function, ulp in _LIBRARY),
    _Row("atan2", "lanes", ulp=1.0),
    _Row("mod", "lanes"),
    _Row("digamma", "lanes", ulp=5.0),
    _Row("trigamma", "lanes", ulp=6.0),
)

_DRAWS = (
    _Row("words", "draws"),
    _Row("threefry", "draws", ("words",)),
    _Row("draw_key", "draws", ("threefry",)),
    _Row("element_words", "draws", ("draw_key",)),
    _Row("bits_of_element", "draws", ("element_words",)),
    _Row("bernoulli", "draws", ("words", "round", "lt", "select", "splat", "zero")),
    _Row("draw_bernoulli", "draws", ("bernoulli", "element_words", "bits_of_element")),
    _Row("normal", "draws", ("words", "lane", "sqrt", "log", "quarter_turns")),
    _Row("draw_normal", "draws", ("normal", "element_words")),
)

ROWS: tuple[VectorFunction, ...] = (
    *_MEMORY,
    *_COMPARE,
    *_EXP_LOG,
    *_TRIGONOMETRIC_ERROR_POWER,
    *_LANE_BY_LANE,
    *_DRAWS,
)
