"""Training sets whose examples depend only on the seed, the epoch and the index."""

from collections.abc import Sequence

import numpy as np
import torch

from .augmentation import Waveform
from .bad_clips import report_bad_clips


class SharedEpoch:
    """The number of the epoch, in memory that loader workers share: persistent workers see a new epoch, too."""

    def __init__(self):
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Makes other examples from now on. The loader of accelerate calls it."""
        self._epoch.fill_(epoch)


class EpochDataset(SharedEpoch, torch.utils.data.Dataset):
    """A training set of `size` examples, made of the clips of `collections`. A subclass makes them in `example`."""

    def __init__(self, size: int, seed: int, collections: Sequence):
        super().__init__()
        self.size, self.seed, self.collections = size, seed, list(collections)

    def __len__(self) -> int:
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Makes other examples from now on, and reports the clips that the last epoch skipped."""
        super().set_epoch(epoch)
        if epoch > 0:
            self.report_bad_clips()

    def report_bad_clips(self) -> int:
        """Warns of skipped clips that were not reported yet. Returns the number of all skipped clips so far."""
        return report_bad_clips(self.collections)

    def __getitem__(self, index: int) -> dict[str, Waveform]:
        if not 0 <= index < self.size:
            raise IndexError(index)
        # Zeros at the end of a NumPy seed change nothing: epoch 0 depends on the seed and the index alone.
        return self.example(int(index), np.random.default_rng((self.seed, int(index), self.epoch)))

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Waveform]:
        raise NotImplementedError
