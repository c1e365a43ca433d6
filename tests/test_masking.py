"""Masks against their definition, over complete, short and missing leads."""

import pytest
import torch

from merit_hf.masking_merit import hidden_blocks, patchify, unpatchify, visible_tokens


@pytest.mark.parametrize("patch_size", [(1, 5), (2, 10), (4, 5)])
def test_unpatchify_inverts_patchify(patch_size: tuple[int, int]) -> None:
    values = torch.randn(3, 4, 20)
    patches = patchify(values, patch_size)
    assert patches.shape == (3, (4 // patch_size[0]) * (20 // patch_size[1]), *patch_size)
    assert torch.equal(unpatchify(patches, 4), values)
    # Row after row, along time: the second patch starts one patch later in the same leads.
    assert torch.equal(patches[:, 1], values[:, : patch_size[0], patch_size[1] : 2 * patch_size[1]])


def test_every_row_shows_its_share_of_the_lowest_noise() -> None:
    noise = torch.rand(5, 3 * 20)
    valid = torch.ones(5, 60, dtype=torch.bool)
    indices, indices_valid, hidden = visible_tokens(noise, valid, rows=3, ratio=0.75)
    assert indices.shape == (5, 15)
    assert indices_valid.all()
    for record in range(5):
        for row in range(3):
            lowest = noise[record, row * 20 : row * 20 + 20].argsort()[:5].sort().values + row * 20
            assert torch.equal(indices[record, row * 5 : row * 5 + 5], lowest)
    shown = torch.zeros(5, 60, dtype=torch.bool).scatter(1, indices, True)
    assert torch.equal(hidden, ~shown)


def test_short_and_missing_rows_hide_their_share_of_what_exists() -> None:
    noise = torch.rand(1, 3 * 20)
    valid = torch.ones(1, 3, 20, dtype=torch.bool)
    valid[0, 1, 8:] = False
    valid[0, 2] = False
    indices, indices_valid, hidden = visible_tokens(noise, valid.reshape(1, -1), rows=3, ratio=0.75)
    hidden = hidden.reshape(3, 20)
    assert hidden.sum(-1).tolist() == [15, 6, 0]
    assert not hidden[1, 8:].any()
    assert indices_valid.reshape(3, 5).sum(-1).tolist() == [5, 2, 0]
    chosen = indices[indices_valid]
    assert valid.reshape(-1)[chosen].all()
    assert not hidden.reshape(-1)[chosen].any()


@pytest.mark.parametrize(("ratio", "kept"), [(0.8, 4), (0.75, 5), (0.5, 10), (0.99, 1), (0.0, 20)])
def test_number_of_visible_tokens_has_no_rounding_error(ratio: float, kept: int) -> None:
    indices, _, hidden = visible_tokens(torch.rand(1, 20), torch.ones(1, 20, dtype=torch.bool), 1, ratio)
    assert indices.shape[1] == kept
    assert hidden.sum() == 20 - kept


def test_blocks_hide_their_share_over_the_whole_record() -> None:
    real = torch.ones(2, 12, 1000, dtype=torch.bool)
    real[1, 3] = False
    real[1, :, 500:] = False
    hidden, samples = hidden_blocks(torch.rand(2, 480), real, block_samples=25, ratio=0.6)
    assert hidden.sum(-1).tolist() == [288, 11 * 20 - 88]
    assert samples[0].sum() == 288 * 25
    assert not samples[1, 3].any()
    assert not samples[1, :, 500:].any()
    assert torch.equal(samples[0].reshape(12, 40, 25).all(-1), samples[0].reshape(12, 40, 25).any(-1))
