"""What a benchmark may add to probes and zero-shot: robustness, structure and distribution shift of its contenders.

Each study is kept as the parts of benchmark.py are; the protocols are in files of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from merit_hf.evaluation.encoders.encoder import Encoder
from merit_hf.evaluation.probes.measurements import knows_quantities
from merit_hf.evaluation.probes.structure_probe import structure_probe
from merit_hf.evaluation.robustness.robustness import clean_probe, load_curves, robustness
from merit_hf.evaluation.shift.distribution_shift import SOURCE_SPLITS, distribution_shift
from merit_hf.evaluation.shift.label_maps import LabelMap, select_label_map

from .benchmark import Benchmark
from .contenders import Contender

ROBUSTNESS, STRUCTURE, SHIFT = "robustness", "structure_probe", "distribution_shift"


def robustness_study(benchmark: Benchmark, curves: str = "standard") -> dict[str, dict[str, dict[str, Any]]]:
    """Curves of a clean probe on every task: "corpus task" -> contender -> result. Of several seeds the first."""
    settings, levels = benchmark.settings, load_curves(curves)

    def make(corpus: str, task: str, contender: Contender) -> dict[str, Any]:
        encoder, splits = contender.encoders(benchmark.device)[0], benchmark.corpora[corpus]
        folder = benchmark.output_dir / "features"
        probe = clean_probe(encoder, splits, task, test_split=settings.test_split, cache_dir=folder)
        return robustness(
            lambda rows: probe.probabilities(encoder.features(rows, batch_size=settings.batch_size)),
            splits[settings.test_split],
            levels,
            task=task,
            split=settings.test_split,
            model=contender.name,
            config={"choice": probe.choice},
            score_kind="probability",
            lead_names=encoder.feature_extractor.lead_names,
            min_positives=settings.min_positives,
            num_resamples=settings.num_resamples,
        )

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for corpus, tasks in benchmark.tasks.items():
        for task, contender in itertools.product(tasks, benchmark.contenders):
            identity = {
                "contender": contender.identity(),
                "corpus": benchmark.fingerprint(corpus),
                "curves": {
                    name: [each.as_plain() for each in level.values()] for name, level in levels.levels.items()
                },
            }
            name = f"{corpus}/{task}/{ROBUSTNESS}/{contender.name}"
            result = benchmark.kept(name, identity, partial(make, corpus, task, contender))
            found.setdefault(f"{corpus} {task}", {})[contender.name] = result
    return found


def structure_study(benchmark: Benchmark) -> dict[str, dict[str, Any]]:
    """R² of what reports leave out, all contenders side by side: corpus -> result, where a corpus knows quantities."""
    found: dict[str, dict[str, Any]] = {}
    test_split = benchmark.settings.test_split

    def make(corpus: str) -> dict[str, Any]:
        encoders: dict[str, Encoder | Sequence[Encoder]] = {
            contender.name: contender.encoders(benchmark.device) for contender in benchmark.contenders
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
        if not knows_quantities(splits[test_split]):
            continue
        identity = {
            "contenders": {contender.name: contender.identity() for contender in benchmark.contenders},
            "corpus": benchmark.fingerprint(corpus),
        }
        found[corpus] = benchmark.kept(f"{corpus}/{STRUCTURE}", identity, partial(make, corpus))
    return found


def shift_study(benchmark: Benchmark) -> dict[str, dict[str, dict[str, Any]]]:
    """Probe on one corpus, test on another: "source to target" -> contender -> result, for pairs with a label map."""
    settings = benchmark.settings
    found: dict[str, dict[str, dict[str, Any]]] = {}

    def make(source: str, target: str, label_map: LabelMap, contender: Contender) -> dict[str, Any]:
        return distribution_shift(
            contender.encoders(benchmark.device)[0],
            benchmark.corpora[source],
            benchmark.corpora[target][settings.test_split],
            label_map,
            model_name=contender.name,
            config={"checkpoints": list(contender.checkpoints)},
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
        for contender in benchmark.contenders:
            identity = {
                "contender": contender.identity(),
                "corpora": [benchmark.fingerprint(source), benchmark.fingerprint(target)],
                "label_map": label_map.as_plain(),
            }
            name = f"{source}/{SHIFT}/{target}/{contender.name}"
            result = benchmark.kept(name, identity, partial(make, source, target, label_map, contender))
            found.setdefault(f"{source} to {target}", {})[contender.name] = result
    return found


STUDIES: Mapping[str, Callable[[Benchmark], dict[str, Any]]] = {
    ROBUSTNESS: robustness_study,
    STRUCTURE: structure_study,
    SHIFT: shift_study,
}
