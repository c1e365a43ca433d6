"""The bounds against mutual information that is known, and the losses against plain loops."""

import math

import pytest
import torch

from merit_hf.objective_merit import (
    contrastive_objective,
    gather_with_gradient,
    gaussian_reconstruction_bound,
    info_nce_bound,
    info_nce_terms,
    masked_reconstruction_loss,
    patch_normalize,
    structure_information,
)


def gaussian_pairs(
    number: int, rho: float, dims: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(number, dims, generator=generator, dtype=torch.float64)
    noise = torch.randn(number, dims, generator=generator, dtype=torch.float64)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def exact_critic(x: torch.Tensor, y: torch.Tensor, rho: float) -> torch.Tensor:
    """ln p(y|x) / p(y) of every x with every y, which is what the best InfoNCE critic equals up to a constant."""
    difference = (y[None] - rho * x[:, None]).square().sum(-1) / (1 - rho**2)
    return 0.5 * (y.square().sum(-1)[None] - difference) - 0.5 * x.shape[1] * math.log(1 - rho**2)


@pytest.mark.parametrize(("rho", "dims"), [(0.5, 1), (0.6, 4), (0.8, 4)])
def test_info_nce_bound_stays_below_known_information_and_near_it(rho: float, dims: int) -> None:
    number = 512
    truth = -0.5 * dims * math.log(1 - rho**2)
    assert truth <= math.log(number) - 2
    generator = torch.Generator().manual_seed(0)
    bounds = []
    for _ in range(200):
        x, y = gaussian_pairs(number, rho, dims, generator)
        bounds.append(info_nce_bound(exact_critic(x, y, rho)))
    bounds = torch.stack(bounds)
    standard_error = bounds.std() / math.sqrt(len(bounds))
    assert bounds.mean() - 3 * standard_error <= truth
    assert abs(bounds.mean() - truth) <= 0.05 * truth


def test_info_nce_bound_of_a_wrong_critic_is_lower() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = gaussian_pairs(512, 0.8, 4, generator)
    good, flat = exact_critic(x, y, 0.8), torch.zeros(512, 512, dtype=torch.float64)
    assert info_nce_bound(flat).item() == pytest.approx(0, abs=1e-12)
    assert info_nce_bound(exact_critic(x, y, 0.3)) < info_nce_bound(good)


def test_info_nce_bound_refuses_what_is_not_square() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        info_nce_bound(torch.zeros(3, 4))


@pytest.mark.parametrize("rho", [0.3, 0.9])
def test_reconstruction_bound_equals_gaussian_information(rho: float) -> None:
    # X ~ N(0, 1) seen through Z with correlation ρ: the best decoder's residual variance is 1 − ρ².
    truth = -0.5 * math.log(1 - rho**2)
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    residual = 1 - rho**2
    assert gaussian_reconstruction_bound(residual, residual, entropy) == pytest.approx(truth, abs=1e-12)
    for wrong in (0.5 * residual, 0.9 * residual, 1.5 * residual, 4 * residual):
        assert gaussian_reconstruction_bound(residual, wrong, entropy) < truth
    tensors = gaussian_reconstruction_bound(torch.tensor(residual), torch.tensor(residual), torch.tensor(entropy))
    assert tensors.item() == pytest.approx(truth, abs=1e-6)


def test_reconstruction_bound_refuses_a_variance_of_zero() -> None:
    with pytest.raises(ValueError, match="variance=0"):
        gaussian_reconstruction_bound(1.0, 0.0, 0.0)


def test_terms_equal_cross_entropy() -> None:
    logits = torch.randn(6, 6, dtype=torch.float64)
    labels = torch.arange(6)
    expected = 0.5 * (
        torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        + torch.nn.functional.cross_entropy(logits.T, labels, reduction="none")
    )
    torch.testing.assert_close(info_nce_terms(logits), expected)


def unit(number: int, dim: int = 5) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(number, dim, dtype=torch.float64), dim=-1)


def test_records_without_report_are_as_if_absent() -> None:
    ecg, text, scale = unit(7).requires_grad_(), unit(7).requires_grad_(), torch.tensor(10.0, dtype=torch.float64)
    has = torch.tensor([True, False, True, True, False, True, True])
    values = contrastive_objective(ecg, text, scale, has)
    expected = contrastive_objective(ecg[has], text[has], scale, torch.ones(5, dtype=torch.bool))
    for value, wanted in zip(values, expected, strict=True):
        torch.testing.assert_close(value, wanted)
    gradient_ecg, gradient_text = torch.autograd.grad(values[0], (ecg, text))
    assert not gradient_ecg[~has].any()
    assert not gradient_text[~has].any()
    assert gradient_ecg[has].any(-1).all()


