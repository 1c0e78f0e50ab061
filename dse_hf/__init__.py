"""Audio denoising and source separation for the Hugging Face Hub: Wave-U-Net and denoising autoencoders.

Importing this package is light: neither torch nor transformers is loaded. The models join transformers' Auto classes
and pipelines as soon as these are imported, before or after dse_hf. The public names are listed in `__init__.pyi`.
"""

import importlib
import os

import lazy_loader
import wrapt

from . import registry


# ONNX Runtime (exports, DNSMOS; torchmetrics imports it) reports to its maker unless told not to before its import,
# and its thread aborts or hangs processes that are forked later. Whoever wants the reports sets this to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


# ── Registration with transformers, as soon as that is imported (at once if it was before) ──


def _register_models(module) -> None:
    registry.register_with_transformers()


# A file of models/ may be what imports transformers. Then its classes are there only at its own end.
for _name in ("transformers", *registry.modules()):
    wrapt.register_post_import_hook(_register_models, _name)


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
