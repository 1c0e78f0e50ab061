"""Audio denoising and source separation for the Hugging Face Hub: Wave-U-Net and denoising autoencoders.

Importing this package is light: neither torch nor transformers is loaded. The models join transformers' Auto classes
and pipelines as soon as these are imported, before or after dse_hf.
"""

import importlib

import wrapt


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
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [*_MODULE_OF, "__version__"]


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# ── Registration with transformers ──
# Each of our modules is imported right after the module of transformers that has to know it (at once if that was
# imported before), and registers when its own import is done. Two steps, because our module may be what imports theirs.


def _register_config(module, config: str) -> None:
    from transformers import AutoConfig

    config_class = getattr(module, config)
    AutoConfig.register(config_class.model_type, config_class, exist_ok=True)


def _register_model(module, config: str, model: str) -> None:
    from transformers import AutoModel

    AutoModel.register(__getattr__(config), getattr(module, model), exist_ok=True)


def _register_feature_extractor(module, configs: list[str], extractor: str) -> None:
    from transformers import AutoFeatureExtractor

    for config in configs:
        AutoFeatureExtractor.register(__getattr__(config), getattr(module, extractor), exist_ok=True)


def _register_pipeline(module) -> None:
    from transformers import AutoModel
    from transformers.pipelines import PIPELINE_REGISTRY

    PIPELINE_REGISTRY.register_pipeline(
        "audio-to-audio", pipeline_class=module.AudioToAudioPipeline, pt_model=AutoModel, type="audio"
    )


def _when_imported(theirs: str, ours: str, register, *names) -> None:
    ours = f"{__name__}.models.{ours}"
    wrapt.register_post_import_hook(lambda module: register(module, *names), ours)
    wrapt.register_post_import_hook(lambda module: importlib.import_module(ours), f"transformers.{theirs}")


for _type, _prefix in (("waveunet", "WaveUNet"), ("dae", "DAE"), ("dvae", "DVAE")):
    _config, _model = f"{_prefix}Config", f"{_prefix}Model"
    _when_imported("models.auto.configuration_auto", f"configuration_{_type}", _register_config, _config)
    _when_imported("models.auto.modeling_auto", f"modeling_{_type}", _register_model, _config, _model)
for _kind, _configs in (("waveform", ["WaveUNetConfig"]), ("spectrogram", ["DAEConfig", "DVAEConfig"])):
    _when_imported(
        "models.auto.feature_extraction_auto",
        f"feature_extraction_{_kind}",
        _register_feature_extractor,
        _configs,
        f"{_kind.title()}FeatureExtractor",
    )
_when_imported("pipelines", "pipeline_audio_to_audio", _register_pipeline)
