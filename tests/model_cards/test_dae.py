"""The embedded autoencoders, on the example of the default model's card."""

from pathlib import Path

import pytest
import soundfile
import soxr
import torch

from dse_hf import load_model
from dse_hf.cli import main
from dse_hf.evaluation.metrics import si_sdr


NAMES = ["dae-speech-8khz", "dvae-speech-8khz"]
EXAMPLE = Path(__file__).parents[2] / "model_cards" / "waveunet-speech-16khz" / "example"
RATE = 8000


@pytest.fixture(scope="module")
def example():
    """Noisy and clean speech (1, T) at 8 kHz, 1.5 seconds of them."""
    signals = (soundfile.read(EXAMPLE / f"{name}.wav", dtype="float32") for name in ("noisy", "clean"))
    narrow = (soxr.resample(samples, rate, RATE) for samples, rate in signals)
    return tuple(torch.from_numpy(samples)[None, : 3 * RATE // 2] for samples in narrow)


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_noise_out_of_speech(name, example):
    noisy, clean = example
    model = load_model(name, device="cpu")
    assert (model.config.sampling_rate, model.dtype) == (RATE, torch.float32)
    sources = model.separate(noisy, RATE)
    torch.testing.assert_close(sources["foreground"] + sources["background"], noisy, atol=1e-6, rtol=0)
    # Of a mixture with as much noise as speech: of nearly clean speech it makes worse speech, see the card.
    noise = noisy - clean
    mixture = clean + noise * clean.norm() / noise.norm()
    improvement = si_sdr(model.separate(mixture, RATE)["foreground"], clean) - si_sdr(mixture, clean)
    assert improvement.item() > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_command_separates_with_it(name, example, tmp_path):
    soundfile.write(tmp_path / "noisy.wav", example[0][0].numpy(), RATE, subtype="FLOAT")
    assert main(["separate", str(tmp_path / "noisy.wav"), "--model", name]) == 0
    by_command, rate = soundfile.read(tmp_path / "noisy.foreground.wav", dtype="float32")
    by_model = load_model(name, device="cpu").separate(example[0], RATE)["foreground"][0]
    assert rate == RATE
    torch.testing.assert_close(torch.from_numpy(by_command), by_model, atol=1e-4, rtol=0)
