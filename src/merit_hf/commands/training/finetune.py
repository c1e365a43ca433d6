"""Fine-tune a pretrained ECG encoder on a task of a corpus, in one process or several, and evaluate the result.

    merit finetune --model RUN --corpus CORPUS --task super_class --output_dir RUN2

RUN2 opens in pipeline("ecg-classification", model=RUN2). It also holds results.json and the predictions that the
results were computed from. A YAML file or a recipe's name (finetune_tiny) before the options gives other defaults. An
interrupted run continues with the same command and --resume_from_checkpoint latest. --from_scratch trains the baseline
with random weights. If a corpus has no test split, --test_split validation tests on its validation split; the records
for early stopping are then held out of the training split by patient. Several processes:

    accelerate launch --quiet --multi_gpu --num_processes 4 -m merit_hf.commands finetune ...
"""

from __future__ import annotations

from dataclasses import dataclass

from merit_hf.command_line import as_plain, option
from merit_hf.training.finetuning.arguments import FinetuningArguments
from merit_hf.training.threads import wait_without_spinning


@dataclass(kw_only=True)
class Arguments(FinetuningArguments):
    """Arguments of the command: those of fine-tuning, and of the intervals."""

    num_resamples: int = option(1000, help="bootstrap resamples of the 95 % intervals")
    min_positives: int = option(1, help="labels with fewer positives in the test split are left out of the macros")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_resamples", "min_positives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")


def main(arguments: Arguments) -> None:
    """Trains, writes predictions and results, and prints the table."""
    wait_without_spinning()
    # Imported here so that --help and a mistyped option answer at once.
    from pathlib import Path

    from merit_hf.evaluation.classification_result import classification_result
    from merit_hf.evaluation.predictions import write_predictions
    from merit_hf.evaluation.results import write_results
    from merit_hf.evaluation.tables import results_table
    from merit_hf.training.finetuning.finetuner import Finetuner

    finetuner = Finetuner(arguments)
    summary = finetuner.train()
    if not finetuner.accelerator.is_main_process:
        return
    folder = Path(arguments.output_dir)
    write_predictions(summary.validation, folder / "predictions_validation.parquet")
    print(summary.table())
    if summary.test is None:
        return
    write_predictions(summary.test, folder / "predictions_test.parquet")
    result = classification_result(
        summary.test,
        summary.validation,
        task=arguments.task,
        split=str(arguments.test_split),
        model=arguments.model or "random weights",
        config={**as_plain(arguments), **summary.facts()},
        num_resamples=arguments.num_resamples,
        min_positives=arguments.min_positives,
    )
    write_results(result, folder / "results.json")
    print(f"{arguments.task}, {result.n} records of {arguments.test_split}, 95 % intervals")
    print(results_table({"fine-tuned": result}))
    print(f"written to {folder / 'results.json'}")
