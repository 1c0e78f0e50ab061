"""The level of a recording, which a network with biases has to know.

Such a network has learned from recordings of usual levels, and separates others worse. So a recording that is quieter
or louder than usual is multiplied by a factor before the network, and its output is divided by it. The factor
is a power of two, so that nothing is rounded.
"""

import math

import torch
from torch import Tensor


QUIET = 10 ** (-40 / 20)  # RMS of a recording that the network hears as it is
MAX_GAIN = 2.0**15  # fits a float16
BLOCK_SECONDS = 0.1
SHARE_BELOW = 0.9  # of the blocks that hold sound. The rest may be bumps and clicks


class LevelMeter:
    """Measures a recording that comes in blocks. `gain()` is the factor for the network.

    Args:
        sampling_rate (`int`): of the blocks, in Hz.
    """

    def __init__(self, sampling_rate: int):
        self.length = max(1, round(BLOCK_SECONDS * sampling_rate))
        self.peak = 0.0
        self.powers: list[float] = []  # of the blocks. Small tensors would keep the large ones between them in memory
        self.rest = torch.zeros(0, dtype=torch.float64)

    def add(self, block: Tensor) -> None:
        """Adds a block (C, n), n ≥ 0, full scale ±1."""
        if block.numel() == 0:
            return
        self.peak = max(self.peak, float(block.abs().max()))
        power = torch.cat([self.rest, block.double().square().mean(dim=0).cpu()])
        whole = len(power) // self.length * self.length
        self.powers += power[:whole].view(-1, self.length).mean(dim=1).tolist()
        self.rest = power[whole:].clone()

    def gain(self) -> float:
        """A power of two that brings nine tenths of the sound to -40 dBFS if they are all below that.

        It brings a peak above full scale below it. It is 1 for every other recording, and for silence.
        """
        if self.peak > 1:
            return 2.0 ** -math.ceil(math.log2(self.peak))
        rest = [float(self.rest.mean())] if len(self.rest) else []
        sounding = sorted(power for power in [*self.powers, *rest] if power > 0)
        if not sounding:
            return 1.0
        level = math.sqrt(sounding[math.ceil(SHARE_BELOW * (len(sounding) - 1))])
        room = 2.0 ** math.floor(-math.log2(self.peak))  # up to full scale
        return max(1.0, min(2.0 ** math.ceil(math.log2(QUIET / level)), room, MAX_GAIN))


def level_gains(config, waveforms: Tensor) -> Tensor:
    """The factor for each waveform of a batch (B, C, T) at the rate of the model: (B, 1, 1)."""
    gains = []
    for waveform in waveforms:
        meter = LevelMeter(config.sampling_rate)
        if not knows_every_level(config):
            meter.add(waveform)
        gains.append(meter.gain())
    return torch.tensor(gains, dtype=waveforms.dtype, device=waveforms.device)[:, None, None]


def knows_every_level(config) -> bool:
    """Whether the sources of a recording at another level are the same sources at that level."""
    return getattr(config, "level_invariant", False)
