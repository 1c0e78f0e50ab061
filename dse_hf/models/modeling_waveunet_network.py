"""The network of the Wave-U-Net (Stoller, Ewert & Dixon 2018, arXiv:1806.03185), and separation with it.

This needs no transformers, so that the command line starts quickly.
"""

import torch
from torch import Tensor, nn

from .configuration_waveunet_architecture import WaveUNetArchitecture, WaveUNetFields
from .modeling_filter_bank import FilterBank
from .modeling_separation import SeparationMixin, SeparationStream, center_crop, rest_of_mixture
from .modeling_waveunet_batch import predict_batch
from .modeling_waveunet_blocks import (
    LEAKINESS,
    WaveUNetDownsamplingBlock,
    WaveUNetUpsamplingBlock,
    stack_channels,
)
from .modeling_waveunet_stream import WaveUNetStream


class WaveUNet(nn.Module):
    r"""
    The Wave-U-Net as a plain module; libdse's state dicts load into it unchanged.

        mixture (B, C, T) ──────────────────────────────────────────┐ crop
          │                                                         ▼
        [DS 1] ── F_c channels ────────────── crop ─────────────▶ [US 1] ─▶ concat ─▶ 1×1 conv, tanh ─▶ K-1 sources
          ↓ every other step                                        ↑ 2T - 1             last = mixture - the others
        [DS 2] ── 2·F_c ───────────────────── crop ─────────────▶ [US 2]
          ⋮                                                         ⋮
        [DS L] ── L·F_c ───────────────────── crop ─────────────▶ [US L]
          ↓                                                         ↑
          └────────────── bottleneck, (L+1)·F_c ────────────────────┘

    Args:
        n_layers (`int`): number of downsampling blocks, and of upsampling blocks (L).
        f_u (`int`): kernel size of the upsampling blocks.
        f_d (`int`): kernel size of the downsampling blocks and the bottleneck.
        F_c (`int`): channels added by every downsampling block.
        padding, channels, sources, output, upsampling, output_activation, bias: see [`WaveUNetConfig`].
    """

    def __init__(
        self,
        n_layers: int,
        f_u: int,
        f_d: int,
        F_c: int,
        padding: str = "valid",
        channels: int = 1,
        sources: list[str] | tuple[str, ...] = ("foreground", "background"),
        output: str = "difference",
        upsampling: str = "linear",
        output_activation: str = "tanh",
        bias: bool = True,
    ):
        super().__init__()
        self.n_layers, self.output = n_layers, output
        num_predicted = len(sources) - 1 if output == "difference" else len(sources)
        same_for_all = {"padding": padding, "bias": bias}
        widths = [channels] + [k * F_c for k in range(1, n_layers + 2)]
        self.encoder = nn.ModuleList(
            WaveUNetDownsamplingBlock(widths[k - 1], widths[k], kernel_size=f_d, **same_for_all)
            for k in range(1, n_layers + 1)
        )
        self.bottleneck = nn.Sequential(
            nn.Conv1d(widths[n_layers], widths[n_layers + 1], kernel_size=f_d, **same_for_all),
            nn.LeakyReLU(LEAKINESS),
        )
        self.decoder = nn.ModuleList(
            WaveUNetUpsamplingBlock(widths[k + 1], widths[k], widths[k], upsampling, kernel_size=f_u, **same_for_all)
            for k in range(n_layers, 0, -1)
        )
        self.output_layer = nn.Sequential(
            nn.Conv1d(F_c + channels, num_predicted * channels, kernel_size=1, bias=bias),
            nn.Tanh() if output_activation == "tanh" else nn.Identity(),
        )

    center_crop = staticmethod(center_crop)
    stack_channels = staticmethod(stack_channels)

    def forward(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T) → foreground and background, both (B, C, T'), which sum to the cropped mixture."""
        foreground = self.predict(mixture)[:, 0]
        return foreground, rest_of_mixture(center_crop(mixture, foreground.shape[-1]), [foreground])

    def predict_sources(self, mixture: Tensor) -> Tensor:
        """(B, C, T) → all K sources, (B, K, C, T')."""
        return self.complete_sources(self.predict(mixture), mixture)

    def predict(self, mixture: Tensor) -> Tensor:
        """(B, C, T) → the P sources that the network predicts, K-1 or all K, (B, P, C, T')."""
        return self.predict_from(self.hidden_states(mixture)[-1], mixture)

    def hidden_states(self, mixture: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T) → what leaves the L downsampling blocks, the bottleneck and the L upsampling blocks."""
        hidden_states, skips, decoded = mixture, [], []
        for block in self.encoder:
            skip, hidden_states = block(hidden_states)
            skips.append(skip)
        bottleneck = hidden_states = self.bottleneck(hidden_states)
        for block, skip in zip(self.decoder, reversed(skips)):
            hidden_states = block(hidden_states, skip)
            decoded.append(hidden_states)
        return (*skips, bottleneck, *decoded)

    def predict_from(self, features: Tensor, mixture: Tensor) -> Tensor:
        """Features (B, F_c, T') of the last block and the mixture (B, C, T) → predicted sources (B, P, C, T')."""
        return self.output_layer(stack_channels(features, mixture)).unflatten(1, (-1, mixture.shape[1]))

    def complete_sources(self, predicted: Tensor, mixture: Tensor) -> Tensor:
        """(B, P, C, T') → (B, K, C, T'): adds the last source, if it is a difference (3.2.2)."""
        if self.output == "direct":
            return predicted
        rest = rest_of_mixture(center_crop(mixture, predicted.shape[-1]), predicted.unbind(dim=1))
        return torch.cat([predicted, rest[:, None]], dim=1)


class WaveUNetSeparation(SeparationMixin):
    """Separation with a [`WaveUNet`]: what [`WaveUNetModel`] and [`WaveUNetSeparator`] have in common."""

    network: WaveUNet
    filter_bank: FilterBank | None
    dtype: torch.dtype

    def build_network(self, config: WaveUNetFields) -> None:
        self.network = WaveUNet(
            n_layers=config.num_layers,
            f_u=config.upsampling_kernel_size,
            f_d=config.downsampling_kernel_size,
            F_c=config.channel_growth,
            padding=config.padding,
            channels=config.channels * config.bands,
            sources=config.sources,
            output=config.output,
            upsampling=config.upsampling,
            output_activation=config.output_activation,
            bias=config.bias,
        )
        self.filter_bank = FilterBank(config.bands, config.padding == "same") if config.bands > 1 else None

    def separation_stream(self, tile_length: int | None = None) -> SeparationStream:
        return (WaveUNetStream if self.device.type == "cpu" else SeparationStream)(self, tile_length)

    def separate_window(self, window: Tensor) -> Tensor:
        if self.filter_bank is None:  # the bank has the precision of the window, whatever that of the network
            window = window.to(self.dtype)
        return self._average_polarity_flip(self._predict(window), window)

    def _average_polarity_flip(self, predicted: Tensor, mixture: Tensor) -> Tensor:
        """Averages with what the network predicts for the negative mixture, turned back, if the config says so."""
        if self.training or not self.config.average_polarity_flip:
            return predicted
        return (predicted - self._predict(-mixture)) / 2

    def _predict(self, mixture: Tensor, hidden_states: tuple[Tensor, ...] | None = None) -> Tensor:
        """(B, C, T) → predicted sources (B, P, C, T'). If given, `hidden_states` are those of the mixture's bands."""
        bank = self.filter_bank
        if bank is None:
            return self._predict_bands(mixture, hidden_states)
        frames = bank.frames_of(mixture)
        bands = bank.split(frames)
        predicted = self._predict_bands(bands.to(self.dtype), hidden_states).to(bands.dtype)
        waveforms = bank.join_predicted(predicted, bands, frames)
        return waveforms[..., : waveforms.shape[-1] - -mixture.shape[-1] % bank.bands]

    def _bands(self, mixture: Tensor) -> Tensor:
        """What the network sees of a mixture: (B, C, T) → (B, C·M, n)."""
        bank = self.filter_bank
        return mixture if bank is None else bank.split(bank.frames_of(mixture))

    def _predict_bands(self, bands: Tensor, hidden_states: tuple[Tensor, ...] | None = None) -> Tensor:
        """(B, C·M, n) → bands of the predicted sources, (B, P, C·M, n')."""
        if hidden_states is not None:
            return self.network.predict_from(hidden_states[-1], bands)
        # The arrangement for batches does not go through the blocks that checkpointing wraps.
        if self.network.encoder[0].gradient_checkpointing:
            # Reentrant checkpointing gives a block no gradients unless one of its inputs requires them.
            if self.training and torch.is_grad_enabled() and not bands.requires_grad:
                bands = bands.clone().requires_grad_()
            return self.network.predict(bands)
        if bands.device.type == "cpu":
            return predict_batch(self.network, bands)
        if bands.device.type == "cuda" and self.training:
            return predict_batch(self.network, bands, multiple=8)
        return self.network.predict(bands)


class WaveUNetSeparator(WaveUNetSeparation, nn.Module):
    """A [`WaveUNetModel`] that only separates. It starts in a fraction of the time, as it needs no transformers."""

    config_class = WaveUNetArchitecture

    def __init__(self, config: WaveUNetArchitecture):
        super().__init__()
        self.config = config
        self.build_network(config)

    # As in PreTrainedModel, these are properties.
    @property
    def device(self) -> torch.device:  # pyrefly: ignore[bad-override]
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:  # pyrefly: ignore[bad-override]
        return next(self.parameters()).dtype
