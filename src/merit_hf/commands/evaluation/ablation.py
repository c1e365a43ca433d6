"""Ablation of a recipe: masked only, contrastive only, both and untrained, with several seeds each.

    merit ablation --corpus CORPUS --config merit_tiny --output OUT.json

All variants see the same ECGs equally often, with the same stages, batches, learning rates and seeds; one of the two
losses is left out (`merit_hf.training.ablation.variants`). First stages in which "both" trains one loss alone are
trained once for the two. Trained models stay in OUT.runs/; tables and pictures in OUT.report/ are those of
`merit benchmark`. A run or evaluation that was stopped continues with the same command.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merit_hf.command_line import as_plain, option, parse_arguments, read_yaml, write_yaml
from merit_hf.commands.main import module_words, started_as

if TYPE_CHECKING:
    from merit_hf.training.pretraining.arguments import PretrainingArguments

# Of a run's arguments those that do not decide what is trained.
HOW_IT_STARTS = {"overwrite": None, "resume_from_checkpoint": None}


@dataclass
class AblationArguments:
    """Arguments of the command."""

    corpus: str = option(help="corpus folder, as `merit convert` writes it, or Hub id")
    config: str = option(help="pretraining recipe with both losses, YAML")
    output: str = option(help="results file to write, JSON; runs and report are written next to it")
    text_model: str | None = option(None, help="replaces text_model of the recipe: Hugging Face id or folder")
    variants: list[str] = option(["masked", "contrastive", "both"], help="what to train: masked, contrastive, both")
    baselines: list[str] = option(
        ["untrained"], help="encoders to compare with: untrained, random_convolutions, hf:NAME"
    )
    seeds: int = option(3, help="seeds of every variant, and of baselines with random weights: 0, 1, ...")
    tasks: list[str] | None = option(None, help="label columns; null takes all that the corpus has")
    test_split: str = option("test", help="split to test on")
    fractions: list[float] = option([0.01, 0.1, 1.0], help="shares of the training labels for the linear probe")
    min_positives: int = option(5, unit="records", help="rarer labels of the test split are left out of averages")
    num_resamples: int = option(1000, help="bootstrap resamples of intervals, and permutations of tests")
    prompts: str | None = option(None, help="prompts, a JSON file or a packaged name; null finds one by task")
    corpus_name: str = option(
        "corpus", help="its name in the report, which also shows published numbers for ptb_xl, cpsc2018 and csn"
    )
    data: str | None = option(None, help="description of the records, for the report")
    num_parallel: int = option(
        1, help="runs trained, and then parts evaluated, at the same time; they share the cores"
    )
    launcher: str = option(
        "",
        help="words before the training command, e.g. 'accelerate launch --quiet --num_processes 4'; empty: Python",
    )


def main(arguments: AblationArguments) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from merit_hf.data.build.open import load_corpus
    from merit_hf.evaluation.benchmark.benchmark import Benchmark, BenchmarkSettings
    from merit_hf.evaluation.benchmark.models import benchmark_models
    from merit_hf.evaluation.benchmark.report import write_benchmark
    from merit_hf.evaluation.comparison import named_verdict
    from merit_hf.evaluation.results import write_results
    from merit_hf.evaluation.tables import benchmark_comparisons_table

    for name in ("seeds", "num_parallel", "num_resamples"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} is {getattr(arguments, name)}, expected at least 1")
    settings = BenchmarkSettings(
        test_split=arguments.test_split,
        fractions=tuple(arguments.fractions),
        min_positives=arguments.min_positives,
        num_resamples=arguments.num_resamples,
        prompts=arguments.prompts,
    )
    output = Path(arguments.output)
    runs = output.with_suffix(".runs")
    planned = plan(arguments, runs)
    train_all(planned, arguments)

    trained = [f"{name.rpartition('-seed')[0]}={runs / name}" for name in planned]
    benchmark = Benchmark(
        benchmark_models(trained, arguments.baselines, arguments.seeds),
        {arguments.corpus_name: load_corpus(arguments.corpus)},
        output.with_suffix(".report"),
        tasks=arguments.tasks,
        settings=settings,
    )
    results = benchmark.run(lambda line: print(line, flush=True), arguments.num_parallel)
    comparisons = benchmark.comparisons()
    data = {arguments.corpus_name: arguments.data or arguments.corpus}
    write_benchmark(benchmark, results, comparisons, command=started_as(), data=data)
    words = [named_verdict(each.comparison.verdict, each.model_a, each.model_b) for each in comparisons]
    with_words = [{**each.as_plain(), "verdict_in_words": said} for each, said in zip(comparisons, words, strict=True)]
    write_results({"config": as_plain(arguments), "results": results, "comparisons": with_words}, output)
    print(f"\npaired differences of macro AUROC on {arguments.test_split}, 95 % intervals")
    print(benchmark_comparisons_table(comparisons))
    print(f"written to {output}; tables and pictures in {benchmark.output_dir}")


def plan(arguments: AblationArguments, runs: Path) -> dict[str, PretrainingArguments]:
    """The arguments of every run by its name."""
    from merit_hf.training.ablation.variants import recipe_variant
    from merit_hf.training.pretraining.arguments import PretrainingArguments

    words = ["--corpus", arguments.corpus, "--output_dir", str(runs)]
    words += [] if arguments.text_model is None else ["--text_model", arguments.text_model]
    recipe = parse_arguments(PretrainingArguments, [arguments.config, *words])
    found = {}
    for seed in range(arguments.seeds):
        for variant in arguments.variants:
            name = f"{variant}-seed{seed}"
            changed: Any = {"output_dir": str(runs / name), "seed": seed, "disable_tqdm": True}
            found[name] = replace(recipe_variant(recipe, variant), **changed)  # type: ignore[arg-type]
    return found


def plan_beginnings(planned: dict[str, PretrainingArguments], seeds: int) -> dict[str, PretrainingArguments]:
    """For runs that have not begun, by their names: the run of the first stages that two share."""
    from merit_hf.training.ablation.shared_stages import num_shared_stages, shared_run
    from merit_hf.training.ablation.variants import KEPT_LOSS

    found: dict[str, PretrainingArguments] = {}
    for seed in range(seeds):
        for pair in ([f"both-seed{seed}", f"{loss}-seed{seed}"] for loss in KEPT_LOSS):
            runs = [planned[name] for name in pair if name in planned]
            if len(runs) == 2 and num_shared_stages(runs):
                beginning = shared_run(runs, str(Path(runs[0].output_dir).with_name(f"beginning-seed{seed}")))
                new = [name for name in pair if not has_begun(planned[name])]
                if len(new) == 2 or has_begun(beginning):
                    found.update(dict.fromkeys(new, beginning))
    return found


def train_all(planned: dict[str, PretrainingArguments], arguments: AblationArguments) -> None:
    """Trains what is planned, shared beginnings once."""
    beginnings = plan_beginnings(planned, arguments.seeds)
    with ThreadPoolExecutor(arguments.num_parallel) as pool:
        # Beginnings come first, so that no run waits for one that has no core; of the rest the longest, so that no
        # core waits for it in the end.
        shared = {run.output_dir: run for run in beginnings.values()}
        begun = {folder: pool.submit(train, Path(folder).name, run, arguments) for folder, run in shared.items()}

        def train_one(name: str) -> None:
            beginning = beginnings.get(name)
            if beginning is not None:
                begun[beginning.output_dir].result()
            train(name, planned[name], arguments, None if beginning is None else Path(beginning.output_dir))

        order = sorted(planned, key=lambda name: (name in beginnings, not name.startswith("both")))
        list(pool.map(train_one, order))


def has_begun(run: PretrainingArguments) -> bool:
    """Whether the run's folder says what is trained there."""
    from merit_hf.training.loop.run_folder import ARGUMENTS_FILE

    return (Path(run.output_dir) / ARGUMENTS_FILE).is_file()


