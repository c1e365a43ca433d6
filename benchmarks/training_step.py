"""What one training step costs, as a multiple of its floor: the FLOPs of its products at this machine's matmul rate.

The rate is that of one product of the size of the encoder's MLP, in the step's own number format, measured in turn
with the steps; of each the fastest of several counts. A ratio of 1 is out of reach: norms, GELUs, dropout and casts
cost time and count no FLOP here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from merit_hf.command_line import option, parse_arguments, run_command
from merit_hf.training.loop.optimizer import build_optimizer, parameter_groups
from merit_hf.training.loop.processes import fast_bfloat16
from merit_hf.training.pretraining.arguments import PretrainingArguments
from merit_hf.training.pretraining.start import starting_model, starting_processor

RECIPE = Path(__file__).parents[1] / "examples" / "configs" / "merit_tiny.yaml"
REPORTS = ("sinus rhythm. left axis deviation. possible old inferior infarct.", "atrial fibrillation. low voltage.")


@dataclass
class StepOptions:
    """Options of the benchmark."""

    config: str = option(str(RECIPE), help="recipe whose model and batch size are measured")
    batch_size: int | None = option(None, help="null takes the recipe's", unit="ECGs")
    threads: int = option(1, help="threads of one process")
    repeats: int = option(10, help="measured steps; the fastest counts")
    device: str = option("cpu", help="cpu or cuda")
    bf16: bool | None = option(None, help="bfloat16 mixed precision; null takes it where it is fast")
    output: str | None = option(None, help="write the numbers to this JSON file too")


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of one call, its work on the device included."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main(options: StepOptions) -> None:
    """Measures and prints."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    recipe = parse_arguments(PretrainingArguments, [options.config, "--corpus", "-", "--output_dir", "-"])
    batch_size = options.batch_size or recipe.per_device_train_batch_size
    bf16 = fast_bfloat16(device) if options.bf16 is None else options.bf16
    dtype = torch.bfloat16 if bf16 else torch.float32

    processor = starting_processor(recipe, REPORTS)
    model = starting_model(recipe, processor.tokenizer).to(device).train()
    if recipe.attn_implementation is not None:
        model.set_attn_implementation(recipe.attn_implementation)
    groups = parameter_groups(model, recipe.learning_rate, recipe.text_learning_rate, recipe.weight_decay)
    optimizer = build_optimizer(groups, (recipe.adam_beta1, recipe.adam_beta2), recipe.adam_epsilon)
    config, ecg = model.config, model.config.ecg_config
    batch = {
        "input_values": torch.randn(batch_size, ecg.num_leads, ecg.num_samples),
        "padding_mask": torch.ones(batch_size, ecg.num_leads, ecg.num_samples, dtype=torch.bool),
        "report_ids": torch.arange(batch_size),
        "noise": torch.rand(batch_size, config.num_mask_units),
        "alignment_noise": torch.rand(batch_size, ecg.num_patches),
        # as long as reports of PTB-XL are in a bucket
        "input_ids": torch.randint(5, len(processor.tokenizer), (batch_size, 32)),
        "attention_mask": torch.ones(batch_size, 32, dtype=torch.int64),
    }
    batch = {name: tensor.to(device) for name, tensor in batch.items()}

    def autocast() -> AbstractContextManager[object]:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)

    def step() -> None:
        optimizer.zero_grad()
        with autocast():
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    tokens = batch_size * ecg.num_patches
    left = torch.randn(tokens, ecg.hidden_size, device=device, dtype=dtype)
    right = torch.randn(ecg.intermediate_size, ecg.hidden_size, device=device, dtype=dtype)
    matmul_flops = 2 * tokens * ecg.hidden_size * ecg.intermediate_size

    with FlopCounterMode(display=False) as counter:
        step()
    step_flops = counter.get_total_flops()
    for _ in range(2):
        step()
    steps, matmuls = [], []
    for _ in range(options.repeats):
        torch.nn.functional.linear(left, right)  # into the cache first, as within a step
        matmuls.append(min(seconds(lambda: torch.nn.functional.linear(left, right), device) for _ in range(5)))
        steps.append(seconds(step, device))
    rate = matmul_flops / min(matmuls)
    floor, taken = step_flops / rate, min(steps)
    numbers = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": options.threads,
        "dtype": str(dtype).removeprefix("torch."),
        "batch_size": batch_size,
        "gflop_per_step": step_flops / 1e9,
        "matmul_gflop_per_second": rate / 1e9,
        "floor_ms": floor * 1e3,
        "step_ms": taken * 1e3,
        "ecgs_per_second": batch_size / taken,
        "ratio": taken / floor,
    }
    for name, value in numbers.items():
        print(f"{name:26}{value:>14.2f}" if isinstance(value, float) else f"{name:26}{value:>14}")
    if options.output:
        Path(options.output).write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main, StepOptions, __doc__)
