"""What separation asks of the config of a model."""

from typing import ClassVar, Protocol


MAX_PARAMETERS = 2_000_000_000  # two hundred times the paper's Wave-U-Net, seven hundred times libdse's autoencoder


class SeparationConfig(Protocol):
    """What separation and training ask of the config of a model."""

    sampling_rate: int  # of the audio, in Hz
    channels: int  # how many channels the network separates together
    sources: list[str]  # names of the K sources, at least two
    alignment: int  # samples of one step of the network's grid; windows start at multiples of it
    context: int  # samples that a window needs on each side of the samples that are kept of its output
    # Whether the network cuts its context off itself. Then the signal counts as continued with zeros on both sides;
    # otherwise the network's own padding is there.
    zero_extended: bool
    values_per_sample: int  # values of the widest layer for each sample of the input: bounds the memory

    def input_length_for(self, output_length: int) -> int:
        """Samples of the shortest window on the grid that gives at least `output_length` samples."""


class SeparationConfigMixin:
    """Aliases and checks of fields for the configs of all our models. Most inherit from `PreTrainedConfig` too."""

    attribute_map: ClassVar[dict[str, str]]

    def __post_init__(self, **kwargs):
        for alias in self.attribute_map.keys() & kwargs.keys():
            setattr(self, self.attribute_map[alias], kwargs.pop(alias))  # by its own name the type is checked
        labels = kwargs.get("num_labels")
        if isinstance(labels, int) and labels > 1000:  # of classifiers: a list of so many names would be made
            raise ValueError(f"num_labels={labels}: these models have no labels; leave it out")
        if (base := getattr(super(), "__post_init__", None)) is not None:  # that of PreTrainedConfig
            base(**kwargs)

    def check_ranges(self, **ranges: tuple[int, int]) -> None:
        """Raises a ValueError if one of these fields is less or more than its range allows."""
        for field, (low, high) in ranges.items():
            if not low <= getattr(self, field) <= high:
                raise ValueError(f"{field}={getattr(self, field)}: must be between {low} and {high}")


def check_separation_config(config: SeparationConfig) -> None:
    """Raises a ValueError if the config lacks something that [`SeparationConfig`] names."""
    missing = [name for name in (*SeparationConfig.__annotations__, "input_length_for") if not hasattr(config, name)]
    if missing:
        raise ValueError(
            f"{type(config).__name__}: lacks {', '.join(missing)}, which separation needs; add what SeparationConfig "
            "of dse_hf describes"
        )
