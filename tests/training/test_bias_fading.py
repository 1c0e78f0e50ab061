import json
import shutil

import pytest
import torch
from transformers import TrainerState

from dse_hf import WaveUNetModel, load_model
from dse_hf.training.bias_fading import BiasFading
from dse_hf.training.run import main
from tests.models.test_waveunet import tiny_model
from tests.models.test_waveunet_arrangements import random_model

from .test_training import corpus, recipe  # noqa: F401  (a fixture)


def begin_step(fading: BiasFading, step: int) -> None:
    state = TrainerState()
    state.global_step = step
    fading.on_step_begin(None, state, None)


def test_biases_fall_evenly_and_are_gone_after_the_last_step():
    model = random_model(output_activation="linear")
    start = model.network.bottleneck[0].bias.clone()
    fading = BiasFading(model, 4)
    for step, factor in enumerate((0.75, 0.5, 0.25, 0.0)):
        begin_step(fading, step)
        torch.testing.assert_close(model.network.bottleneck[0].bias, factor * start)
    assert model.config.bias and not any(p.requires_grad for n, p in model.named_parameters() if n.endswith("bias"))
    mixture = torch.randn(1, 1, model.config.input_length_for(50))
    before = model(mixture).sources
    begin_step(fading, 4)
    assert not model.config.bias and not any(name.endswith("bias") for name in model.state_dict())
    torch.testing.assert_close(model(mixture).sources, before)


def run(corpus, output, **options):  # noqa: F811
    start = output.parent / "start"
    if not start.exists():
        random_model(output_activation="linear", padding="same").save_pretrained(start)
    options = {"model_config": None, "model": str(start), "bias_fading_steps": 3, "learning_rate": 1e-3} | options
    path = output.parent / f"{output.name}.json"
    path.write_text(json.dumps(recipe(corpus, output, **options)))
    return main([str(path)])


def test_a_run_makes_a_model_without_biases_and_goes_on_where_it_stopped(corpus, tmp_path):  # noqa: F811
    assert run(corpus, tmp_path / "whole") == 0
    whole = load_model(tmp_path / "whole", device="cpu")
    assert isinstance(whole, WaveUNetModel) and not whole.config.bias
    waveform = 0.1 * torch.randn(1, 500)
    quiet, loud = (whole.separate(gain * waveform, 16000)["foreground"] / gain for gain in (1e-3, 1.0))
    torch.testing.assert_close(quiet, loud, rtol=1e-3, atol=1e-6)
    # From a checkpoint with biases, and from one without.
    for step in (2, 4):
        shutil.copytree(tmp_path / "whole" / f"checkpoint-{step}", tmp_path / f"run-{step}" / f"checkpoint-{step}")
        assert run(corpus, tmp_path / f"run-{step}") == 0
        resumed = load_model(tmp_path / f"run-{step}", device="cpu")
        for (name, weight), (_, expected) in zip(
            resumed.state_dict().items(), whole.state_dict().items(), strict=True
        ):
            torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-6, msg=name)


def test_a_model_with_tanh_is_refused():
    with pytest.raises(
        ValueError, match="bias_fading_steps=3: works for a Wave-U-Net with output_activation 'linear'"
    ):
        BiasFading(tiny_model(), 3)
