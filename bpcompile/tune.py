"""A short measured search over the ways to compute each contraction: what `compile(..., tune=True)` does.

Every variant is built once with a clock around each kernel, so that one run tells for all kernels how they fare with it; each
kernel then takes the variant that is fastest for it. Variants differ in how sums are cut into blocks, so results differ in
rounding and nothing else. What was found is remembered beside the extensions, for this network on this processor: from then
on the same text is written at once, and compiled never again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from bpcompile import build
from bpcompile.check import drawn_array
from bpcompile.emit.c.limits import DEFAULTS, Limits
from bpcompile.emit.c.source import Source as Module
from bpcompile.profile import Clocked, clocked
from bpcompile.toolchain import cache, processor

if TYPE_CHECKING:
    from bpcompile.model import Model

EXAMPLES: Final = 64
"""Examples in a batch where `tune` does not say."""
SECONDS: Final = 20.0
"""How long the search may take, about; large networks get fewer variants."""
VARIANTS: Final = (
    replace(DEFAULTS, packed_rows=1 << 30),
    replace(DEFAULTS, packed_rows=0, packed_depth=0),
    replace(DEFAULTS, depth_block=208),
    replace(DEFAULTS, depth_block=528),
    replace(DEFAULTS, row_block=96),
    replace(DEFAULTS, row_block=480),
    replace(DEFAULTS, dot_rows=0),
    replace(DEFAULTS, dot_rows=128),
)
"""What is tried, the most promising first."""
_GAIN: Final = 0.97  # of the default's time, from which a variant counts as faster
_BUILD_SHARE: Final = 0.6  # of the time: for building
_MEASURE_SHARE: Final = 0.2  # for measuring, and once more for the comparison at the end
_ROUNDS: Final = 8
_FORMAT: Final = 1
Key = TypeVar("Key")


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    Attributes
    ----------
    limits : mapping of int to Limits
        The kernels, by number, that are faster with other limits than the default ones.
    variants : int
        How many variants were measured.
    gain : float
        The time of the kernels together, relative to the time with the default limits.
    seconds : float
        How long the search took; 0 if it was remembered.
    """

    limits: Mapping[int, Limits]
    variants: int
    gain: float
    seconds: float


def tuned(
    model: Model,
    module: Module,
    rewrite: Callable[[Mapping[int, Limits]], Module],
    *,
    examples: int = EXAMPLES,
    seconds: float | None = None,
    flags: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda text: None,  # noqa: ARG005
) -> Tuning:
    """Find, or remember, the limits that are fastest for a model's training step.

    Parameters
    ----------
    model : Model
        A model of the C backend with a loss.
    module : Source
        Its text with the default limits.
    rewrite : callable
        Gives the text with other limits.
    examples : int
        Examples in a batch.
    seconds : float, optional
        How long the search may take; `SECONDS` unless given.
    flags : sequence of str, optional
        The C compiler's flags.
    progress : callable
        Is told, in a few words, after each variant.
    """
    place = _place(module, examples, flags)
    remembered = _read(place)
    if remembered is not None:
        return remembered
    start = time.perf_counter()
    rng = np.random.default_rng(0)
    real = model.signature.real
    drawn = {a.name: drawn_array(a, examples, rng) for a in model.signature.arrays}
    data = {name: a.astype(real) if a.dtype.kind == "f" else a for name, a in drawn.items()}
    params, state = model.init(0), model.init_state()
    with tempfile.TemporaryDirectory(prefix="bpcompile-tune-") as folder:

        def built(limits: Mapping[int, Limits]) -> Clocked:
            return clocked(model, rewrite(limits), params, state, data, flags=flags, directory=Path(folder))

        found = _search(module, rewrite, built, progress, SECONDS if seconds is None else seconds)
    result = replace(found, seconds=time.perf_counter() - start)
    _write(place, result)
    return result


