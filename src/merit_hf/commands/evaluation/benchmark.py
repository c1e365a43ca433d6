"""Put models and baselines through the protocols on every corpus and task, into one folder of tables and pictures.

    merit benchmark --models both=RUN_0 both=RUN_1 masked=RUN_2 --corpora ptb_xl=CORPUS --output_dir OUT

A name that comes several times is one model trained with several seeds. OUT gets README.md (tables), results.json,
results.csv, plots/, and the predictions of every model (predictions/, Parquet), from which anyone can recompute. A
benchmark that was stopped continues with the same command.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from merit_hf.command_line import option
from merit_hf.commands.main import module_words, started_as

if TYPE_CHECKING:
    from merit_hf.evaluation.benchmark.benchmark import Part


@dataclass
class BenchmarkArguments:
    """Arguments of the command."""

    models: list[str] = option(help="NAME=RUN each; the same name again is another seed of the same model")
    corpora: list[str] = option(
        help="NAME=CORPUS each; for the names ptb_xl, cpsc2018 and csn, the report also shows published numbers"
    )
    output_dir: str = option(help="folder to write")
    data: list[str] = option([], help="NAME=WORDS each: what the records of a corpus are, for the report")
    baselines: list[str] = option(
        ["untrained", "random_convolutions"], help="encoders to compare with: untrained, random_convolutions, hf:NAME"
    )
    protocols: list[str] = option(["linear_probe", "zero_shot"], help="linear_probe, zero_shot, finetune")
    finetune_config: str = option(
        "finetune_tiny", help="recipe of the protocol finetune: a YAML file, or the name of a packaged one"
    )
    studies: list[str] = option(
        [], help="further studies: robustness, structure_probe (corpora with measurements), distribution_shift"
    )
    tasks: list[str] | None = option(None, help="label columns; null takes all that a corpus has")
    test_split: str = option("test", help="split to test on")
    fractions: list[float] = option([0.01, 0.1, 1.0], help="shares of the training labels for the linear probe")
    seeds: int = option(3, help="seeds of baselines with random weights")
    subsets: int = option(5, help="at least so many subsets of the training labels")
    min_positives: int = option(
        5, unit="records", help="labels with fewer positive test records are left out of macro averages, and named"
    )
    num_resamples: int = option(1000, help="bootstrap resamples of intervals, and permutations of tests")
    by_patient: bool = option(False, help="resample patients instead of records")
    prompts: str | None = option(
        None, help="prompts, a JSON file or the name of a packaged one; null finds one by task"
    )
    batch_size: int = option(64, unit="records", help="records in one pass of a model")
    num_parallel: int = option(1, help="parts made at the same time, each by its own process; they share the cores")
    device: str | None = option(None, help="device, e.g. cpu or cuda:0; null takes a GPU if there is one")


def main(arguments: BenchmarkArguments) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from merit_hf.data.build.open import load_corpus
    from merit_hf.evaluation.benchmark.benchmark import Benchmark, BenchmarkSettings
    from merit_hf.evaluation.benchmark.models import benchmark_models
    from merit_hf.evaluation.benchmark.report import write_benchmark
    from merit_hf.evaluation.benchmark.studies import STUDIES
    from merit_hf.evaluation.tables import benchmark_table

    if unknown := [name for name in arguments.studies if name not in STUDIES]:
        raise ValueError(f"--studies {unknown} are not known, expected some of {', '.join(STUDIES)}")
    if arguments.num_parallel < 1:
        raise ValueError(f"--num_parallel is {arguments.num_parallel}, expected at least 1")
    settings = BenchmarkSettings(
        test_split=arguments.test_split,
        fractions=tuple(arguments.fractions),
        num_subsets=arguments.subsets,
        min_positives=arguments.min_positives,
        num_resamples=arguments.num_resamples,
        by_patient=arguments.by_patient,
        prompts=arguments.prompts,
        batch_size=arguments.batch_size,
    )
    paths = named(arguments.corpora, "corpora")
    benchmark = Benchmark(
        benchmark_models(arguments.models, arguments.baselines, arguments.seeds),
        {name: load_corpus(path) for name, path in paths.items()},
        Path(arguments.output_dir),
        tasks=arguments.tasks,
        protocols=arguments.protocols,
        settings=settings,
        finetune=partial(finetune, arguments, paths),
        device=arguments.device,
    )
    results = benchmark.run(lambda line: print(line, flush=True), arguments.num_parallel)
    comparisons = benchmark.comparisons()
    studies = {}
    for name in arguments.studies:
        print(name.replace("_", " "), flush=True)
        studies[name] = STUDIES[name](benchmark)
    words = named(arguments.data, "data") if arguments.data else {}
    write_benchmark(
        benchmark,
        results,
        comparisons,
        command=started_as(),
        data={name: words.get(name, path) for name, path in paths.items()},
        studies=studies,
    )
    print(benchmark_table(results))
    print(f"written to {arguments.output_dir}: README.md, results.json, results.csv, plots/, predictions/")


def finetune(
    arguments: BenchmarkArguments, corpora: dict[str, str], part: Part, checkpoint: str, seed: int, folder: Path
) -> None:
    """Fine-tunes one checkpoint with `merit finetune`, or continues a run that was stopped."""
    words = [sys.executable, *module_words("finetune"), arguments.finetune_config]
    words += ["--model", checkpoint, "--corpus", corpora[part.corpus], "--task", part.task, "--seed", str(seed)]
    words += ["--test_split", arguments.test_split, "--output_dir", str(folder), "--disable_tqdm", "true"]
    resume = any((folder / "checkpoints").glob("step-*"))
    words += ["--resume_from_checkpoint", "latest"] if resume else ["--overwrite"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"fine-tuning {checkpoint} failed: {' '.join(done.stderr.strip().splitlines()[-1:])}")


def named(words: list[str], option_name: str) -> dict[str, str]:
    """`["a=x", "b=y"]` as {"a": "x", "b": "y"}."""
    pairs = [word.partition("=") for word in words]
    if bad := [word for word, (name, _, value) in zip(words, pairs, strict=True) if not name or not value]:
        raise ValueError(f"--{option_name}: {bad[0]!r} is not NAME=VALUE")
    found = {name: value for name, _, value in pairs}
    if len(found) != len(pairs):
        raise ValueError(f"--{option_name} names something twice: {' '.join(words)}")
    return found