def train(
    name: str, wanted: PretrainingArguments, arguments: AblationArguments, beginning: Path | None = None
) -> None:
    """Trains one run, continues it if it was stopped, or leaves it as it is if it is finished.

    Args:
        name: for messages.
        wanted: arguments of the run.
        arguments: of this command.
        beginning: folder of a run that trained the first stages, if this one has not begun.
    """
    from merit_hf.training.ablation.shared_stages import branch_off
    from merit_hf.training.loop.run_folder import ARGUMENTS_FILE

    folder = Path(wanted.output_dir)
    command = ["--resume_from_checkpoint", "latest"]
    if not has_begun(wanted):
        if beginning is None:
            command = ["--overwrite"]
        else:
            branch_off(beginning, wanted)
    elif {**read_yaml(folder / ARGUMENTS_FILE), **HOW_IT_STARTS} != {**as_plain(wanted), **HOW_IT_STARTS}:
        raise ValueError(f"{folder} was trained with other arguments; name another --output or delete that folder")
    elif (folder / "model.safetensors").is_file():
        print(f"{name}: trained", flush=True)
        return
    elif not any((folder / "checkpoints").glob("step-*")):
        command = ["--overwrite"]
    config = folder.with_suffix(".yaml")
    config.parent.mkdir(parents=True, exist_ok=True)
    write_yaml(wanted, config)
    threads = max(1, (os.cpu_count() or 1) // arguments.num_parallel)
    launcher = shlex.split(arguments.launcher) or [sys.executable]
    words = [*launcher, *module_words("pretrain"), str(config), *command]
    print(f"{name}: training (log in {config.with_suffix('.log')})", flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    with open(config.with_suffix(".log"), "w", encoding="utf-8") as log:
        done = subprocess.run(words, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode != 0:
        last = config.with_suffix(".log").read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise ValueError(f"training {name} failed with status {done.returncode}: {' '.join(last)}")
