"""Characters of a text as integers, and windows of it with the characters that follow, for the examples that learn them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bpcompile as bp

TEXT = Path(__file__).parent / "data" / "text.txt"


@dataclass(frozen=True)
class Characters:
    """A text, cut into a part to learn from and a part that is held out."""

    alphabet: str
    learned: np.ndarray[Any, Any]
    held_out: np.ndarray[Any, Any]

    @classmethod
    def read(cls, path: Path = TEXT, held_out: float = 0.1) -> Characters:
        """Read a text; its end is held out."""
        text = path.read_text(encoding="utf-8")
        alphabet = "".join(sorted(set(text)))
        codes = np.array([alphabet.index(c) for c in text], np.int32)
        cut = round(len(codes) * (1 - held_out))
        return cls(alphabet, codes[:cut], codes[cut:])

    def windows(self, steps: int, stride: int, held_out: bool = False) -> dict[str, np.ndarray[Any, Any]]:
        """Windows of `steps` characters, one every `stride`, and for each character the one that follows."""
        codes = self.held_out if held_out else self.learned
        starts = range(0, len(codes) - steps, stride)
        return {
            "x": np.stack([codes[s : s + steps] for s in starts]),
            "y": np.stack([codes[s + 1 : s + steps + 1] for s in starts]),
        }


def train(net: bp.Network, characters: Characters, steps: int, epochs: int, learning_rate: float, **options: Any) -> None:
    """Train, and print the bits a character costs, on what is learned and on what is held out."""
    model = bp.compile(net, optimizer=bp.Adam(learning_rate=learning_rate), **options)
    params = model.init(seed=0)
    data, test = characters.windows(steps, steps // 2), characters.windows(steps, steps, held_out=True)
    print(f"{net.parameter_count} parameters, {len(data['x'])} windows of {steps} characters")
    for epoch in range(1, epochs + 1):
        loss = model.train_epoch(params, batch_size=16, seed=epoch, **data)
        held_out, _ = model.value_and_grad(params, training=False, **test)
        print(f"epoch {epoch:3d}: {loss / np.log(2):.3f} bits a character, held out {held_out / np.log(2):.3f}")
    print(write(model, params, characters, steps))


def write(model: bp.Model, params: bp.Parameters, characters: Characters, steps: int, count: int = 200) -> str:
    """Let the network go on from the beginning of the text, drawing each character."""
    rng = np.random.default_rng(0)
    codes = list(characters.learned[:steps])
    for _ in range(count):
        scores = model.predict(params, x=np.array([codes[-steps:]], np.int32))[0, -1].astype(float)
        chances = np.exp(scores - scores.max())
        codes.append(int(rng.choice(len(chances), p=chances / chances.sum())))
    return "".join(characters.alphabet[c] for c in codes)
