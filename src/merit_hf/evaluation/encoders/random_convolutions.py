"""Random convolutions: fixed features of an ECG that nothing was trained for, the baseline that is hard to beat.

After ROCKET (Dempster et al., "ROCKET: exceptionally fast and accurate time series classification using random
convolutional kernels", 2020): random dilated kernels, each on a random subset of the leads, of whose responses the
maximum and the share of positive values are kept. Dilations are powers of two here, so that kernels of one dilation go
through one convolution.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

KERNEL_SIZE = 9
_RECORDS_AT_ONCE = 16  # responses of so many stay in the cache of a processor, which halves the time


class RandomConvolutions(nn.Module):
    """Random dilated kernels and what is kept of their responses.

    A kernel looks at 2^u leads (u uniform, so that few are as likely as many) with a dilation of 2^v samples (v whole,
    from 0 to the largest with which it fits into the window). Its weights are normal, centred on each lead, so that a
    level does not count, and of norm 1 over all; its threshold is uniform between -`largest_bias` and `largest_bias`
    standard deviations of a normalised signal.

    Args:
        num_leads: leads of the signals.
        num_samples: length of the signals, at least 9.
        num_kernels: each makes two features.
        seed: of the kernels, 0 or greater.
        largest_bias: see above.

    Raises:
        ValueError: signals too short for a kernel, or numbers below 1.
    """

    def __init__(
        self, num_leads: int, num_samples: int, num_kernels: int = 1000, seed: int = 0, largest_bias: float = 0.5
    ) -> None:
        super().__init__()
        if num_leads < 1 or num_kernels < 1:
            raise ValueError(f"num_leads={num_leads} and num_kernels={num_kernels} must be at least 1")
        if num_samples < KERNEL_SIZE:
            raise ValueError(f"num_samples={num_samples}, expected at least {KERNEL_SIZE}, the length of a kernel")
        generator = np.random.default_rng(seed)
        largest_exponent = int(np.log2((num_samples - 1) // (KERNEL_SIZE - 1)))
        exponents = np.sort(generator.integers(largest_exponent + 1, size=num_kernels))
        sizes = np.floor(2 ** generator.uniform(0, np.log2(num_leads + 1), num_kernels)).astype(int)
        order = generator.random((num_kernels, num_leads)).argsort(axis=1)
        seen = order < np.minimum(sizes, num_leads)[:, None]  # (kernels, leads)
        weights = generator.standard_normal((num_kernels, num_leads, KERNEL_SIZE))
        weights -= weights.mean(axis=2, keepdims=True)
        weights *= seen[..., None]
        weights /= np.linalg.norm(weights, axis=(1, 2), keepdims=True)
        biases = generator.uniform(-largest_bias, largest_bias, num_kernels)
        self.dilations = [int(2**exponent) for exponent in np.unique(exponents)]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for dilation in self.dilations:
            chosen = 2**exponents == dilation
            self.weights.append(nn.Parameter(torch.from_numpy(weights[chosen]).float(), requires_grad=False))
            self.biases.append(nn.Parameter(torch.from_numpy(biases[chosen]).float(), requires_grad=False))

    def forward(self, input_values: Tensor, padding_mask: Tensor) -> Tensor:
        """Features (records, 2 * kernels): the maximum of each response, then its share of positive values.

        Args:
            input_values: float (records, leads, samples), normalised.
            padding_mask: bool, the same shape. Times at which no lead is real are not looked at.
        """
        return torch.cat(
            [
                self._features(values, mask.any(dim=1, keepdim=True))
                for values, mask in zip(
                    input_values.split(_RECORDS_AT_ONCE), padding_mask.split(_RECORDS_AT_ONCE), strict=True
                )
            ]
        )

    def _features(self, values: Tensor, real: Tensor) -> Tensor:
        whole = bool(real.all())
        num_real = real.sum(dim=-1).clamp(min=1)  # (records, 1)
        largest, shares = [], []
        for dilation, weight, bias in zip(self.dilations, self.weights, self.biases, strict=True):
            padding = dilation * (KERNEL_SIZE // 2)
            response = nn.functional.conv1d(values, weight, bias, padding=padding, dilation=dilation)
            if not whole:
                response = response.masked_fill(~real, -torch.inf)
            largest.append(response.amax(dim=-1))
            shares.append((response > 0).sum(dim=-1) / num_real)
        return torch.cat([*largest, *shares], dim=1)
