"""The processes and devices of a run, and its accelerator, whose checkpoints `from_pretrained` opens."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, parse_flag_from_env
from safetensors.torch import load_file
from torch import Tensor, nn

from merit_hf.configuration_merit import MeritConfig
from merit_hf.training.threads import set_num_threads

from .arguments import LoopArguments


def make_accelerator(arguments: LoopArguments, stage_configs: Iterable[MeritConfig] = ()) -> Accelerator:
    """The accelerator of a run, whose `save_state` writes weights as `save_pretrained` does.

    Args:
        arguments: of the run; the number format is theirs.
        stage_configs: of pretraining, whose stages may leave parameters unused.

    Raises:
        ValueError: a number format that the device lacks, or a way of distribution whose checkpoints are in pieces.
    """
    set_num_threads(arguments.num_threads)
    # Searching for unused parameters costs a walk through the graph every step; only a branch of weight 0 has some.
    unused = any(config.reconstruction_weight == 0 or config.contrastive_weight == 0 for config in stage_configs)
    bf16 = arguments.bf16
    if bf16 == "auto":
        # Asking accelerate for the device here would start its state before the accelerator does, and each of several
        # processes would take itself for the only one.
        on_gpu = torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")
        bf16 = not arguments.fp16 and fast_bfloat16(torch.device("cuda" if on_gpu else "cpu"))
    # None leaves the choice to `accelerate launch --mixed_precision`.
    precision = "bf16" if bf16 else "fp16" if arguments.fp16 else None
    accelerator = Accelerator(
        mixed_precision=precision, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=unused)]
    )
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise ValueError(
            f"{launched} processes were launched, but each sees {accelerator.num_processes}: on a CPU launch with "
            "ACCELERATE_USE_CPU=true accelerate launch --quiet --multi_gpu --num_processes N"
        )
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("fp16 needs a GPU: give --bf16 or neither on this machine")
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise ValueError(
            f"{accelerator.distributed_type.value} is not supported, since checkpoints hold whole weights: launch "
            "with plain data parallelism (accelerate launch --quiet --multi_gpu)"
        )

    def save(models: list[nn.Module], weights: list[dict[str, Tensor]], folder: str) -> None:
        # Without the prefix that wrapping for several processes puts before names.
        model = accelerator.unwrap_model(models[0])
        if accelerator.is_main_process:
            model.save_pretrained(folder, max_shard_size="1000GB")
        weights.clear()

    def load(models: list[nn.Module], folder: str) -> None:
        load_weights(accelerator.unwrap_model(models.pop()), Path(folder))

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)
    return accelerator


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware. Without it, bfloat16 is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Loads `model.safetensors` of a checkpoint into the model.

    Raises:
        ValueError: names that the model has and the file lacks, or the other way round.
    """
    state = load_file(str(checkpoint / "model.safetensors"))
    missing, unexpected = model.load_state_dict(state, strict=False)
    own = model.state_dict(keep_vars=True)
    given = {own[name].data_ptr() for name in state if name in own}
    # A tensor that two names share is stored once.
    lacking = [name for name in missing if own[name].data_ptr() not in given]
    if lacking or unexpected:
        raise ValueError(
            f"checkpoint {checkpoint} does not fit the model: missing {lacking[:3]}, unexpected {unexpected[:3]}"
        )


def from_main_process(accelerator: Accelerator, text: str) -> str:
    """The main process' text, in every process."""
    if accelerator.num_processes == 1:
        return text
    holder = [text]
    torch.distributed.broadcast_object_list(holder, src=0)
    return holder[0]
