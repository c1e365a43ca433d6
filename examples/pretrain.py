"""Pretrain MERIT on a corpus of ECGs and reports, in one process or several.

    accelerate launch examples/pretrain.py examples/configs/merit_tiny.yaml --corpus CORPUS --output_dir RUN

Every field of the YAML file can be replaced on the command line: --learning_rate 5e-4, --model.mask_ratio 0.5,
--stages.0.num_train_epochs 10. An interrupted run continues with the same command and --resume_from_checkpoint latest.
Two processes on a CPU: ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes 2 examples/pretrain.py
"""

from merit_hf.command_line import run_command
from merit_hf.training.pretraining.arguments import PretrainingArguments


def main(arguments: PretrainingArguments) -> None:
    """Builds the run, trains it, and prints where it is and how it ended."""
    from merit_hf.training.pretraining.pretrainer import (
        Pretrainer,  # here, so that --help and bad arguments answer at once
    )

    pretrainer = Pretrainer(arguments)
    summary = pretrainer.train()
    if pretrainer.accelerator.is_main_process:
        print(summary.table())


if __name__ == "__main__":
    run_command(main, PretrainingArguments, __doc__)
