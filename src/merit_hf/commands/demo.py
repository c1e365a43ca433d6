"""MERIT in one go: simulate ECGs with reports, pretrain, and name findings in patients never seen, without labels.

    merit demo
    merit demo --quick

Runs the same commands that you would type for your own data, and prints them; only the pictures are made here.
Everything goes to `output_dir`, whose contents a second run replaces.
"""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from merit_hf.command_line import option
from merit_hf.training.threads import wait_without_spinning

from .main import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from merit_hf.io.record import EcgRecord

TASK = "findings"
PICTURES = ("demo.png", "reconstruction.png", "training.png")


class Size(NamedTuple):
    """How much is simulated, how long is trained, and how many untrained models are averaged."""

    num_records: int
    num_train_epochs: float
    seeds: int


FULL = Size(num_records=2000, num_train_epochs=15, seeds=5)
QUICK = Size(num_records=1000, num_train_epochs=10, seeds=2)


@dataclass
class DemoArguments:
    """Arguments of the demonstration."""

    output_dir: str = option("runs/demo", help="folder for the corpus, the model, the results and the pictures")
    quick: bool = option(False, help="a smaller corpus and a shorter training: the same way, with lower scores")
    config: str = option("merit_tiny", help="pretraining recipe: a YAML file, or the name of a packaged one")
    num_records: int | None = option(
        None,
        help="ECGs to simulate, in all splits together; "
        f"null takes {FULL.num_records}, or {QUICK.num_records} if quick",
    )
    num_train_epochs: float | None = option(
        None,
        help="passes over the training split; "
        f"null takes {FULL.num_train_epochs:g}, or {QUICK.num_train_epochs:g} if quick",
    )
    seeds: int | None = option(
        None,
        help="untrained models whose mean is compared with the trained one; "
        f"null takes {FULL.seeds}, or {QUICK.seeds} if quick",
    )
    seed: int = option(0, help="of the corpus and of training")

    @property
    def size(self) -> Size:
        """The numbers given, and for those left out the usual ones."""
        usual = QUICK if self.quick else FULL
        given = {name: getattr(self, name) for name in Size._fields}
        return usual._replace(**{name: value for name, value in given.items() if value is not None})


def main(arguments: DemoArguments) -> None:
    """Four steps, then where everything is."""
    wait_without_spinning()
    size = arguments.size
    if size.seeds < 1:
        raise ValueError(f"seeds={size.seeds}, expected at least 1: the picture shows trained beside untrained")
    output = Path(arguments.output_dir)
    corpus, model, results = (output / name for name in ("corpus", "model", "results.json"))
    # A broken run must not leave the answers of an earlier one behind.
    for stale in (results, *(output / name for name in PICTURES)):
        stale.unlink(missing_ok=True)
    seed = ["--seed", arguments.seed]
    simulation = ["--num_records", size.num_records, "--output_dir", corpus, *seed, "--overwrite"]
    training = [arguments.config, "--corpus", corpus, "--output_dir", model]
    training += ["--num_train_epochs", f"{size.num_train_epochs:g}", *seed, "--overwrite"]
    scoring = ["--model", model, "--corpus", corpus, "--split", "test", "--task", TASK]
    scoring += ["--seeds", size.seeds, "--output", results]

    start = time.perf_counter()
    run_step("1/4  Simulating patients, ECGs and reports", "convert synthetic", simulation)
    run_step("2/4  Pretraining on ECG-report pairs", "pretrain", training)
    run_step("3/4  Naming findings in unseen patients, without labels", "zero-shot", scoring)
    announce("4/4  Drawing one of them")
    began = time.perf_counter()
    draw_pictures(output, size.seeds)
    print(f"  {time.perf_counter() - began:.0f} s", flush=True)
    print(closing_words(arguments.output_dir, time.perf_counter() - start))


