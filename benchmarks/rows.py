"""The rows of the table, smallest first in each kind."""

from __future__ import annotations

from benchmarks.networks import (
    Row,
    conv_jax,
    conv_network,
    conv_torch,
    dense,
    lenet_jax,
    lenet_network,
    lenet_torch,
    lstm_jax,
    lstm_network,
    lstm_torch,
    lstm_torch_steps,
    transformer,
)

ROWS: tuple[Row, ...] = (
    dense("2-2-2", (2, 2, 2), "sigmoid", 1, 8, classes=False),
    dense("64-32-10", (64, 32, 10), "relu", 1, 10),
    dense("784-30-10", (784, 30, 10), "sigmoid", 10, 3.5),
    dense("784-128-10", (784, 128, 10), "relu", 64, 1.25),
    dense("64-256-256-10", (64, 256, 256, 10), "relu", 256, 1.2),
    dense("784-512-512-10", (784, 512, 512, 10), "relu", 128, 1.08),
    dense("1024-2048-2048-1000", (1024, 2048, 2048, 1000), "relu", 256, 1.08),
    Row("lenet", "LeNet-5, 28 x 28, batch 32", 32, 4, lenet_network, lenet_torch, lenet_jax),
    Row("conv", "conv 3-32-32-pool-64-64-pool-dense, 32 x 32, batch 32", 32, 1.3, conv_network, conv_torch, conv_jax),
    Row(
        "lstm", "LSTM 128-128, 32 steps, batch 16", 16, 1.2, lstm_network, lstm_torch, lstm_jax, torch_compiled=lstm_torch_steps
    ),
    transformer("transformer-128", 8, 64, 128, 4, 1.2),
    transformer("transformer-768", 4, 64, 768, 12, 1.05),
)
