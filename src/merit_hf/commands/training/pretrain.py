"""Pretrain MERIT on a corpus of ECGs and reports, in one process or several.

    merit pretrain merit_tiny --corpus CORPUS --output_dir RUN

The first word is a YAML file, or the name of a recipe that comes with the package. Every field of it can be replaced:
--learning_rate 5e-4, --model.mask_ratio 0.5, --stages.0.num_train_epochs 10. An interrupted run continues with the
same command and --resume_from_checkpoint latest.

Several processes need a launcher; where one of them fails, our line `error: ...` stands above the launcher's report.
On GPUs, and on a CPU:

    accelerate launch --quiet --multi_gpu --num_processes 4 -m merit_hf.commands pretrain ...
    ACCELERATE_USE_CPU=true accelerate launch --quiet --multi_gpu --num_processes 2 -m merit_hf.commands pretrain ...

A launcher sets one CPU thread a process; --num_threads auto makes it an equal share of the cores.
"""

from merit_hf.training.pretraining.arguments import PretrainingArguments
from merit_hf.training.threads import wait_without_spinning


def main(arguments: PretrainingArguments) -> None:
    """Builds the run, trains it, and prints where it is and how it ended."""
    wait_without_spinning()
    # Imported here so that --help and a mistyped option answer at once.
    from merit_hf.training.pretraining.pretrainer import Pretrainer

    pretrainer = Pretrainer(arguments)
    summary = pretrainer.train()
    if pretrainer.accelerator.is_main_process:
        print(summary.table())
