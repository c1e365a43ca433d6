"""Pretrain MERIT on a corpus of ECGs and reports, in one process or several.

    merit pretrain merit_tiny --corpus CORPUS --output_dir RUN
    accelerate launch -m merit_hf.commands pretrain merit_tiny --corpus CORPUS --output_dir RUN

The first word is a YAML file, or the name of a recipe that comes with the package. Every field of it can be replaced:
--learning_rate 5e-4, --model.mask_ratio 0.5, --stages.0.num_train_epochs 10. An interrupted run continues with the
same command and --resume_from_checkpoint latest. Two processes on a CPU:

    ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes 2 -m merit_hf.commands pretrain ...
"""

from merit_hf.training.pretraining.arguments import PretrainingArguments


def main(arguments: PretrainingArguments) -> None:
    """Builds the run, trains it, and prints where it is and how it ended."""
    # Imported here so that --help and a mistyped option answer at once.
    from merit_hf.training.pretraining.pretrainer import Pretrainer

    pretrainer = Pretrainer(arguments)
    summary = pretrainer.train()
    if pretrainer.accelerator.is_main_process:
        print(summary.table())
