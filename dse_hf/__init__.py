"""Audio denoising and source separation for the Hugging Face Hub: Wave-U-Net and denoising autoencoders.

Importing this package is light: neither torch nor transformers is loaded. The models join transformers' Auto classes
and pipelines as soon as these are imported, before or after dse_hf.
"""

import importlib
import os

import wrapt


# ONNX Runtime (exports, DNSMOS; torchmetrics imports it) reports to its maker unless told not to before its import,
# and its thread aborts or hangs processes that are forked later. Whoever wants it sets this to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

_PUBLIC = {
    "models.configuration_waveunet": ["WaveUNetConfig"],
    "models.configuration_dae": ["DAEConfig"],
    "models.configuration_dvae": ["DVAEConfig"],
    "models.modeling_waveunet": ["WaveUNet", "WaveUNetModel", "WaveUNetOutput"],
    "models.modeling_dae": ["DAEModel", "DAEOutput", "VanillaAutoEncoder"],
    "models.modeling_dvae": ["DVAEModel", "DVAEOutput", "VariationalAutoEncoder"],
    "models.modeling_separation": ["SeparationMixin", "SeparationStream"],
    "models.feature_extraction_waveform": ["WaveformFeatureExtractor"],
    "models.feature_extraction_spectrogram": ["SpectrogramFeatureExtractor"],
    "models.pipeline_audio_to_audio": ["AudioToAudioPipeline"],
    "pretrained": ["embedded_models", "load_model"],
    "separate": ["separate_file"],
    "conversion": ["convert_checkpoint"],
    "export": ["export_onnx"],
    "cards": ["write_card"],
    "publishing": ["publish_model", "publish_space"],
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [*_MODULE_OF, "__version__"]


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# ── Registration with transformers, as soon as that is imported (at once if it was before) ──


@wrapt.when_imported("transformers")
def _register_models(module) -> None:
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

    for architecture, extractor in (
        ("WaveUNet", "WaveformFeatureExtractor"),
        ("DAE", "SpectrogramFeatureExtractor"),
        ("DVAE", "SpectrogramFeatureExtractor"),
    ):
        config = __getattr__(f"{architecture}Config")
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, __getattr__(f"{architecture}Model"), exist_ok=True)
        AutoFeatureExtractor.register(config, __getattr__(extractor), exist_ok=True)


# Pipelines are slow to import, and few programs want them. Two steps, as our module may be what imports theirs.
@wrapt.when_imported("transformers.pipelines")
def _import_pipeline(pipelines) -> None:
    importlib.import_module(f"{__name__}.models.pipeline_audio_to_audio")


@wrapt.when_imported(f"{__name__}.models.pipeline_audio_to_audio")
def _register_pipeline(module) -> None:
    from transformers import AutoModel
    from transformers.pipelines import PIPELINE_REGISTRY

    PIPELINE_REGISTRY.register_pipeline(
        "audio-to-audio", pipeline_class=module.AudioToAudioPipeline, pt_model=AutoModel, type="audio"
    )
