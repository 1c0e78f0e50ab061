"""The table of model types, and its errors. docs/add-a-model.md adds a type; the test of the documents runs that."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModel

from dse_hf import DAEConfig, DAEModel, export_onnx
from dse_hf.models.modeling_separation import SeparationMixin
from dse_hf.registry import MODEL_TYPES, feature_extractor_for, model_type_of


@pytest.mark.parametrize("name", MODEL_TYPES)
def test_every_type_is_known_to_transformers_and_has_its_parts(name):
    entry = MODEL_TYPES[name]
    config = AutoConfig.for_model(name)
    assert type(config) is entry.config_class and AutoModel._model_mapping[type(config)] is entry.model_class
    extractor = feature_extractor_for(config)
    assert type(extractor) is entry.feature_extractor_class and extractor.sampling_rate == config.sampling_rate
    assert entry.title and entry.citation and (entry.card_line or "").format_map(vars(config)) is not None


def test_an_unknown_type_is_refused_with_the_known_ones():
    for ask in (model_type_of, lambda name: feature_extractor_for(SimpleNamespace(model_type=name))):
        with pytest.raises(ValueError, match="model_type='bert': choose among waveunet, dae, dvae"):
            ask("bert")


def test_a_type_without_a_graph_is_not_exported(tmp_path):
    with pytest.raises(ValueError, match="model of type dae: cannot be exported"):
        export_onnx(DAEModel(DAEConfig(hidden_sizes=[4], latent_dim=2)), tmp_path / "m.onnx")


def test_what_a_config_lacks_is_named():
    class Model(SeparationMixin, torch.nn.Module):
        config = SimpleNamespace(sampling_rate=16000, channels=1, sources=["a", "b"], alignment=1, context=0)

    with pytest.raises(ValueError, match="SimpleNamespace: lacks zero_extended, values_per_sample, input_length_for"):
        Model().separate(torch.zeros(1, 9), 16000)