def _search(
    module: Module,
    rewrite: Callable[[Mapping[int, Limits]], Module],
    built: Callable[[Mapping[int, Limits]], Clocked],
    progress: Callable[[str], None],
    seconds: float,
) -> Tuning:
    """Build as many variants as there is time for, measure them in turn, and give each kernel the one that suits it."""
    start = time.perf_counter()
    numbers = range(len(module.unlike))
    runs, texts = {DEFAULTS: (built({}), module.unlike)}, {module.c_text}
    slowest = time.perf_counter() - start
    for variant in VARIANTS:
        begun = time.perf_counter()
        if begun - start + slowest > _BUILD_SHARE * seconds:
            break
        everywhere = dict.fromkeys(numbers, variant)
        other = rewrite(everywhere)
        if other.c_text in texts:
            continue
        texts.add(other.c_text)
        runs[variant] = built(everywhere), other.unlike
        slowest = max(slowest, time.perf_counter() - begun)
        progress(f"{len(runs)} variants built")
    times = _in_turn({v: run for v, (run, _) in runs.items()}, _MEASURE_SHARE * seconds)
    limits = {}
    for k in numbers:
        spent = {v: times[v][names[k]] for v, (_, names) in runs.items() if names[k] in times[v]}
        best = min(spent, key=lambda v: spent[v], default=DEFAULTS)
        if best != DEFAULTS and spent[best] < _GAIN * spent[DEFAULTS]:
            limits[k] = best
    progress(f"{len(runs)} variants measured, {len(limits)} kernels faster with another one")
    return _confirmed(Tuning(limits, len(runs), 1.0, 0.0), runs[DEFAULTS][0], built, _MEASURE_SHARE * seconds)


def _confirmed(
    found: Tuning, default: Clocked, built: Callable[[Mapping[int, Limits]], Clocked], seconds: float
) -> Tuning:
    """Compare the whole with the default once more: what was luck is dropped."""
    if not found.limits:
        return found
    times = _in_turn({"default": default, "chosen": built(found.limits)}, seconds)
    gain = sum(times["chosen"].values()) / sum(times["default"].values())
    return replace(found, gain=gain) if gain < 1 else replace(found, limits={})


def _in_turn(runs: Mapping[Key, Clocked], seconds: float) -> dict[Key, dict[str, float]]:
    """Nanoseconds of each C function in a step, the least of many; all runs in turn, so that a disturbance meets all."""
    deadline, rounds = time.perf_counter() + seconds, 0
    least: dict[Key, dict[str, float]] = {key: {} for key in runs}
    while rounds < 2 or time.perf_counter() < deadline:
        for key, run in runs.items():
            found: dict[str, float] = {}
            for name, spent in zip(run.names, run.least(seconds / (_ROUNDS * len(runs))), strict=True):
                found[name] = found.get(name, 0.0) + spent
            least[key] = {name: min(spent, least[key].get(name, spent)) for name, spent in found.items()}
        rounds += 1
    return least


# --- what was found before ------------------------------------------------------------------------------------------


def _place(module: Module, examples: int, flags: Sequence[str] | None) -> Path:
    """The file that remembers a search: named by all that its outcome depends on."""
    compiler = build.find_compiler()
    chosen = tuple(build.default_flags() if flags is None else flags)
    material = [
        _FORMAT, module.c_text, examples, compiler.command, compiler.version, chosen, processor.processor_identity(),
        [asdict(v) for v in VARIANTS],
    ]  # fmt: skip
    key = hashlib.sha256(json.dumps(material).encode()).hexdigest()
    return cache.cache_directory() / "tuned" / f"{module.prefix}-{key[:32]}.json"


def _read(place: Path) -> Tuning | None:
    try:
        facts = json.loads(place.read_text(encoding="utf-8"))
        limits = {int(k): _limits(row) for k, row in facts["limits"].items()}
        return Tuning(limits, int(facts["variants"]), float(facts["gain"]), 0.0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None


def _limits(row: Mapping[str, object]) -> Limits:
    """The variant that was written down; what is none of them is not trusted."""
    return next(v for v in VARIANTS if asdict(v) == row)


def _write(place: Path, found: Tuning) -> None:
    """Remember a search, if there is room: at once or not at all."""
    facts = {
        "limits": {str(k): asdict(limits) for k, limits in found.limits.items()},
        "variants": found.variants,
        "gain": found.gain,
    }
    with contextlib.suppress(OSError):
        cache.open_cache(place.parent.parent)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=place.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(facts, indent=1) + "\n")
        os.replace(temporary, place)
