"""Two processes give the gradients of one on the same global batch, in every variant of the objective."""

import itertools
from pathlib import Path

import pytest
import torch
from test_modeling import JOINT, LEAD_WISE, make_batch, make_config, seeded
from torch.nn.parallel import DistributedDataParallel

from merit_hf.modeling_merit import MeritForPreTraining
from merit_hf.objective_merit import gather_with_gradient

RECORDS = 6
VARIANTS = list(itertools.product(["full", "visible"], ["pair", "same_report"], ["tokens", "blocks"]))


def variant_model(view: str, positives: str, masking: str, dtype: torch.dtype) -> MeritForPreTraining:
    ecg = LEAD_WISE if masking == "tokens" else JOINT
    config = make_config(ecg, alignment_view=view, positives=positives, masking=masking, regularizer_weight=0.1)
    return seeded(MeritForPreTraining, config).to(dtype)


def global_batch(model: MeritForPreTraining, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Six records: two without report, both in one half; two with the same report; leads and time missing unevenly."""
    batch = make_batch(RECORDS, dtype=dtype)
    batch["report_ids"] = torch.tensor([4, -1, -1, 7, 4, 9])
    batch["padding_mask"][0, 2] = False
    batch["padding_mask"][3, 1:] = False
    batch["padding_mask"][4, :, 60:] = False
    generator = torch.Generator().manual_seed(3)
    batch["noise"] = torch.rand(RECORDS, model.config.num_mask_units, generator=generator, dtype=dtype)
    return batch


def gradients(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


def two_process_gradients(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    half = slice(rank * RECORDS // 2, (rank + 1) * RECORDS // 2)
    for index, variant in enumerate(VARIANTS):
        for dtype in (torch.float32, torch.float64):
            model = variant_model(*variant, dtype)
            batch = {key: value[half] for key, value in global_batch(model, dtype).items()}
            distributed = DistributedDataParallel(model)
            output = distributed(**batch, gather=gather_with_gradient)
            output.loss.backward()
            values = torch.stack([output.loss, output.semantic_information, output.structure_information]).detach()
            name = f"{folder}/{index}-{str(dtype).removeprefix('torch.')}-{rank}.pt"
            torch.save((gradients(model), values), name)
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def distributed_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gloo")
    torch.multiprocessing.spawn(two_process_gradients, args=(str(folder),), nprocs=2)
    return folder


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("index", range(len(VARIANTS)), ids=["-".join(variant) for variant in VARIANTS])
def test_two_processes_equal_one(distributed_results: Path, index: int, dtype: torch.dtype, tolerance: float) -> None:
    model = variant_model(*VARIANTS[index], dtype)
    output = model(**global_batch(model, dtype))
    output.loss.backward()
    expected = gradients(model)
    values = torch.stack([output.loss, output.semantic_information, output.structure_information]).detach()
    for rank in range(2):
        name = f"{index}-{str(dtype).removeprefix('torch.')}-{rank}.pt"
        gradient, rank_values = torch.load(distributed_results / name, weights_only=True)
        difference = (gradient - expected).norm() / expected.norm()
        assert difference <= tolerance
        torch.testing.assert_close(rank_values, values, rtol=10 * tolerance, atol=10 * tolerance)
