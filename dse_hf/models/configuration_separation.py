"""What separation asks of the config of a model."""

from typing import Protocol


class SeparationConfig(Protocol):
    """What separation and training ask of the config of a model.

    Attributes:
        sampling_rate (`int`): of the audio, in Hz.
        channels (`int`): how many channels the network separates together.
        sources (`list[str]`): names of the K sources, at least two.
        alignment (`int`): samples of one step of the network's grid. Windows start at multiples of it.
        context (`int`): samples that a window needs on each side of the samples that are kept of its output.
        zero_extended (`bool`): whether the network cuts its context off itself. Then the signal counts as continued
            with zeros on both sides; otherwise the network's own padding is there.
        values_per_sample (`int`): values of the widest layer for each sample of the input: bounds the memory.
    """

    sampling_rate: int
    channels: int
    sources: list[str]
    alignment: int
    context: int
    zero_extended: bool
    values_per_sample: int

    def input_length_for(self, output_length: int) -> int:
        """Samples of the shortest window on the grid that gives at least `output_length` samples."""


def check_separation_config(config: SeparationConfig) -> None:
    """
    Raises:
        ValueError: the config lacks something that [`SeparationConfig`] names.
    """
    missing = [name for name in (*SeparationConfig.__annotations__, "input_length_for") if not hasattr(config, name)]
    if missing:
        raise ValueError(
            f"{type(config).__name__}: lacks {', '.join(missing)}, which separation needs; add what SeparationConfig "
            "of dse_hf describes"
        )