def announce(title: str) -> None:
    print(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n{title}", flush=True)


def run_step(title: str, command: str, given: Sequence[Any]) -> None:
    """Runs one command in this process, which has loaded the libraries once; its failure ends the demonstration."""
    words = [str(word) for word in given]
    announce(title)
    print(f"$ {shlex.join(['merit', *command.split(), *words])}", flush=True)
    start = time.perf_counter()
    run(command, words)
    print(f"  {time.perf_counter() - start:.0f} s", flush=True)


def draw_pictures(output: Path, seeds: int) -> None:
    """One test record: what the pipeline says of it, and what the model fills in; the curves of training beside them.

    The record is written, too, as `ecg.npz`, to try the other commands on.
    """
    import json

    import numpy as np

    from merit_hf.data.build.open import load_corpus
    from merit_hf.data.row import record_from_row
    from merit_hf.evaluation.zero_shot.prompts import select_prompts
    from merit_hf.evaluation.zero_shot.zero_shot import load_zero_shot, untrained_model
    from merit_hf.modeling_merit import MeritForPreTraining
    from merit_hf.plotting.curves import plot_training_curves
    from merit_hf.plotting.reconstruction import plot_reconstruction, reconstruct
    from merit_hf.simulation.findings import BY_CODE

    model = str(output / "model")
    trained, feature_extractor, tokenizer = load_zero_shot(model, device="cpu")
    dataset = load_corpus(str(output / "corpus"), "test")
    codes = dataset.features[TASK].feature.names
    names = {code: BY_CODE[code].name if code in BY_CODE else "normal ECG" for code in codes}
    prompts, _ = select_prompts(TASK, codes)
    # The first one with more than one finding: chosen before anything is scored.
    row = next((row for row in dataset if len(row[TASK]) > 1), dataset[0])
    record = record_from_row(row)
    np.savez(
        output / "ecg.npz",
        signal=record.signal,
        sampling_rate=record.sampling_rate,
        lead_names=record.lead_names,
        units=str(record.units),
        record_id=row["ecg_id"],
    )

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
        json.loads((output / "results.json").read_text(encoding="utf-8")),
        names,
    )
    small: dict[str, Any] = {"pil_kwargs": {"optimize": True}}
    figure.savefig(output / "demo.png", dpi=120, **small)
    filled = reconstruct(MeritForPreTraining.from_pretrained(model), feature_extractor, record)
    title = f"Synthetic ECG {record.record_id} of a patient not seen in training"
    plot_reconstruction(filled, title=title).savefig(output / "reconstruction.png", **small)
    plot_training_curves(model).savefig(output / "training.png")


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
    """Where everything is, and what to try next."""
    folder = shlex.quote(output_dir)
    return f"""
Done in {seconds / 60:.1f} minutes.

  {output_dir}/demo.png             what the model says of one ECG, and how well it ranks all of them: look here first
  {output_dir}/reconstruction.png   what it fills into hidden parts of that ECG
  {output_dir}/results.json         AUROC of every finding with intervals, trained and untrained
  {output_dir}/training.png         losses over training (numbers: model/metrics.jsonl)
  {output_dir}/model                the checkpoint; from_pretrained and pipeline open it
  {output_dir}/corpus               the ECGs as plain Parquet; datasets.load_dataset opens it
  {output_dir}/ecg.npz              the ECG in the pictures, as a file

Try next:

{how_to_enter()}  merit classify {folder}/ecg.npz --model {folder}/model --labels "normal ecg" "atrial fibrillation"
  merit linear-probe --model {folder}/model --corpus {folder}/corpus --task {TASK} --output {folder}/probe.json
  merit --help

Your own recordings: merit convert table --help; PTB-XL: merit convert ptb-xl --help.
A model that learnt from simulated ECGs is for trying the software out, not for reading real ones."""


def how_to_enter() -> str:
    """The line that puts `merit` on the path, where it runs from an environment that the shell has not entered."""
    if sys.prefix == sys.base_prefix or os.environ.get("VIRTUAL_ENV") == sys.prefix or os.name == "nt":
        return ""
    near = os.path.relpath(sys.prefix)
    return f"  source {shlex.quote(sys.prefix if near.startswith(os.pardir) else near)}/bin/activate\n"
