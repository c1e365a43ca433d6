"""The models of a benchmark: a name, what kind of encoder it is, and one checkpoint a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from merit_hf.evaluation.encoders.encoder import DRAWN_KINDS, HUB_PREFIX, KINDS, ModelEncoder, load_encoder

MERIT = KINDS[0]
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class BenchmarkModel:
    """One model of a benchmark, trained or a baseline.

    Attributes:
        name: used in tables and file names.
        kind: of its encoders (`encoder.KINDS`).
        checkpoints: RUN folders or Hub ids, one a seed. Of a kind whose weights are drawn, the one whose architecture
            and feature extractor are taken, or none.
        seeds: one a checkpoint; of drawn kinds, of the weights.
    """

    name: str
    kind: str
    checkpoints: tuple[str, ...]
    seeds: tuple[int, ...]

    def encoders(self, device: str | torch.device | None = None) -> list[ModelEncoder]:
        """Its encoders, one a seed."""
        if self.kind in DRAWN_KINDS:
            path = self.checkpoints[0] if self.checkpoints else None
            return [load_encoder(path, kind=self.kind, device=device, seed=seed) for seed in self.seeds]
        if self.kind.startswith(HUB_PREFIX):
            return [load_encoder(kind=self.kind, device=device)]
        return [load_encoder(path, kind=self.kind, device=device) for path in self.checkpoints]

    def identity(self) -> dict[str, Any]:
        """All that its results depend on, as plain JSON; another training under the same name has another identity."""
        return {"kind": self.kind, "seeds": list(self.seeds), "checkpoints": [_state_of(p) for p in self.checkpoints]}


def benchmark_models(
    models: Sequence[str], baselines: Sequence[str] = ("untrained", "random_convolutions"), num_drawn: int = 3
) -> list[BenchmarkModel]:
    """Models and baselines as a command line names them.

    Args:
        models: NAME=CHECKPOINT each; a name that comes again is one more seed of that model.
        baselines: kinds of encoders to compare with; those that need a checkpoint take that of the first model.
        num_drawn: seeds of baselines whose weights are drawn by chance.

    Returns:
        Baselines first, then models in the order of their first mention.

    Raises:
        ValueError: no models, a word that is no NAME=CHECKPOINT, an unknown baseline, or a model named like one.
    """
    if not models:
        raise ValueError("models is empty: give at least one NAME=CHECKPOINT")
    checkpoints: dict[str, list[str]] = {}
    for word in models:
        name, equals, path = word.partition("=")
        if not equals or not name or not path or not name.replace("-", "_").replace(".", "_").isidentifier():
            raise ValueError(f"models: {word!r} is not NAME=CHECKPOINT, with a name of letters, digits, _, - and .")
        checkpoints.setdefault(name, []).append(path)
    if num_drawn < 1:
        raise ValueError(f"num_drawn must be at least 1, got {num_drawn}")
    found = []
    first = models[0].partition("=")[2]
    for kind in baselines:
        if kind not in DRAWN_KINDS and not kind.startswith(HUB_PREFIX):
            raise ValueError(f"baseline {kind!r} is not known, expected {', '.join(DRAWN_KINDS)} or {KINDS[-1]}")
        name = kind.removeprefix(HUB_PREFIX).replace("/", "--")
        if name in checkpoints:
            raise ValueError(f"{name!r} is both a model and a baseline; name the model otherwise")
        drawn = kind in DRAWN_KINDS
        seeds = tuple(range(num_drawn)) if drawn else (0,)
        found.append(BenchmarkModel(name, kind, (first,) if drawn else (), seeds))
    found += [BenchmarkModel(name, MERIT, tuple(p), tuple(range(len(p)))) for name, p in checkpoints.items()]
    return found


def _state_of(path: str) -> list[Any]:
    files = [Path(path) / name for name in WEIGHTS if (Path(path) / name).is_file()]
    return [path, *(value for file in files for value in (file.stat().st_size, file.stat().st_mtime_ns))]
