"""Scores above 8 kHz, and scores at 16 kHz of clips at higher rates."""

import numpy as np
import pytest
import torch

from dse_hf.audio import resample
from dse_hf.evaluation import high_band
from dse_hf.evaluation.metrics import METRICS, available_metrics, score_signal


RATE = 48000
HIGH = ["si_sdr_above_8khz", "log_spectral_distance"]


def tone(frequency, seconds=1.0, rate=RATE):
    return torch.sin(2 * np.pi * frequency * torch.arange(round(seconds * rate), dtype=torch.float64) / rate)


@pytest.fixture
def noise():
    """Two channels of white noise, (2, 48000)."""
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, RATE)) * 0.1)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_the_high_pass_is_steep_and_moves_nothing(rate):
    middle = slice(rate // 4, -rate // 4)
    for frequency in (100, 3000, 7990):
        assert high_band.high_band(tone(frequency, rate=rate), rate)[middle].abs().max() < 2e-4
    for frequency in (8400, 10000):
        signal = tone(frequency, rate=rate)
        torch.testing.assert_close(high_band.high_band(signal, rate)[middle], signal[middle], atol=2e-4, rtol=0)


def test_si_sdr_above_8_khz_hears_nothing_below(noise):
    low = tone(3000) * torch.hann_window(RATE).double()  # a sudden end would have a high band
    other = torch.from_numpy(np.random.default_rng(1).normal(size=(2, RATE)) * 0.01)
    score = high_band.si_sdr_above_8khz(noise + other + low, noise, RATE)
    torch.testing.assert_close(score, torch.full((2,), 20.0).double(), atol=0.3, rtol=0)
    torch.testing.assert_close(high_band.si_sdr_above_8khz(3 * (noise + other), noise, RATE), score, atol=1e-2, rtol=0)


def test_without_a_high_band_there_is_no_score(noise):
    narrow = torch.from_numpy(resample(resample(noise.numpy().T, RATE, 16000), 16000, RATE).T.copy())
    signals = {"estimate": noise.numpy(), "reference": narrow.numpy(), "mixture": 2 * noise.numpy()}
    scores, reasons = score_signal(**signals, sampling_rate=RATE, metrics=HIGH)
    assert scores == dict.fromkeys(HIGH) and reasons == dict.fromkeys(HIGH, "next to nothing above 8 kHz")
    signals["estimate"], signals["reference"] = signals["reference"], signals["estimate"]
    scores, reasons = score_signal(**signals, sampling_rate=RATE, metrics=HIGH)
    assert list(reasons) == ["si_sdr_above_8khz"] and scores["log_spectral_distance"] > 20


def test_the_spectral_distance_is_the_difference_of_levels(noise):
    for gain in (0.1, 10):
        distance = high_band.log_spectral_distance(gain * noise, noise, RATE)
        torch.testing.assert_close(distance, torch.full((2,), 20.0).double(), atol=1e-6, rtol=0)
    quieter_below = noise - 0.9 * (noise - high_band.high_band(noise, RATE))
    assert high_band.log_spectral_distance(quieter_below, noise, RATE).max() < 4  # only the edge of the band differs


def test_the_spectral_distance_is_that_of_the_frames_with_speech(noise):
    bursts = noise * (torch.arange(RATE) < RATE // 2)
    other = torch.from_numpy(np.random.default_rng(1).normal(size=(2, RATE)) * 0.1) * (torch.arange(RATE) > RATE * 0.6)
    assert high_band.log_spectral_distance(bursts + other, bursts, RATE).max() < 1e-6
    expected = high_band.band_level(noise, bursts, RATE, 8000, 16000)
    torch.testing.assert_close(high_band.band_level(bursts, bursts, RATE, 8000, 16000), expected, atol=0.3, rtol=0)
    quiet = high_band.band_level(0.1 * bursts, bursts, RATE, 8000, 16000)
    torch.testing.assert_close(quiet, expected - 20, atol=0.3, rtol=0)


def test_metrics_follow_the_rate():
    assert not set(HIGH) & set(available_metrics(16000)) and not set(HIGH) & set(available_metrics(8000))
    assert set(HIGH) & set(available_metrics(22050)) == {"si_sdr_above_8khz"}
    assert set(available_metrics(48000)) - set(available_metrics(16000)) == set(HIGH)
    assert METRICS["pesq"].heading(48000) == METRICS["pesq"].heading(16000) == "PESQ-WB"
    assert METRICS["pesq"].heading(8000) == "PESQ-NB" and METRICS["pesq"].heading() == "PESQ"


def test_scores_of_speech_are_those_of_the_resampled_signals():
    time = np.arange(3 * RATE) / RATE
    speech = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 2 * time) > 0)
    speech = 0.1 * speech[None]
    noise = np.random.default_rng(0).normal(size=speech.shape) * 0.02
    signals = [speech + noise, speech, speech + 2 * noise]
    at_16_khz = [resample(signal.T, RATE, 16000).T for signal in signals]
    names = ["pesq", "stoi", "estoi", "dnsmos"]
    expected, _ = score_signal(*at_16_khz, 16000, names)
    scores, reasons = score_signal(*signals, RATE, [*names, "si_sdr"])
    assert not reasons and scores["si_sdr"] is not None
    assert {name: scores[name] for name in names} == pytest.approx(expected, abs=1e-3)
