"""The architecture of a Wave-U-Net (Stoller, Ewert & Dixon 2018, arXiv:1806.03185): its fields, and its lengths.

This needs no transformers, so that the command line starts quickly.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict

from .configuration_separation import MAX_PARAMETERS, SeparationConfigMixin


MAX_WINDOW_VALUES = 2**27  # of a layer for the smallest window: forty times the paper's, 0.5 GB
MAX_NAME_LENGTH = 64


@dataclass(kw_only=True)
class WaveUNetFields(SeparationConfigMixin):
    """The fields of a [`WaveUNetConfig`], which describes them, and what follows from them."""

    attribute_map: ClassVar[dict[str, str]] = {
        "n_layers": "num_layers",
        "f_d": "downsampling_kernel_size",
        "f_u": "upsampling_kernel_size",
        "F_c": "channel_growth",
        "num_hidden_layers": "num_layers",
        "hidden_size": "channel_growth",
        "both_polarities": "average_polarity_flip",  # the old name
    }

    num_layers: int = 12
    downsampling_kernel_size: int = 15
    upsampling_kernel_size: int = 5
    channel_growth: int = 24
    channels: int = 1
    sources: list[str] | tuple[str, ...] = ("foreground", "background")
    output: Literal["difference", "direct"] = "difference"
    padding: Literal["valid", "same"] = "valid"
    upsampling: Literal["linear", "learned"] = "linear"
    output_activation: Literal["tanh", "linear"] = "tanh"
    bias: bool = True
    bands: int = 1
    average_polarity_flip: bool = False
    sampling_rate: int = 16000

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.sources = list(self.sources)

    def validate_architecture(self):
        """Called by `@strict` for every new config. The upper bounds keep a hostile config from filling the memory."""
        self.check_ranges(
            num_layers=(1, 20),
            downsampling_kernel_size=(1, 255),
            upsampling_kernel_size=(1, 255),
            channel_growth=(1, 1024),
            channels=(1, 64),
            bands=(1, 64),
            sampling_rate=(1, 768_000),
        )
        layers = range(1, self.num_layers + 1)
        parameters = self.channel_growth**2 * (
            self.downsampling_kernel_size * sum(k * (k + 1) for k in layers)
            + self.upsampling_kernel_size * sum(k * (2 * k + 1) for k in layers)
        )
        if parameters > MAX_PARAMETERS:
            raise ValueError(
                f"num_layers={self.num_layers} and channel_growth={self.channel_growth} make {parameters:,} "
                f"parameters: more than {MAX_PARAMETERS:,} are not supported"
            )
        for field in ("downsampling_kernel_size", "upsampling_kernel_size"):
            value = getattr(self, field)
            if value % 2 == 0:
                raise ValueError(
                    f"{field}={value}: must be odd, an even kernel would shift the output against the input"
                )
        names = self.sources
        if not 2 <= len(names) <= 64:
            shown = names if len(names) < 2 else f"{len(names)} names"
            raise ValueError(f"sources={shown}: must name 2 to 64 sources, the last one being the rest")
        if max(map(len, names)) > MAX_NAME_LENGTH:
            raise ValueError(f"sources: a name has more than {MAX_NAME_LENGTH} characters; they become file names")
        if len(set(names)) < len(names) or not all(name.replace("-", "_").isidentifier() for name in names):
            raise ValueError(
                f"sources={names}: names must differ and be words (letters, digits, '_', '-'): they become file names"
            )
        values = self.receptive_field * self.values_per_sample
        if values > MAX_WINDOW_VALUES:
            raise ValueError(
                f"num_layers={self.num_layers}, kernel sizes {self.downsampling_kernel_size} and "
                f"{self.upsampling_kernel_size}, and channel_growth={self.channel_growth} make one window take "
                f"{values:,} values in a layer: more than {MAX_WINDOW_VALUES:,} are not supported"
            )

    # ── The length rule. Everything that needs to know a length asks here. ──

    # The network works on frames of M = `bands` samples: for the paper's networks, a frame is a sample.

    @property
    def alignment(self) -> int:
        """Samples of one step of the deepest level: tiles start at multiples of it."""
        return self.bands * 2**self.num_layers

    @property
    def level_invariant(self) -> bool:
        """Whether a recording of twice the level gives sources of exactly twice the level."""
        return not self.bias and self.output_activation == "linear"

    @property
    def zero_extended(self) -> bool:
        """Whether the network cuts its context off. Then the signal counts as continued with zeros on both sides."""
        return self.padding == "valid"

    @property
    def values_per_sample(self) -> int:
        """Values of the widest layer for each sample of the input: they tell how long a window fits the memory."""
        return max(-(-self.channel_growth // self.bands), self.channels * len(self.sources))

    @property
    def _bank_reach(self) -> int:
        """Frames on each side of a frame that both halves of the filter bank need."""
        return 32 if self.bands > 1 else 0

    @property
    def receptive_field(self) -> int:
        """How many input samples one output sample may depend on. The sample itself is in the middle."""
        down, up = self.downsampling_kernel_size // 2, self.upsampling_kernel_size // 2
        steps = 2**self.num_layers - 1  # Σ 2^k: one step of every level, in frames
        # An odd step of an interpolated level needs one more step of that level on either side.
        frames = down * 2**self.num_layers + (down + up + 1) * steps + self._bank_reach
        return 2 * (frames * self.bands + self.bands - 1) + 1

    @property
    def context(self) -> int:
        """Input samples that a window needs on each side of the samples that are kept of its output."""
        if self.padding == "valid":
            down, up = self.downsampling_kernel_size // 2, self.upsampling_kernel_size // 2
            frames = down * 2**self.num_layers + (down + up) * (2**self.num_layers - 1) + self._bank_reach
            return self.bands * frames
        return -(-(self.receptive_field // 2) // self.alignment) * self.alignment

    def output_length_for(self, input_length: int) -> int:
        """Length T' of the output for an input of `input_length` samples.

        Raises a ValueError if the input is shorter than the convolutions need.
        """
        shrink_down, shrink_up = self.downsampling_kernel_size - 1, self.upsampling_kernel_size - 1
        shrink_bank = 2 * self._bank_reach
        if self.padding == "same":
            shrink_down = shrink_up = shrink_bank = 0
        missing = -input_length % self.bands  # samples of the last frame
        length = (input_length + missing) // self.bands - shrink_bank // 2  # the bank, first half
        for _ in range(self.num_layers):
            length = (length - shrink_down + 1) // 2  # convolution, decimation
        length = length - shrink_down  # bottleneck
        enough = length >= 1
        for _ in range(self.num_layers):
            length = 2 * length - 1 - shrink_up  # interpolation, convolution
            enough = enough and length >= 1
        length = length - shrink_bank // 2  # the bank, second half
        if not enough or length < 1 or input_length < 1:
            raise ValueError(
                f"input of {input_length} samples is too short for this network: "
                f"it needs at least {self.input_length_for(1)}"
            )
        return length * self.bands - missing

    def input_length_for(self, output_length: int) -> int:
        """Shortest input on the decimation grid whose output has at least `output_length` samples.

        On the grid every level has an odd length, so that decimation keeps the first and the last step, all
        crops are symmetric, and skips and decoder stay in step. With `padding="same"` these are the lengths
        `(m * 2**num_layers + 1) * bands`. The default network needs 147,443 samples for 16,384 and gives 16,389.
        """
        if output_length < 1:
            raise ValueError(f"output_length={output_length}: must be at least 1")
        frames, step = -(-output_length // self.bands), 2**self.num_layers
        if self.padding == "same":
            return (-(-(frames - 1) // step) * step + 1) * self.bands
        # The output of x steps of the bottleneck: x·step - lost.
        lost = (step - 1) * self.upsampling_kernel_size
        steps = -(-(frames + lost) // step)
        return (steps * step - lost) * self.bands + 2 * self.context


@strict(accept_kwargs=True)
@dataclass(kw_only=True)
class WaveUNetArchitecture(WaveUNetFields):
    """A [`WaveUNetConfig`] without transformers, for a [`WaveUNetSeparator`]. Ignores fields that it does not know."""
