"""Configuration of the variational denoising autoencoder on log-magnitude spectra."""

from huggingface_hub.dataclasses import strict

from .configuration_dae import DAEConfig


@strict
class DVAEConfig(DAEConfig):
    r"""
    Configuration of a [`DVAEModel`]: a [`DAEConfig`] with the weight of the bottleneck's divergence.

    Args:
        hidden_sizes, latent_dim, dropout, sampling_rate, n_fft, hop_length, log_offset, input_dim: see [`DAEConfig`].
        kl_weight (`float`, *optional*, defaults to 1e-3):
            Weight of the KL divergence, added to the mean squared error. The error is a mean over `input_dim` bins.
            So the β of Higgins et al. (2017) is `kl_weight * input_dim / 2` for errors of unit variance:
            `2 / input_dim` is the plain VAE. The default, β = 0.065 at 129 bins, favours reconstruction.
        free_bits (`float`, *optional*, defaults to 0.0):
            Divergence of a latent dimension, in nats, below which it has no gradient (Kingma et al. 2016). It keeps
            dimensions from collapsing.

    Raises:
        StrictDataclassError (huggingface_hub.errors): see [`DAEConfig`].
    """

    model_type = "dvae"

    kl_weight: float | int = 1e-3
    free_bits: float | int = 0.0

    def validate_architecture(self):
        super().validate_architecture()
        for field in ("kl_weight", "free_bits"):
            value = getattr(self, field)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{field}={value}: must be finite and at least 0")
        if self.dropout and not self.hidden_sizes:
            raise ValueError(f"dropout={self.dropout}: hidden_sizes is empty, no layer drops units")


DVAEConfig.register_for_auto_class()

__all__ = ["DVAEConfig"]
