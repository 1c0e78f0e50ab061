"""What every model must do, whatever its network."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from dse_hf import DAEConfig, DVAEConfig, WaveUNetConfig
from tests.models import test_dae, test_dvae, test_waveunet


waveunet, dae, dvae = test_waveunet.tiny_model, test_dae.tiny_model, test_dvae.tiny_model
BAD_FIELDS = {
    WaveUNetConfig: {
        "num_layers": (0, 10**6, "12"),
        "downsampling_kernel_size": (4,),
        "upsampling_kernel_size": (-1,),
        "channel_growth": (0,),
        "channels": (0,),
        "sampling_rate": (0,),
        "sources": (["one"], ["same", "same"], ["../../etc", "rest"]),
        "padding": ("reflect",),
        "output": ("mask",),
        "upsampling": ("nearest",),
        "output_activation": ("relu",),
    },
    DAEConfig: {
        "hidden_sizes": ([4, 0], [1.5], [10**6], [1] * 65),
        "latent_dim": (0, "180"),
        "input_dim": (-1,),
        "dropout": (1.0, -0.1, math.nan),
        "sampling_rate": (0,),
        "n_fft": (1, -256),
        "hop_length": (0, 100, 256, 1),
        "log_offset": (0.0, 1e-300, math.inf),
    },
    DVAEConfig: {
        "kl_weight": (-1.0, math.inf),
        "free_bits": (-0.5, math.nan, "much"),
        "latent_dim": (0,),
        "hop_length": (100,),
    },
}
SHOWN = {"[4, 0]": "[1]=0", "[1000000]": "[0]=1000000", str([1] * 65): "65 layers"}


def inputs_and_labels(model):
    if model.config.model_type == "waveunet":
        mixture = torch.randn(2, model.config.channels, model.config.input_length_for(20), dtype=model.dtype)
        return mixture, mixture[:, None].expand(-1, 2, -1, -1)
    frames = torch.randn(4, 9, dtype=model.dtype)
    return frames, frames


@pytest.mark.parametrize(
    ("make", "options", "tolerance"),
    [
        (waveunet, {"num_layers": 3}, {"rtol": 1e-4, "atol": 1e-7}),
        (dae, {"dropout": 0.5}, {}),
        (dvae, {"dropout": 0.5}, {}),
    ],
)
def test_gradient_checkpointing_gives_the_same_gradients(make, options, tolerance):
    model = make(**options).train()
    inputs, labels = inputs_and_labels(model)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert model.network.encoder[1].gradient_checkpointing
        model.zero_grad()
        torch.manual_seed(1)  # drops the same units, draws the same noise
        model(inputs, labels=labels).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    torch.testing.assert_close(*gradients, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("make", "options"),
    [(waveunet, {"upsampling": "learned", "channels": 2}), (dae, {"dropout": 0.1}), (dvae, {"kl_weight": 0.5})],
)
def test_round_trip_is_exact(make, options, dtype, tmp_path):
    model = make(**options).to(dtype).eval()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    loaded = type(model).from_pretrained(tmp_path, dtype="auto")
    assert loaded.dtype == dtype and loaded.config.to_diff_dict() == model.config.to_diff_dict()
    for (name, old), (_, new) in zip(model.state_dict().items(), loaded.state_dict().items()):
        assert torch.equal(old, new), name
    inputs, _ = inputs_and_labels(model)
    assert torch.equal(model(inputs)[0], loaded(inputs)[0])


@pytest.mark.parametrize(
    ("config_class", "field", "value"),
    [(kind, name, value) for kind in BAD_FIELDS for name, values in BAD_FIELDS[kind].items() for value in values],
)
def test_a_bad_field_is_named_with_its_value(config_class, field, value):
    with pytest.raises(StrictDataclassError, match=field) as error:
        config_class(**{field: value})
    assert SHOWN.get(str(value), str(value)) in str(error.value)
