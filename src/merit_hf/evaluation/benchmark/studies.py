"""What a benchmark may add to probes and zero-shot: robustness, structure and distribution shift of its models.

Each study is kept as the parts of benchmark.py are; the protocols are in files of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from merit_hf.evaluation.encoders.encoder import Encoder
from merit_hf.evaluation.probes.linear_probe import train_probe
from merit_hf.evaluation.probes.measurements import has_measurements
from merit_hf.evaluation.probes.probe_data import SplitFeatures, probe_data
from merit_hf.evaluation.probes.structure_probe import structure_probe
from merit_hf.evaluation.results import RobustnessResult, ShiftResult, StructureResult
from merit_hf.evaluation.robustness.robustness import load_curves, robustness
from merit_hf.evaluation.shift.distribution_shift import SOURCE_SPLITS, distribution_shift
from merit_hf.evaluation.shift.label_maps import LabelMap, select_label_map

from .benchmark import Benchmark
from .models import BenchmarkModel

ROBUSTNESS, STRUCTURE, SHIFT = "robustness", "structure_probe", "distribution_shift"


def robustness_study(benchmark: Benchmark, curves: str = "standard") -> dict[str, dict[str, RobustnessResult]]:
    """Curves of a clean probe on every task: "corpus task" -> model -> result. Of several seeds the first."""
    settings, levels = benchmark.settings, load_curves(curves)

    def make(corpus: str, task: str, model: BenchmarkModel) -> RobustnessResult:
        encoder, splits = model.encoders(benchmark.device)[0], benchmark.corpora[corpus]
        features = SplitFeatures(encoder, splits, cache_dir=benchmark.output_dir / "features")
        probe = train_probe(probe_data(splits, task, settings.test_split), features).probe
        return robustness(
            lambda rows: probe.probabilities(encoder.features(rows, batch_size=settings.batch_size)),
            splits[settings.test_split],
            levels,
            task=task,
            split=settings.test_split,
            model=model.name,
            config={"choice": probe.choice},
            score_kind="probability",
            lead_names=encoder.feature_extractor.lead_names,
            min_positives=settings.min_positives,
            num_resamples=settings.num_resamples,
        )

    found: dict[str, dict[str, RobustnessResult]] = {}
    for corpus, tasks in benchmark.tasks.items():
        for task, model in itertools.product(tasks, benchmark.models):
            identity = {
                "model": model.identity(),
                "corpus": benchmark.fingerprint(corpus),
                "curves": {
                    name: [each.as_plain() for each in level.values()] for name, level in levels.levels.items()
                },
            }
            name = f"{corpus}/{task}/{ROBUSTNESS}/{model.name}"
            result = benchmark.kept(name, identity, partial(make, corpus, task, model))
            found.setdefault(f"{corpus} {task}", {})[model.name] = RobustnessResult.from_plain(result)
    return found


def structure_study(benchmark: Benchmark) -> dict[str, StructureResult]:
    """R² of what reports leave out, of all models: corpus -> result, for corpora that have measurements."""
    found: dict[str, StructureResult] = {}
    test_split = benchmark.settings.test_split

    def make(corpus: str) -> StructureResult:
        encoders: dict[str, Encoder | Sequence[Encoder]] = {
            model.name: model.encoders(benchmark.device) for model in benchmark.models
        }
        return structure_probe(
            encoders,
            benchmark.corpora[corpus],
            test_split=test_split,
            num_resamples=benchmark.settings.num_resamples,
            batch_size=benchmark.settings.batch_size,
            cache_dir=benchmark.output_dir / "features",
        )

    for corpus, splits in benchmark.corpora.items():
        if not has_measurements(splits[test_split]):
            continue
        identity = {
            "models": {model.name: model.identity() for model in benchmark.models},
            "corpus": benchmark.fingerprint(corpus),
        }
        made = benchmark.kept(f"{corpus}/{STRUCTURE}", identity, partial(make, corpus))
        found[corpus] = StructureResult.from_plain(made)
    return found


def shift_study(benchmark: Benchmark) -> dict[str, dict[str, ShiftResult]]:
    """Probe on one corpus, test on another: "source to target" -> model -> result, for pairs with a label map."""
    settings = benchmark.settings
    found: dict[str, dict[str, ShiftResult]] = {}

    def make(source: str, target: str, label_map: LabelMap, model: BenchmarkModel) -> ShiftResult:
        return distribution_shift(
            model.encoders(benchmark.device)[0],
            benchmark.corpora[source],
            benchmark.corpora[target][settings.test_split],
            label_map,
            model_name=model.name,
            config={"checkpoints": list(model.checkpoints)},
            target_split=settings.test_split,
            min_positives=settings.min_positives,
            num_resamples=settings.num_resamples,
            batch_size=settings.batch_size,
            cache_dir=benchmark.output_dir / "features",
        )

    for source, target in itertools.permutations(benchmark.corpora, 2):
        if missing := [split for split in SOURCE_SPLITS if split not in benchmark.corpora[source]]:
            raise ValueError(f"corpus {source!r} lacks the splits {missing} that a probe for {target!r} needs")
        label_map = select_label_map(
            benchmark.corpora[source]["train"], benchmark.corpora[target][settings.test_split]
        )
        for model in benchmark.models:
            identity = {
                "model": model.identity(),
                "corpora": [benchmark.fingerprint(source), benchmark.fingerprint(target)],
                "label_map": label_map.as_plain(),
            }
            name = f"{source}/{SHIFT}/{target}/{model.name}"
            result = benchmark.kept(name, identity, partial(make, source, target, label_map, model))
            found.setdefault(f"{source} to {target}", {})[model.name] = ShiftResult.from_plain(result)
    return found


STUDIES: Mapping[str, Callable[[Benchmark], dict[str, Any]]] = {
    ROBUSTNESS: robustness_study,
    STRUCTURE: structure_study,
    SHIFT: shift_study,
}
