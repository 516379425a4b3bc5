"""What spec files are made of before they are changed: good files, hostile values and words, and a writer of TOML."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
EQUATIONS = """
[network]
name = "fuzz"
loss = "softmax_cross_entropy"

[inputs]
x = [6]

[targets]
y = { classes = 3 }

[[layers]]
name = "gate"
equations = ["z[n,j] = sum(W[j,i]*x[n,i], i) + b[j]", "a[n,j] = z[n,j] / (1 + exp(-z[n,j]))"]
parameters = { W = ["j", "i"], b = ["j"] }
sizes = { j = 5 }
output = "a"

[[layers]]
name = "output"
kind = "dense"
units = 3
"""
RECURRENT = """
[inputs]
tokens = { shape = [5], classes = 7 }

[targets]
y = { shape = [5], classes = 7 }

[[layers]]
name = "embedding"
kind = "embedding"
output_dim = 3

[[layers]]
name = "rnn"
inputs = ["s"]
equations = ["u[n,t,j] = sum(W[j,i]*s[n,t,i], i)", "h[n,t,j] = tanh(u[n,t,j] + sum(U[j,k]*h[n,t-1,k], k))", "h[n,-1,j] = h0[j]"]
parameters = { W = ["j", "i"], U = ["j", "k"], h0 = ["j"] }
sizes = { j = 4, k = 4 }
output = "h"

[[layers]]
name = "logits"
kind = "dense"
units = 7

[network]
loss = "softmax_cross_entropy"

[penalties]
"rnn.W" = { l2 = 0.01 }
"""
IMAGES = """
[inputs]
x = [2, 6, 6]

[targets]
y = [1]

[[layers]]
name = "conv"
kind = "conv2d"
filters = 2
kernel_size = 3
strides = 2
padding = 1
activation = "relu"

[[layers]]
name = "bn"
kind = "batch_normalization"

[[layers]]
name = "pool"
kind = "max_pooling2d"

[[layers]]
name = "drop"
kind = "dropout"
rate = 0.25

[[layers]]
name = "flat"
kind = "flatten"

[[layers]]
name = "out"
kind = "dense"
units = 1

[network]
loss = "mean_squared_error"

[training]
optimizer = "adam"
learning_rate = 0.002
batch_size = 32
"""

CORPUS = (
    EQUATIONS, RECURRENT, IMAGES,
    *((EXAMPLES / f"{name}.toml").read_text(encoding="utf-8") for name in ("autoencoder", "digits", "lenet5", "two_inputs")),
)  # fmt: skip

HOSTILE_WORDS = (
    "", " ", ".", "..", "../../etc/passwd", "/tmp/x", "a/b", "a\\b", "C:", "~", "-rf", "int", "main", "exp", "memcpy", "_", "__class__",
    "lambda", "class", "n", "x", "y", "W", "i", "j", "loss", "state", "training", "inf", "nan", "pi", "E", "I", "S", "oo", "zoo", "é",
    "х", "ｘ", "x\u200b", "\u202e", "λ", "1", "0", "-1", "a b", "a;b", "$(touch x)", "`id`", "\\input{/etc/passwd}",
    "\\write18{id}", "%", "#", "{}", "}{", "&", "\x00", "\x1b[2J", "</script>", "a" * 5000, "9" * 500, "None", "True", "dense", "relu",
)  # fmt: skip
HOSTILE_VALUES: tuple[Any, ...] = (
    *HOSTILE_WORDS, 0, -1, 1, 2, 3, 7, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.0, -0.0, 0.5, 1e308, 5e-324, float("inf"), float("nan"),
    True, False, [], [[]], [0], [-1], [2.5], ["a"], [1, [2, [3]]], [2**40, 2**40], {}, {"a": {}}, {"": 1}, [{}], ["x", "x"],
    [6] * 40, ["x"] * 200, datetime.date(1979, 5, 27), datetime.time(7, 32), datetime.datetime(1979, 5, 27, 7, 32),
)  # fmt: skip
TOKENS = (
    "9**9**9", "1e999", "1e-999", "0x10", "1_000", "1j", "inf", "nan", "pi", "x[n,i]", "x[n]", "x", "n", "i", "j", "t", "t-1", "t+1", "-1",
    "sum(", "max(", "argmax(x[n,i], i)", "where(", "stop_gradient(", "bernoulli(0.5)", "normal()", "size(i)", "size(n)", "[", "]", "(", ")",
    "+", "-", "*", "/", "**", "//", "%", "<", "<=", "==", "!=", "=", "and", "or", "not ", ",", ":", ";", ".", "\\", "'", '"', "#", "@", "!",
    "lambda:", "if", "for", "import", "__import__('os')", "x.real", "x[n,x[n,i]]", "x[n,i//2]", "x[n,i%2]", "x[n,2*i]", "x[n,i*i]",
    "x[n,i+j]", "i/0", "x[n,i]**x[n,i]", "0**0", "log(0)", "sqrt(-1)", "gamma(-1)", "W[j,i]", "[[", "]]", "true", "[1, 2]", "{ a = 1 }",
    '"""', "'''", "\n", "\t", "\u2028", "−", "×", "λ",
)  # fmt: skip


def written(tree: Mapping[str, Any]) -> str:
    """A tree as TOML, everything below the top level inline."""
    lines = []
    tables = []
    for key, value in tree.items():
        if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            for table in value:
                tables += [f"[[{_key(key)}]]", *(f"{_key(k)} = {_value(v)}" for k, v in table.items()), ""]
        elif isinstance(value, dict):
            tables += [f"[{_key(key)}]", *(f"{_key(k)} = {_value(v)}" for k, v in value.items()), ""]
        else:
            lines.append(f"{_key(key)} = {_value(value)}")
    return "\n".join([*lines, *tables])


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return repr(value)
