"""More mixtures of a batch, made where it is: for GPUs that learn faster than their processors load."""

import torch
from torch import Tensor


def exchange_backgrounds(labels: Tensor, times: int) -> Tensor:
    """Sources (B, K, C, T) → (B + times·B, K, C, T): the batch, then copies with each other's last source.

    A mixture's new background is as loud as its old one, so that its SNR stays the same; where there was none, there
    is none. Copies turn the backgrounds round by steps drawn from PyTorch's generator: no pair comes twice, and there
    are no more copies than other backgrounds.
    """
    level = labels[:, -1:].square().mean(dim=(-2, -1), keepdim=True).sqrt()  # (B, 1, 1, 1)
    noisy = (level.flatten() > 1e-8).nonzero().flatten()
    even = labels[noisy, -1:] / level[noisy]
    copies = [labels]
    for step in (torch.randperm(max(len(noisy) - 1, 0))[:times] + 1).tolist():
        copy = labels.clone()
        copy[noisy, -1:] = even.roll(step, dims=0) * level[noisy]
        # As `dse_hf.data` does: turned down where they would clip.
        loudest = torch.cat([copy, copy.sum(dim=1, keepdim=True)], dim=1).abs().amax(dim=(1, 2, 3), keepdim=True)
        copies.append(copy * (0.99 / loudest.clamp_min(1e-8)).clamp(max=1))
    return torch.cat(copies)
