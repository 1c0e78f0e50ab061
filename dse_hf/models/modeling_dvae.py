"""The variational denoising autoencoder (Kingma & Welling 2014) on log-magnitude spectra."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import ModelOutput

from .configuration_dvae import DVAEConfig
from .modeling_dae import DEFAULT_HIDDEN_SIZES, DAEModel, build_decoder, build_encoder, unpadded


@dataclass
class DVAEOutput(ModelOutput):
    """
    Args:
        loss (`torch.Tensor` of shape `()`, *optional*, returned when `labels` is given):
            Mean squared error of the reconstruction + `config.kl_weight` · `kl`.
        reconstruction, hidden_states: see [`DAEOutput`].
        latent (`torch.Tensor` of shape `(…, latent_dim)`):
            Input of the decoder: a sample of the posterior in training, its mean in evaluation.
        mean (`torch.Tensor` of shape `(…, latent_dim)`):
            Means of the posterior.
        log_variance (`torch.Tensor` of shape `(…, latent_dim)`):
            Logarithms of the posterior's variances.
        kl (`torch.Tensor` of shape `()`):
            Divergence of the posterior from N(0, 1) in nats per frame, with the floor of the free bits, not weighted.
    """

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    latent: Tensor | None = None
    mean: Tensor | None = None
    log_variance: Tensor | None = None
    kl: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


def kl_divergence(mean: Tensor, log_variance: Tensor, free_bits: float = 0.0) -> Tensor:
    """Σ_j max(free_bits, mean over the frames of KL(N(mean_j, variance_j) || N(0, 1))), in nats.

    The sum is over the latent dimensions (last axis), the mean over all other axes. A dimension that diverges less
    than `free_bits` on average counts as `free_bits` and has no gradient (Kingma et al. 2016).
    """
    divergence = 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance)
    return divergence.flatten(0, -2).mean(dim=0).clamp(min=free_bits).sum()


class VariationalAutoEncoder(nn.Module):
    r"""
    A [`VanillaAutoEncoder`] with a Gaussian bottleneck in place of the stage of the latent, as a plain module.

          ⋮                                                            ⋮
        [stage, h_n]                                                 [stage, h_n]
          ├─▶ linear ─▶ mean ───────────────────┐                      ↑
          └─▶ linear ─▶ log variance ─▶ σ · ε ─▶ + ─▶ latent ──────────┘     ε: N(0, 1) in training, else 0

    Args:
        input_dim, latent_dim, hidden_layer_struct, dropout: as for [`VanillaAutoEncoder`].
    """

    def __init__(
        self,
        input_dim: int,
        latent_dim: int,
        hidden_layer_struct: Sequence[int] | None = None,
        dropout: float | None = None,
    ):
        super().__init__()
        hidden_sizes = DEFAULT_HIDDEN_SIZES if hidden_layer_struct is None else hidden_layer_struct
        sizes = [input_dim, *hidden_sizes]
        self.encoder = build_encoder(sizes, dropout or 0.0)
        self.mean = nn.Linear(sizes[-1], latent_dim)
        self.log_variance = nn.Linear(sizes[-1], latent_dim)
        self.decoder = build_decoder([latent_dim, *sizes[::-1]], dropout or 0.0)

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(…, input_dim) → reconstruction (…, input_dim), mean and log-variance (…, latent_dim)."""
        mean, log_variance = self.encode(input)
        return self.decoder(self.sample(mean, log_variance)), mean, log_variance

    def encode(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """(…, input_dim) → mean and log-variance of the posterior, (…, latent_dim)."""
        hidden_states = self.encoder(input)
        return self.mean(hidden_states), self.log_variance(hidden_states)

    def sample(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """A latent (…, latent_dim): drawn by reparameterisation in training, the mean in evaluation."""
        if not self.training:
            return mean
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


class DVAEModel(DAEModel):
    r"""
    Denoises log-magnitude frames with a [`VariationalAutoEncoder`], and waveforms, as [`DAEModel`] does.

    The loss is the negative ELBO up to scale. The KL term has a weight (β, Higgins et al. 2017) and a floor per
    dimension (free bits, Kingma et al. 2016). `forward` returns a [`DVAEOutput`].
    """

    config_class = DVAEConfig
    base_model_prefix = "dvae"
    network_class = VariationalAutoEncoder
    output_class = DVAEOutput

    def _bottleneck(self, hidden_states, attention_mask):
        mean, log_variance = self.network.mean(hidden_states), self.network.log_variance(hidden_states)
        frames = unpadded(mean, attention_mask), unpadded(log_variance, attention_mask)
        kl = kl_divergence(*frames, self.config.free_bits)
        latent = self.network.sample(mean, log_variance)
        fields = {"latent": latent, "mean": mean, "log_variance": log_variance, "kl": kl}
        return fields, self.config.kl_weight * kl


DVAEModel.register_for_auto_class("AutoModel")

__all__ = ["DVAEModel", "DVAEOutput", "VariationalAutoEncoder"]
