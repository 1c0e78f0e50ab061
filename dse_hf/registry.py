"""The table of model types, by the `model_type` of their configs.

Training, loading, cards, conversion and export read it. A new type is one entry here and its files in `models/`.
"""

import importlib
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelType:
    """A kind of network.

    Args:
        config, model, feature_extractor (`str`): the classes, as `module:Class`.
        extractor_fields (`dict[str, str]`): argument of the feature extractor → field of the config that it has.
        title (`str`): what the network is, for cards.
        citation (`str`): the publication, for cards.
        card_line (`str`, *optional*): a line about its size, for cards; a format string with fields of the config.
        separator (`str`, *optional*): a class that only separates and does not need transformers, as `module:Class`.
            Without it, the command line takes the model.
        onnx (`str`, *optional*): function (model, dtype) → `onnx.ModelProto`, as `module:function`; without it, the
            type cannot be exported.
    """

    config: str
    model: str
    feature_extractor: str
    extractor_fields: dict[str, str]
    title: str
    citation: str
    card_line: str | None = None
    separator: str | None = None
    onnx: str | None = None

    @property
    def config_class(self):
        return load_object(self.config)

    @property
    def model_class(self):
        return load_object(self.model)

    @property
    def feature_extractor_class(self):
        return load_object(self.feature_extractor)


_MODELS = f"{__package__}.models"
_SPECTROGRAM = {name: name for name in ("sampling_rate", "n_fft", "hop_length", "log_offset")}

MODEL_TYPES: dict[str, ModelType] = {
    "waveunet": ModelType(
        config=f"{_MODELS}.configuration_waveunet:WaveUNetConfig",
        model=f"{_MODELS}.modeling_waveunet:WaveUNetModel",
        feature_extractor=f"{_MODELS}.feature_extraction_waveform:WaveformFeatureExtractor",
        extractor_fields={"feature_size": "channels", "sampling_rate": "sampling_rate"},
        title="Wave-U-Net",
        citation="Stoller, D., Ewert, S., & Dixon, S. (2018). Wave-U-Net: A Multi-Scale Neural Network for "
        "End-to-End Audio Source Separation. arXiv:1806.03185.",
        card_line="{num_layers} levels, {channel_growth}·k channels at level k, kernels "
        "{downsampling_kernel_size} and {upsampling_kernel_size}, {upsampling} upsampling, "
        '`padding="{padding}"`, {output} output',
        separator=f"{_MODELS}.modeling_waveunet_network:WaveUNetSeparator",
        onnx=f"{__package__}.export.waveunet_graph:onnx_model",
    ),
    "dae": ModelType(
        config=f"{_MODELS}.configuration_dae:DAEConfig",
        model=f"{_MODELS}.modeling_dae:DAEModel",
        feature_extractor=f"{_MODELS}.feature_extraction_spectrogram:SpectrogramFeatureExtractor",
        extractor_fields=_SPECTROGRAM,
        title="Denoising autoencoder on log-magnitude spectra, with the phase of the mixture",
        citation="Lu, X., Tsao, Y., Matsuda, S., & Hori, C. (2013). Speech Enhancement Based on Deep Denoising "
        "Autoencoder. Interspeech.",
    ),
    "dvae": ModelType(
        config=f"{_MODELS}.configuration_dvae:DVAEConfig",
        model=f"{_MODELS}.modeling_dvae:DVAEModel",
        feature_extractor=f"{_MODELS}.feature_extraction_spectrogram:SpectrogramFeatureExtractor",
        extractor_fields=_SPECTROGRAM,
        title="Variational denoising autoencoder on log-magnitude spectra, with the phase of the mixture",
        citation="Kingma, D. P., & Welling, M. (2013). Auto-Encoding Variational Bayes. arXiv:1312.6114.",
    ),
}


def model_type_of(name: str) -> ModelType:
    """The entry of a type. Raises a ValueError that lists all types if there is none."""
    if name not in MODEL_TYPES:
        raise ValueError(f"model_type={name!r}: choose among {', '.join(MODEL_TYPES)}")
    return MODEL_TYPES[name]


def feature_extractor_for(config):
    """The feature extractor that fits a model's config. Raises a ValueError if its type is not in the table."""
    entry = model_type_of(config.model_type)
    options = {argument: getattr(config, field) for argument, field in entry.extractor_fields.items()}
    return entry.feature_extractor_class(**options)


def _places() -> list[str]:
    """Where the classes of all types are, as `module:Class`."""
    return [place for entry in MODEL_TYPES.values() for place in (entry.config, entry.model, entry.feature_extractor)]


def modules() -> list[str]:
    """The modules of the classes of all types."""
    return list(dict.fromkeys(place.partition(":")[0] for place in _places()))


def register_with_transformers() -> None:
    """Makes all types of the table known to `AutoConfig`, `AutoModel` and `AutoFeatureExtractor`.

    Does nothing before transformers is imported, or while one of the modules is: call it again after that.
    """
    loaded = [(sys.modules.get(place.partition(":")[0]), place.partition(":")[2]) for place in _places()]
    if "transformers" not in sys.modules or any(module and not hasattr(module, name) for module, name in loaded):
        return
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

    for name, entry in MODEL_TYPES.items():
        AutoConfig.register(name, entry.config_class, exist_ok=True)
        AutoModel.register(entry.config_class, entry.model_class, exist_ok=True)
        AutoFeatureExtractor.register(entry.config_class, entry.feature_extractor_class, exist_ok=True)


def load_object(place: str):
    """The object at `module:name`."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
