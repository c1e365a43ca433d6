"""Every protocol on every corpus, task and model: the parts of a benchmark, kept so that a stopped one can continue.

The protocols themselves are in their own files; tables and pictures of the whole are in report.py.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from joblib import Parallel, delayed, parallel_config
from transformers import AutoConfig

from merit_hf import __version__
from merit_hf.evaluation.classification_result import classification_result
from merit_hf.evaluation.comparison import compare_predictions
from merit_hf.evaluation.plain_json import to_plain
from merit_hf.evaluation.predictions import Predictions, read_predictions, write_predictions
from merit_hf.evaluation.probes.linear_probe import ProbeSettings, check_fractions, linear_probe
from merit_hf.evaluation.results import BenchmarkComparison, BenchmarkResult, Result, write_results
from merit_hf.evaluation.targets import corpus_tasks
from merit_hf.evaluation.zero_shot.prompts import select_prompts
from merit_hf.evaluation.zero_shot.zero_shot import load_zero_shot, zero_shot_predictions

from .models import MERIT, BenchmarkModel

LINEAR_PROBE, ZERO_SHOT, FINETUNE = "linear_probe", "zero_shot", "finetune"
PROTOCOLS = (LINEAR_PROBE, ZERO_SHOT, FINETUNE)
# What fine-tuning leaves in its folder for the benchmark to read.
TEST_PREDICTIONS, VALIDATION_PREDICTIONS = "predictions_test.parquet", "predictions_validation.parquet"


@dataclass(frozen=True)
class BenchmarkSettings:
    """What holds for all parts of a benchmark.

    Attributes:
        test_split: split to test on; `probe_data` says what a probe is then chosen by.
        fractions: shares of the training labels for the probe.
        num_subsets: at least so many subsets for shares below 1; every seed of a model takes equally many.
        min_positives: labels with fewer test positives are left out of the macro averages, and listed.
        num_resamples: bootstrap resamples of intervals and comparisons, and permutations of the tests.
        by_patient: resample patients instead of records.
        prompts: file of prompts or name of a packaged one; None finds one by task.
        batch_size: records in one pass of a model.

    Raises:
        ValueError: a fraction that is not above 0 and at most 1.
    """

    test_split: str = "test"
    fractions: tuple[float, ...] = (0.01, 0.1, 1.0)
    num_subsets: int = 5
    min_positives: int = 5
    num_resamples: int = 1000
    by_patient: bool = False
    prompts: str | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_fractions(self.fractions)


@dataclass(frozen=True)
class Part:
    """One protocol on one task of one corpus for one model."""

    corpus: str
    task: str
    protocol: str
    model: BenchmarkModel

    @property
    def name(self) -> str:
        """Path without extension, below the benchmark's folder, of its results and predictions."""
        return f"{self.corpus}/{self.task}/{self.protocol}/{self.model.name}"


# Fine-tunes a checkpoint on the task of a part with a seed, and leaves its predictions in a folder.
Finetune = Callable[[Part, str, int, Path], None]