def test_no_report_at_all_gives_zero_and_no_nan() -> None:
    ecg = unit(3).requires_grad_()
    loss, information, regularizer = contrastive_objective(ecg, unit(3), torch.tensor(1.0), torch.zeros(3).bool())
    loss.backward()
    assert (loss.item(), information.item(), regularizer.item()) == (0, 0, 0)
    assert not ecg.grad.any()


def test_same_report_leaves_duplicates_out_of_the_negatives() -> None:
    ecg, text, scale = unit(4), unit(4), torch.tensor(5.0, dtype=torch.float64)
    text[2] = text[0]
    has, ids = torch.ones(4, dtype=torch.bool), torch.tensor([7, 8, 7, 9])
    loss, information, _ = contrastive_objective(ecg, text, scale, has, ids)
    logits = (scale * ecg @ text.T).tolist()
    expected = 0.0
    for i in range(4):
        negatives = [j for j in range(4) if j == i or ids[j] != ids[i]]
        row = math.log(sum(math.exp(logits[i][j]) for j in negatives)) - logits[i][i]
        column = math.log(sum(math.exp(logits[j][i]) for j in negatives)) - logits[i][i]
        expected += 0.5 * (row + column) / 4
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    # The read-out keeps the plain logits: removing negatives would flatter it.
    plain, plain_information, _ = contrastive_objective(ecg, text, scale, has)
    assert information.item() == pytest.approx(plain_information.item(), abs=1e-12)
    assert loss < plain


def test_regularizer_and_read_outs() -> None:
    ecg = unit(4)
    loss, information, regularizer = contrastive_objective(ecg, -ecg, torch.tensor(1.0), torch.ones(4).bool())
    assert regularizer.item() == pytest.approx(2)
    assert information.item() == pytest.approx(math.log(4) - loss.item())
    assert structure_information(torch.tensor(math.exp(-2.0))).item() == pytest.approx(1)


def test_reconstruction_loss_is_a_mean_of_means_over_hidden_samples() -> None:
    prediction, target = torch.randn(3, 2, 10), torch.randn(3, 2, 10)
    hidden = torch.zeros(3, 2, 10, dtype=torch.bool)
    hidden[0, 0, :3] = True
    hidden[1] = True
    squared = (prediction - target).square()
    expected = 0.5 * (squared[0, 0, :3].mean() + squared[1].mean())  # the third record hides nothing
    torch.testing.assert_close(masked_reconstruction_loss(prediction, target, hidden), expected)
    nothing = masked_reconstruction_loss(prediction, target, torch.zeros_like(hidden))
    assert nothing.item() == 0


def test_normalised_patches_lie_on_a_sphere() -> None:
    patches = 3 * torch.randn(2, 4, 1, 50, dtype=torch.float64) + 7
    normal = patch_normalize(patches, torch.ones_like(patches, dtype=torch.bool), eps=1e-12)
    torch.testing.assert_close(normal.sum(-1), torch.zeros(2, 4, 1, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(normal.norm(dim=-1), torch.full((2, 4, 1), math.sqrt(50), dtype=torch.float64))
    # Level and gain are gone.
    again = patch_normalize(5 * patches - 2, torch.ones_like(patches, dtype=torch.bool), eps=1e-12)
    torch.testing.assert_close(again, normal)


def test_patch_normalisation_looks_at_real_samples_only() -> None:
    patches = torch.randn(1, 1, 1, 20, dtype=torch.float64)
    real = torch.arange(20).reshape(1, 1, 1, 20) < 12
    wild = torch.where(real, patches, 1e6)
    normal = patch_normalize(wild, real)
    torch.testing.assert_close(normal[..., :12], patch_normalize(patches[..., :12], real[..., :12]))
    assert not normal[..., 12:].any()
    constant = patch_normalize(torch.full((1, 1, 1, 20), 4.0), torch.ones(1, 1, 1, 20, dtype=torch.bool))
    assert not constant.any()


def test_gather_outside_a_process_group_is_the_tensor() -> None:
    tensor = torch.randn(3)
    assert gather_with_gradient(tensor) is tensor
