"""More mixtures from one batch, made on the GPU: useful if the GPU waits for data."""

import torch
from torch import Tensor


def swap_noises(labels: Tensor, copies: int) -> Tensor:
    """Returns a batch (B, K, C, T) and copies of it, in which the mixtures have each other's noise (the last source).

    A mixture's new noise is as loud as its own, so that its SNR stays the same. A mixture without noise stays without.
    Each copy moves the noises on by another step, so that no pair of sources comes twice. There are at most as many
    copies as other mixtures with noise.
    """
    level = labels[:, -1:].square().mean(dim=(-2, -1), keepdim=True).sqrt()  # (B, 1, 1, 1)
    noisy = (level.flatten() > 1e-8).nonzero().flatten()
    noises = labels[noisy, -1:] / level[noisy]
    batches = [labels]
    for step in (torch.randperm(max(len(noisy) - 1, 0))[:copies] + 1).tolist():
        swapped = labels.clone()
        swapped[noisy, -1:] = noises.roll(step, dims=0) * level[noisy]
        # Examples that would clip are turned down, as in `dse_hf.data.effects`.
        peaks = torch.cat([swapped, swapped.sum(dim=1, keepdim=True)], dim=1).abs().amax(dim=(1, 2, 3), keepdim=True)
        batches.append(swapped * (0.99 / peaks.clamp_min(1e-8)).clamp(max=1))
    return torch.cat(batches)
