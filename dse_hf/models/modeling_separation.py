"""Separation of signals of any length by exact tiles: no cross-fade, no clicks, constant memory."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .modeling_level import level_gains
from .modeling_separation_stream import MAX_VALUES_AT_ONCE, SeparationStream


# How many samples of all rows go through the network together. This bounds the memory for many channels.
MAX_SAMPLES_AT_ONCE = 1 << 22
MAX_CHANNELS = 64  # of a recording that has more channels than samples


def rest_of_mixture(mixture, sources: Iterable):
    """What the sources leave of the mixture: the last source of every separation (Stoller et al. 2018, 3.2.2).

    The mixture and the sources are tensors or arrays of one shape.
    """
    return mixture - sum(sources)


def background_gain(background_db: float) -> float:
    """The factor, from 0 to 1, of a level in dB at which the background stays in the first source.

    Raises a ValueError if the level is above 0 dB. A level of `-inf` leaves nothing of the background.
    """
    if not background_db <= 0:
        raise ValueError(f"background_db={background_db}: must be 0 or less, such as -12; -inf leaves nothing in")
    return 10 ** (background_db / 20)


def keep_background(mixture, predicted: list, gain: float) -> list:
    """Adds what the first source leaves of the mixture, times `gain`, to it, and takes it from the other sources.

    `predicted` are all sources but the last. They and the mixture are tensors or arrays of one shape.
    """
    if gain == 0:
        return predicted
    first, *others = predicted
    return [first + gain * (mixture - first), *((1 - gain) * other for other in others)]


def looks_transposed(shape: tuple[int, ...]) -> bool:
    """Whether a shape (…, channels, samples) has more channels than samples, and more than any recording has."""
    channels, samples = shape[-2:]
    return channels > samples and channels > MAX_CHANNELS


def center_crop(input: Tensor, target_shape: int, dim: int = -1) -> Tensor:
    """The middle `target_shape` samples of an axis. If the surplus is odd, one sample more is cut at the end."""
    surplus = input.shape[dim] - target_shape
    # Without a surplus there is no slice, whose gradient would be copied in full.
    return input.narrow(dim, surplus // 2, target_shape) if surplus else input


class SeparationMixin:
    """Gives a model `separate`. The model defines `separate_window`, and its config is a [`SeparationConfig`].

    `Trainer` trains a model by losses on the `sources` and the `mixture` of its output. A model with a loss of its own
    sets `has_own_loss` and defines `training_inputs`.
    """

    has_own_loss = False
    # Losses are means over the batch: Trainer has to divide them under gradient accumulation.
    accepts_loss_kwargs = False
    # What the model has as a PreTrainedModel.
    config: Any
    device: Any
    training: bool
    train: Callable
    eval: Callable

    def training_inputs(self, mixture: Tensor, sources: Tensor) -> dict[str, Tensor]:
        """Makes the arguments of `forward`, with labels, of mixtures (B, C, T) and their sources (B, K, C, T)."""
        raise TypeError(f"{type(self).__name__} sets has_own_loss, and does not define training_inputs")

    @torch.no_grad()
    def separate(
        self,
        waveform: Tensor | np.ndarray,
        sampling_rate: int,
        tile_length: int | None = None,
        last_source: bool = True,
    ) -> dict[str, Tensor]:
        r"""
        Separates a signal of any length, from one sample up. The result has no gradients: use `forward` for them.

        Unless the model works alike at every level, a signal below -40 dBFS or above full scale is brought to a usual
        level for the network, and its sources back, see [`LevelMeter`].

        Args:
            waveform (`torch.Tensor` or `numpy.ndarray` of shape `(C, T)` or `(B, C, T)`):
                Floating-point samples, full scale ±1. Any number of channels: a mono model runs on each channel, a
                stereo model on pairs.
            sampling_rate (`int`): sampling rate of the waveform in Hz. It must be the model's.
            tile_length (`int`, *optional*): samples that are separated at a time. The result does not depend on it.
            last_source (`bool`, *optional*, defaults to `True`): whether to return the last source too.

        Returns:
            `dict[str, torch.Tensor]`: for every name in `config.sources` a tensor of the input's shape, dtype and
            device. They sum to the input within rounding.

        Raises:
            ValueError: the waveform is empty, has another shape or dtype, holds NaN or infinity, is too loud for the
                model's dtype, or has another sampling rate than the model.
        """
        waveform = self._checked_waveform(waveform, sampling_rate)
        batch = waveform if waveform.dim() == 3 else waveform[None]
        stream = self.separation_stream(tile_length)
        stream.last_source, stream.gain = last_source, level_gains(self.config, batch)
        sources = torch.cat([stream.push(batch), stream.flush()], dim=-1)
        if not torch.isfinite(sources).all():
            raise ValueError(
                f"the model gives NaN or infinity for a waveform of peak {waveform.abs().max():.3g}: bring it to "
                "full scale ±1, or load the model with dtype float32"
            )
        sources = sources if waveform.dim() == 3 else sources[0]
        return dict(zip(self.config.sources, sources.unbind(dim=-3)))

    def separation_stream(self, tile_length: int | None = None) -> SeparationStream:
        """A [`SeparationStream`] of this model, for signals that come in blocks. `separate` uses it too."""
        return SeparationStream(self, tile_length)

    def separate_window(self, window: Tensor) -> Tensor:
        """Returns the sources that the network predicts, (B, P, channels, T'), of a window (B, channels, T).

        P is K - 1, without the last source, or K. The window has the caller's dtype and a length on the grid.
        """
        raise TypeError(f"{type(self).__name__} does not define separate_window")

    @torch.no_grad()
    def _predict_rows(self, window: Tensor, kept: int, length: int) -> Tensor:
        """Returns predicted sources (B, P, C, length) of a window (B, C, T), from sample `kept` of the output on."""
        (batch, channels), group = window.shape[:2], self.config.channels
        rows = group_channels(window, group)
        most = min(MAX_SAMPLES_AT_ONCE // group, MAX_VALUES_AT_ONCE // self.config.values_per_sample)
        at_once = max(1, most // rows.shape[-1])
        training = self.training
        self.eval()
        try:
            parts = (part.to(self.device) for part in rows.split(at_once))
            outputs = [self.separate_window(part)[..., kept : kept + length] for part in parts]
        finally:
            self.train(training)
        return ungroup_channels(torch.cat(outputs).to(window.device, window.dtype), batch, channels)

    def complete_sources(self, predicted: Tensor, mixture: Tensor, last_source: bool = True) -> Tensor:
        """Makes all sources (B, K, C, n), which sum to the mixture (B, C, n), of the predicted ones (B, P, C, n)."""
        if predicted.shape[1] == len(self.config.sources):
            # Mixture consistency (Wisdom et al. 2019): direct outputs leave a rest, of which each source gets a share.
            rest = rest_of_mixture(mixture, predicted.unbind(dim=1))
            predicted = (predicted + rest[:, None] / predicted.shape[1])[:, :-1]
        if not last_source:
            return predicted
        # In the caller's precision: the sum is the input, whatever the dtype of the model.
        last = rest_of_mixture(mixture, predicted.unbind(dim=1))
        return torch.cat([predicted, last[:, None]], dim=1)

    def _wants_hidden_states(self, output_hidden_states: bool | None) -> bool:
        return self.config.output_hidden_states if output_hidden_states is None else output_hidden_states

    def _checked_waveform(self, waveform, sampling_rate) -> Tensor:
        wanted = "a floating-point tensor of shape (channels, samples) or (batch, channels, samples), full scale ±1"
        if not isinstance(waveform, Tensor):
            try:
                if isinstance(waveform, np.ndarray):  # torch takes no rows that run backwards in memory
                    waveform = np.require(waveform, waveform.dtype.newbyteorder("="), ["C", "W", "A"])
                waveform = torch.as_tensor(waveform)
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(f"waveform of type {type(waveform).__name__}: give {wanted}") from error
        if not waveform.is_floating_point():
            raise ValueError(f"waveform of dtype {waveform.dtype}: give {wanted} (int16 samples: divide by 32768)")
        if waveform.layout != torch.strided or waveform.is_meta:
            raise ValueError(f"waveform of layout {waveform.layout} on device {waveform.device}: give {wanted}")
        if waveform.dim() not in (2, 3):
            hint = "; for mono, waveform[None]" if waveform.dim() == 1 else ""
            raise ValueError(f"waveform of shape {tuple(waveform.shape)}: give {wanted}{hint}")
        if looks_transposed(waveform.shape):
            raise ValueError(f"waveform of shape {tuple(waveform.shape)}: transpose it; give {wanted}")
        if waveform.numel() == 0:
            raise ValueError(f"waveform of shape {tuple(waveform.shape)} is empty: give at least one sample")
        if sampling_rate != self.config.sampling_rate:
            raise ValueError(
                f"sampling_rate={sampling_rate}: this model separates audio at {self.config.sampling_rate} Hz; "
                "resample the waveform first (the pipeline and `dse-hf separate` do it for you)"
            )
        finite = torch.isfinite(waveform)
        if not finite.all():
            first = (~finite).nonzero()[0].tolist()
            raise ValueError(
                f"waveform holds NaN or infinity in {int((~finite).sum())} of {waveform.numel()} samples, "
                f"the first at index {tuple(first)}: repair or drop them"
            )
        return waveform


def mean_squared_error(sources: Tensor, labels: Tensor, padding_mask: Tensor | None = None) -> Tensor:
    """Mean squared error of sources (B, K, C, T') to labels (B, K, C, T), or (B, C, T) for the first source only.

    With a mask (B, T), only the samples where it is 1 count.
    """
    batch, num_sources, channels, length = sources.shape
    estimates = sources[:, 0] if labels.dim() == 3 else sources
    if labels.shape[:-1] != estimates.shape[:-1] or labels.shape[-1] < length:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)}: give ({batch}, {num_sources}, {channels}, T) for all "
            f"sources or ({batch}, {channels}, T) for the foreground, with T ≥ {length}"
        )
    labels = center_crop(labels, length)
    if padding_mask is None:
        return torch.nn.functional.mse_loss(estimates, labels)
    if padding_mask.dim() != 2 or padding_mask.shape[0] != batch or padding_mask.shape[1] < length:
        raise ValueError(f"padding_mask of shape {tuple(padding_mask.shape)}: give ({batch}, T), T ≥ {length}")
    counts = center_crop(padding_mask, length).bool()  # (B, T')
    errors = (estimates - labels).square().flatten(1, -2).mean(dim=1)  # (B, T')
    return errors[counts].mean()


def group_channels(window: Tensor, group: int) -> Tensor:
    """(B, C, T) → (B·G, group, T): puts consecutive channels together, and repeats the last one to fill up a group."""
    channels, length = window.shape[1:]
    missing = -channels % group
    if missing:
        window = torch.cat([window, window[:, -1:].expand(-1, missing, -1)], dim=1)
    return window.reshape(-1, group, length)


def ungroup_channels(sources: Tensor, batch: int, channels: int) -> Tensor:
    """(B·G, K, group, T) → (B, K, C, T): undoes `group_channels`."""
    rows, num_sources, group, length = sources.shape
    sources = sources.reshape(batch, rows // batch, num_sources, group, length).transpose(1, 2)
    return sources.reshape(batch, num_sources, rows // batch * group, length)[:, :, :channels]
