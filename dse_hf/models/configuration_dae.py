"""Configuration of the denoising autoencoder on log-magnitude spectra."""

from itertools import pairwise
from numbers import Real

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .configuration_separation import MAX_PARAMETERS, SeparationConfigMixin


MAX_OVERLAP = 64  # frames that a sample lies in


def check_frames(n_fft: int, hop_length: int, log_offset: float) -> None:
    """Raises a ValueError if log-magnitude frames cannot have these parameters, see [`DAEConfig`]."""
    if not 2 <= n_fft <= 65_536:
        raise ValueError(f"n_fft={n_fft}: must be between 2 and 65536")
    if not 1 <= hop_length <= n_fft // 2 or n_fft % hop_length:
        raise ValueError(
            f"hop_length={hop_length}: must divide n_fft={n_fft} and be at most half of it, "
            "so that overlapping frames give the signal back"
        )
    if n_fft // hop_length > MAX_OVERLAP:
        raise ValueError(f"hop_length={hop_length}: must be at least n_fft / {MAX_OVERLAP}")
    # A lower offset vanishes in float32, and silence has no logarithm then.
    if not (isinstance(log_offset, Real) and 1e-30 <= log_offset <= 1):
        raise ValueError(f"log_offset={log_offset!r}: must be a number from 1e-30 to 1")


@strict
class DAEConfig(SeparationConfigMixin, PreTrainedConfig):
    r"""
    Configuration of a [`DAEModel`]. The defaults are libdse's recipe: speech at 8 kHz, frames of 32 ms.
    libdse's argument names work: `DAEConfig(input_dim=129, latent_dim=180, hidden_layer_struct=[2048, 500])`.

    Args:
        hidden_sizes (`list[int]`, *optional*, defaults to `[2048, 500]`):
            Widths of the encoder's hidden layers. The decoder mirrors them. May be empty.
        latent_dim (`int`, *optional*, defaults to 180):
            Width of the bottleneck.
        input_dim (`int`, *optional*, defaults to `n_fft // 2 + 1`):
            Width of the feature vectors that the network takes and gives. Separation of waveforms needs the default.
            Vectors of any other width, such as mel bands, work in the model's `forward`.
        dropout (`float`, *optional*, defaults to 0.0):
            Probability that a unit is dropped, in the encoder's first layer and in the layer that mirrors it.
        sampling_rate (`int`, *optional*, defaults to 8000):
            Sampling rate of the audio in Hz.
        n_fft (`int`, *optional*, defaults to 256):
            Samples of a frame, and of its Hann window.
        hop_length (`int`, *optional*, defaults to 128):
            Samples from one frame to the next. It divides `n_fft` and is at most half of it.
        log_offset (`float`, *optional*, defaults to 1e-8):
            The ε of the features log(|X| + ε), in natural logarithms.

    Raises:
        StrictDataclassError (huggingface_hub.errors): a field has the wrong type, or no network can be built with its
            value. The message names both.
    """

    model_type = "dae"
    attribute_map = {"hidden_layer_struct": "hidden_sizes", "hidden_size": "latent_dim"}

    hidden_sizes: list[int] | tuple[int, ...] = (2048, 500)
    latent_dim: int = 180
    input_dim: int = 0  # the default: n_fft // 2 + 1
    dropout: float | int = 0.0
    sampling_rate: int = 8000
    n_fft: int = 256
    hop_length: int = 128
    log_offset: float = 1e-8

    # Parts of SeparationConfig that are the same for all autoencoders.
    channels = 1
    zero_extended = True

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.hidden_sizes = list(self.hidden_sizes)
        self.input_dim = self.input_dim or self.num_bins

    def validate_architecture(self):
        """Called by `@strict` whenever a config is made. Bounds keep hostile ones from filling memory."""
        if len(self.hidden_sizes) > 64:
            raise ValueError(f"hidden_sizes of {len(self.hidden_sizes)} layers: must be at most 64")
        check_frames(self.n_fft, self.hop_length, self.log_offset)
        for k, size in enumerate(self.hidden_sizes):
            if not 1 <= size <= 65_536:
                raise ValueError(f"hidden_sizes[{k}]={size}: must be between 1 and 65536")
        self.check_ranges(latent_dim=(1, 65_536), sampling_rate=(1, 768_000), input_dim=(1, 65_536))
        widths = [self.input_dim, *self.hidden_sizes, self.latent_dim]
        parameters = 2 * sum(first * second for first, second in pairwise(widths))
        if parameters > MAX_PARAMETERS:
            raise ValueError(
                f"input_dim={self.input_dim}, hidden_sizes={self.hidden_sizes} and latent_dim={self.latent_dim} make "
                f"{parameters:,} parameters: more than {MAX_PARAMETERS:,} are not supported"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout}: must be at least 0 and less than 1")

    def to_dict(self) -> dict:
        """Leaves out an `input_dim` that follows from `n_fft`. So it still does when `n_fft` is changed, and earlier
        versions of dse-hf, which have no such field, can read the config."""
        fields = super().to_dict()
        if self.input_dim == self.num_bins:
            fields.pop("input_dim", None)
        return fields

    def check_takes_waveforms(self) -> None:
        """Raises a ValueError if the network does not take the bins of a frame."""
        if self.input_dim != self.num_bins:
            raise ValueError(
                f"input_dim={self.input_dim}: for waveforms it must be n_fft // 2 + 1 = {self.num_bins}, the bins of "
                "a frame; use `forward` for other feature vectors, or give an n_fft that fits"
            )

    @property
    def num_bins(self) -> int:
        """Frequency bins of a frame of `n_fft` samples."""
        return self.n_fft // 2 + 1

    @property
    def num_hidden_layers(self) -> int:
        """Layers of the encoder, with the bottleneck."""
        return len(self.hidden_sizes) + 1

    @property
    def sources(self) -> list[str]:
        """Names of the sources that a signal is separated into."""
        return ["foreground", "background"]

    # ── The length rule. Everything that needs to know a length asks here. ──

    @property
    def alignment(self) -> int:
        """Samples from one frame to the next. Windows start at multiples of it."""
        return self.hop_length

    @property
    def values_per_sample(self) -> int:
        """Values of the widest layer for each sample of the input: they tell how long a window fits the memory."""
        return -(-max(self.n_fft, self.latent_dim, *self.hidden_sizes) // self.hop_length)

    @property
    def receptive_field(self) -> int:
        """How many input samples one output sample may depend on. The sample itself is in the middle."""
        return 2 * (self.n_fft - 1) + 1

    @property
    def context(self) -> int:
        """Input samples that a window needs before and after its output: the whole steps that hold a frame."""
        return -(-(self.n_fft - 1) // self.hop_length) * self.hop_length

    def output_length_for(self, input_length: int) -> int:
        """Returns the length of the output for a window of `input_length` samples.

        Raises a ValueError if the window holds only context.
        """
        length = input_length - 2 * self.context
        if length < 1:
            raise ValueError(
                f"input of {input_length} samples is too short for frames of {self.n_fft}: "
                f"it needs at least {self.input_length_for(1)}"
            )
        return length

    def input_length_for(self, output_length: int) -> int:
        """Returns the length of the window whose output has `output_length` ≥ 1 samples."""
        if output_length < 1:
            raise ValueError(f"output_length={output_length}: must be at least 1")
        return output_length + 2 * self.context


DAEConfig.register_for_auto_class()

__all__ = ["DAEConfig"]