class Benchmark:
    """The parts of a benchmark and where they are kept.

    Args:
        models: trained ones and baselines; their names must differ.
        corpora: name -> splits by name (`load_corpus(path)`).
        output_dir: folder of the benchmark. `parts/` keeps the results of each part, `predictions/` its scores; a part
            that is there and was made by the same settings, checkpoints and prompts is not made again.
        tasks: label columns; None takes all that a corpus has.
        protocols: of `PROTOCOLS`.
        settings: see there.
        finetune: fine-tunes a checkpoint for the protocol of that name; the benchmark itself trains nothing.
        device: None takes a GPU if there is one.

    Raises:
        ValueError: two models of one name, an unknown protocol, or a task that no corpus has.
    """

    def __init__(
        self,
        models: Sequence[BenchmarkModel],
        corpora: Mapping[str, Mapping[str, datasets.Dataset]],
        output_dir: Path,
        *,
        tasks: Sequence[str] | None = None,
        protocols: Sequence[str] = (LINEAR_PROBE, ZERO_SHOT),
        settings: BenchmarkSettings | None = None,
        finetune: Finetune | None = None,
        device: str | None = None,
    ) -> None:
        names = [model.name for model in models]
        if len(set(names)) != len(names):
            raise ValueError(f"models must have different names, got {names}")
        if unknown := [protocol for protocol in protocols if protocol not in PROTOCOLS]:
            raise ValueError(f"protocols {unknown} are not known, expected some of {', '.join(PROTOCOLS)}")
        if FINETUNE in protocols and finetune is None:
            raise ValueError(f"protocol {FINETUNE!r} needs something that fine-tunes: give finetune")
        self.finetune = finetune
        self.models, self.corpora, self.output_dir = list(models), corpora, output_dir
        self.protocols, self.device = list(protocols), device
        self.settings = settings or BenchmarkSettings()
        self.tasks = {name: corpus_tasks(next(iter(splits.values()))) for name, splits in corpora.items()}
        if tasks is not None:
            known = {task for found in self.tasks.values() for task in found}
            if absent := [task for task in tasks if task not in known]:
                raise ValueError(f"tasks {absent} are in none of the corpora, which have {sorted(known)}")
            self.tasks = {name: [task for task in tasks if task in found] for name, found in self.tasks.items()}
        for name, splits in corpora.items():
            if self.settings.test_split not in splits:
                raise ValueError(
                    f"corpus {name!r} has no split {self.settings.test_split!r}; it has {', '.join(splits)}"
                )

    def parts(self) -> list[Part]:
        """All parts in the order in which they are made.

        Zero-shot is for models with a trained text tower, fine-tuning for MERIT encoders.
        """
        return [
            Part(corpus, task, protocol, model)
            for corpus, tasks in self.tasks.items()
            for task in tasks
            for protocol in self.protocols
            for model in self.models
            if protocol == LINEAR_PROBE or (_aligned(model) if protocol == ZERO_SHOT else model.kind == MERIT)
        ]

    def run(self, report: Callable[[str], None] = lambda line: None, num_parallel: int = 1) -> list[BenchmarkResult]:
        """Makes what is missing and returns all results.

        Args:
            report: told of each part as it begins.
            num_parallel: parts made at the same time, each by a process of its own; they share out the cores.
        """
        parts = self.parts()
        # Many threads on small matrices wait for one another, and the longer the busier the cores are.
        threads = max(1, (os.cpu_count() or 1) // num_parallel)
        with parallel_config("loky", n_jobs=num_parallel, inner_max_num_threads=threads):
            made = Parallel()(
                delayed(self._made)(part, partial(report, f"{number}/{len(parts)}  {part.name}"))
                for number, part in enumerate(parts, start=1)
            )
        return list(itertools.chain.from_iterable(made))

    def _made(self, part: Part, begin: Callable[[], None]) -> list[BenchmarkResult]:
        begin()
        makers = {LINEAR_PROBE: self._linear_probe, ZERO_SHOT: self._zero_shot, FINETUNE: self._finetuned}
        identity: dict[str, Any] = {"model": part.model.identity(), "corpus": self.fingerprint(part.corpus)}
        if part.protocol == ZERO_SHOT:
            # The texts, since the settings only name their file.
            identity["prompts"], _ = self._prompts(part)
        made = self.kept(part.name, identity, partial(makers[part.protocol], part))
        return [BenchmarkResult(part.corpus, part.protocol, Result.from_plain(entry)) for entry in made]

    def kept(self, name: str, identity: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """What `make` returns, as plain JSON: from `parts/` if it is there with the same identity, or made now.

        Args:
            name: path below `parts/`, without extension.
            identity: what it depends on besides the settings and the version of this package; plain JSON.
            make: called if it is not there.
        """
        path = self.output_dir / "parts" / f"{name}.json"
        # Through JSON, since tuples come back as lists.
        wanted = json.loads(json.dumps({"version": __version__, "settings": vars(self.settings), **identity}))
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["identity"] == wanted:
                return found["made"]
        made = to_plain(make())
        write_results({"identity": wanted, "made": made}, path)
        return made

    def fingerprint(self, corpus: str) -> dict[str, str]:
        """What tells the splits of a corpus from those of another conversion."""
        return {name: split._fingerprint for name, split in self.corpora[corpus].items()}

    def predictions_dir(self, part: Part) -> Path:
        """Folder of the scores of a part."""
        return self.output_dir / "predictions" / part.name

    def _linear_probe(self, part: Part) -> list[Result]:
        settings, model = self.settings, part.model
        encoders = model.encoders(self.device)
        subsets_each = math.ceil(settings.num_subsets / len(encoders))
        probe_settings = ProbeSettings(
            fractions=settings.fractions,
            seeds=range(subsets_each * len(encoders)),
            test_split=settings.test_split,
            min_positives=settings.min_positives,
            num_resamples=settings.num_resamples,
            by_patient=settings.by_patient,
            batch_size=settings.batch_size,
            cache_dir=self.output_dir / "features",
            predictions_dir=self.predictions_dir(part),
        )
        return linear_probe(
            encoders,
            self.corpora[part.corpus],
            part.task,
            probe_settings,
            model_name=model.name,
            config={"checkpoints": list(model.checkpoints)},
        )

    def _zero_shot(self, part: Part) -> list[Result]:
        settings, model = self.settings, part.model
        dataset = self.corpora[part.corpus][settings.test_split]
        prompts, source = self._prompts(part)
        runs = []
        for seed, checkpoint in zip(model.seeds, model.checkpoints, strict=True):
            loaded = load_zero_shot(checkpoint, self.device)
            run = zero_shot_predictions(
                *loaded, dataset, task=part.task, prompts=prompts, batch_size=settings.batch_size
            )
            self._write_test_predictions(part, seed, run)
            runs.append(run)
        return [self._result(part, runs, None, {"prompts": source})]

    def _finetuned(self, part: Part) -> list[Result]:
        assert self.finetune is not None  # __init__ refuses this protocol without it
        model = part.model
        tests, validations = [], []
        for seed, checkpoint in zip(model.seeds, model.checkpoints, strict=True):
            folder = self.output_dir / FINETUNE / part.name / f"seed-{seed}"
            self.finetune(part, checkpoint, seed, folder)
            tests.append(read_predictions(folder / TEST_PREDICTIONS))
            validations.append(read_predictions(folder / VALIDATION_PREDICTIONS))
            self._write_test_predictions(part, seed, tests[-1])
        return [self._result(part, tests, validations, {})]

    def _write_test_predictions(self, part: Part, seed: int, predictions: Predictions) -> None:
        name = f"{part.task}-seed-{seed}-{self.settings.test_split}.parquet"
        write_predictions(predictions, self.predictions_dir(part) / name)

    def _result(
        self,
        part: Part,
        tests: Sequence[Predictions],
        validations: Sequence[Predictions] | None,
        config: Mapping[str, Any],
    ) -> Result:
        settings, model = self.settings, part.model
        return classification_result(
            tests,
            validations,
            task=part.task,
            split=settings.test_split,
            model=model.name,
            config={"checkpoints": list(model.checkpoints), **config, "seeds": list(model.seeds)},
            min_positives=settings.min_positives,
            num_resamples=settings.num_resamples,
            by_patient=settings.by_patient,
        )

    def _prompts(self, part: Part) -> tuple[dict[str, list[str]], str]:
        labels = self.corpora[part.corpus][self.settings.test_split].features[part.task].feature.names
        return select_prompts(part.task, labels, self.settings.prompts)

    def test_predictions(self, part: Part) -> list[Predictions]:
        """Scores of a part on the test split, one a seed; of a probe those with the largest share of the labels."""
        folder = self.predictions_dir(part)
        stem = f"{part.task}-seed-"
        if part.protocol == LINEAR_PROBE:
            stem = f"{part.task}-{max(self.settings.fractions):g}-seed-"
        paths = sorted(folder.glob(f"{stem}*-{self.settings.test_split}.parquet"))
        return [read_predictions(path) for path in paths]

    def comparisons(self, metric: str = "macro_auroc") -> list[BenchmarkComparison]:
        """Paired comparisons of every two models on the same records, a later one as A against an earlier as B.

        Models without predictions, as their probe skipped the largest share of the labels, are not compared.
        """
        found = []
        parts = {(part.corpus, part.task, part.protocol, part.model.name): part for part in self.parts()}
        for corpus, tasks in self.tasks.items():
            for task, protocol in itertools.product(tasks, self.protocols):
                there = [model.name for model in self.models if (corpus, task, protocol, model.name) in parts]
                scores = {name: self.test_predictions(parts[corpus, task, protocol, name]) for name in there}
                for first, second in itertools.combinations([name for name in there if scores[name]], 2):
                    comparison = compare_predictions(
                        scores[second],
                        scores[first],
                        metric=metric,
                        num_resamples=self.settings.num_resamples,
                        num_permutations=self.settings.num_resamples,
                        min_positives=self.settings.min_positives,
                        by_patient=self.settings.by_patient,
                    )
                    found.append(BenchmarkComparison(corpus, task, protocol, second, first, comparison))
        return found


def _aligned(model: BenchmarkModel) -> bool:
    """Whether zero-shot makes sense: a trained model whose ECGs were aligned with text."""
    if model.kind != MERIT:
        return False
    config = AutoConfig.from_pretrained(model.checkpoints[0])
    return getattr(config, "contrastive_weight", 0) > 0
