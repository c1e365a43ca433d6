"""MERIT in one go: simulate ECGs with reports, pretrain, and name findings in patients never seen, without labels.

    merit demo

Runs the same commands that you would type for your own data, and prints them; only the picture is made here.
Everything goes to `output_dir`, whose contents a second run replaces.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merit_hf.command_line import option

from .main import module_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from merit_hf.io.record import EcgRecord

TASK = "findings"


@dataclass
class DemoArguments:
    """Arguments of the demonstration."""

    output_dir: str = option("runs/demo", help="folder for the corpus, the model, the results and the picture")
    num_records: int = option(2000, help="ECGs to simulate, in all splits together")
    config: str = option("merit_tiny", help="pretraining recipe: a YAML file, or the name of a packaged one")
    num_train_epochs: float | None = option(None, help="passes over the training split; null takes the file's number")
    seeds: int = option(5, help="untrained models whose mean stands beside the trained one")
    seed: int = option(0, help="of the corpus and of training")


def main(arguments: DemoArguments) -> None:
    """Four steps, then where everything is."""
    if arguments.seeds < 1:
        raise ValueError(f"seeds={arguments.seeds}, expected at least 1: the picture shows trained beside untrained")
    output = Path(arguments.output_dir)
    corpus, model, results, picture = (output / name for name in ("corpus", "model", "results.json", "demo.png"))
    # A broken run must not leave the answers of an earlier one behind.
    for stale in (results, picture):
        stale.unlink(missing_ok=True)
    seed = ["--seed", arguments.seed]
    simulation = ["--num_records", arguments.num_records, "--output_dir", corpus, *seed, "--overwrite"]
    training = [arguments.config, "--corpus", corpus, "--output_dir", model, *seed, "--overwrite"]
    if arguments.num_train_epochs is not None:
        training += ["--num_train_epochs", arguments.num_train_epochs]
    scoring = ["--model", model, "--corpus", corpus, "--split", "test", "--task", TASK]
    scoring += ["--seeds", arguments.seeds, "--output", results]

    start = time.perf_counter()
    run_step("1/4  Simulating patients, ECGs and reports", "convert synthetic", simulation)
    run_step("2/4  Pretraining on ECG-report pairs", "pretrain", training)
    run_step("3/4  Naming findings in unseen patients, without labels", "zero-shot", scoring)
    announce("4/4  Drawing one of them")
    draw_picture(model, corpus, results, arguments.seeds, picture)
    print(closing_words(arguments.output_dir, time.perf_counter() - start))


def announce(title: str) -> None:
    print(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n{title}", flush=True)


def run_step(title: str, command: str, given: Sequence[Any]) -> None:
    """Runs one command in a process of its own; its output is ours, and its failure ends the demonstration."""
    words = [str(word) for word in given]
    announce(title)
    print(f"$ {' '.join(['merit', command, *words])}", flush=True)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *module_words(command), *words], check=False)
    if done.returncode != 0:
        print(f"error: the step above ended with status {done.returncode}; its message says why", file=sys.stderr)
        raise SystemExit(done.returncode if done.returncode > 0 else 1)
    print(f"  {time.perf_counter() - start:.0f} s", flush=True)


def draw_picture(model: Path, corpus: Path, results: Path, seeds: int, picture: Path) -> None:
    """One test record on ECG paper with what the pipeline says, trained beside untrained, and the truth."""
    import json

    from merit_hf.data.build.open import load_corpus
    from merit_hf.data.row import record_from_row
    from merit_hf.evaluation.zero_shot.prompts import select_prompts
    from merit_hf.evaluation.zero_shot.zero_shot import load_zero_shot, untrained_model
    from merit_hf.plotting.curves import plot_training_curves
    from merit_hf.simulation.findings import BY_CODE

    trained, feature_extractor, tokenizer = load_zero_shot(str(model), device="cpu")
    dataset = load_corpus(str(corpus), "test")
    codes = dataset.features[TASK].feature.names
    names = {code: BY_CODE[code].name if code in BY_CODE else "normal ECG" for code in codes}
    prompts, _ = select_prompts(TASK, codes)
    # The first one with more than one finding: chosen before anything is scored.
    row = next((row for row in dataset if len(row[TASK]) > 1), dataset[0])
    record = record_from_row(row)

    def answer(scored: Any) -> list[dict[str, Any]]:
        from transformers import pipeline

        task: Any = "ecg-zero-shot-classification"  # not among the tasks that the library's types know
        pipe: Any = pipeline(task, model=scored, feature_extractor=feature_extractor, tokenizer=tokenizer)
        return pipe(record, candidate_labels={names[code]: prompts[code] for code in codes})

    untrained: dict[str, float] = dict.fromkeys(names.values(), 0.0)
    for seed in range(seeds):
        for line in answer(untrained_model(trained, seed)):
            untrained[line["label"]] += line["score"] / seeds
    figure = compose(
        record,
        answer(trained),
        [{"label": label, "score": score} for label, score in untrained.items()],
        {names[codes[label]] for label in row[TASK]},
        json.loads(results.read_text(encoding="utf-8")),
        names,
    )
    figure.savefig(picture, dpi=120, pil_kwargs={"optimize": True})
    plot_training_curves(model).savefig(picture.with_name("training.png"))


def compose(
    record: EcgRecord,
    scores: Sequence[Mapping[str, Any]],
    untrained: Sequence[Mapping[str, Any]],
    truth: set[str],
    results: Mapping[str, Any],
    names: Mapping[str, str],
) -> Figure:
    """The paper on top, true to scale; below it the scores of this record, and the AUROC over all test records."""
    from matplotlib.figure import Figure

    from merit_hf.plotting.ecg_page import MM_PER_INCH, draw_paper, plan_paper
    from merit_hf.plotting.scores import plot_aurocs, plot_scores
    from merit_hf.plotting.style import GREY, INK

    paper = plan_paper(record)
    below = 29.0 + 5.5 * len(scores) + 12.0  # mm: headings, a line a label, axis
    height = paper.height + below
    figure = Figure(figsize=(paper.width / MM_PER_INCH, height / MM_PER_INCH), dpi=150, facecolor="white")
    axes = figure.add_axes((0, below / height, 1, paper.height / height))
    draw_paper(axes, record, paper, title=f"Synthetic ECG {record.record_id} of a patient not seen in training")
    bottom, share = 12.0 / height, (below - 41.0) / height
    left = figure.add_axes((0.21, bottom, 0.26, share))
    right = figure.add_axes((0.72, bottom, 0.26, share))
    plot_scores(left, scores, reference=untrained, truth=truth, score_name="zero-shot score")
    plot_aurocs(right, results, reference=results["untrained"], label_names=names)
    top = (below - 6.0) / height
    macro, baseline = (entry["metrics"]["macro_auroc"]["value"] for entry in (results, results["untrained"]))
    for x, heading, detail in (
        (0.015, "This ECG", textwrap.fill(f"report, not shown to the model: “{record.report}”", 85, max_lines=3)),
        (0.53, f"All {results['n']} test ECGs", f"macro AUROC {macro:.2f}, untrained {baseline:.2f}"),
    ):
        figure.text(x, top, heading, fontsize=10, weight="bold", color=INK, va="center")
        figure.text(x, top - 4.0 / height, detail, fontsize=8, color=GREY, va="top", linespacing=1.3)
    return figure


def closing_words(output_dir: str, seconds: float) -> str:
    return f"""
Done in {seconds / 60:.1f} minutes.

  {output_dir}/demo.png       the picture: look at it first
  {output_dir}/results.json   AUROC of every finding with intervals, trained and untrained
  {output_dir}/training.png   losses and read-outs over training (numbers: model/metrics.jsonl)
  {output_dir}/model          the checkpoint; from_pretrained and pipeline open it
  {output_dir}/corpus         the ECGs as plain Parquet; datasets.load_dataset opens it

Try next:

  >>> import merit_hf
  >>> from transformers import pipeline
  >>> pipe = pipeline("ecg-zero-shot-classification", model="{output_dir}/model")
  >>> pipe(merit_hf.load_sample(), candidate_labels=["normal ecg", "atrial fibrillation", "right bundle branch block"])

Your own recordings: merit convert table --help; PTB-XL: merit convert ptb-xl --help.
A model that learnt from simulated ECGs is for trying the software out, not for reading real ones."""
