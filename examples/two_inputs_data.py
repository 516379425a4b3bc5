"""Write the data of two_inputs.toml: the upper and lower halves of the UCI digits, their labels, and their ink.

Run it: python examples/two_inputs_data.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

TARGET = Path(__file__).parent / "data" / "two_inputs.npz"


def write(target: Path = TARGET) -> None:
    """Write the arrays under the names of the inputs and targets."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    ink = images.sum(axis=1, keepdims=True)
    np.savez(target, top=images[:, :32], bottom=images[:, 32:], label=labels, amount=(ink - ink.mean()) / ink.std())


if __name__ == "__main__":
    write()
