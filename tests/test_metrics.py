import numpy as np
import pytest
import torch

from dse_hf import metrics


@pytest.fixture
def signals():
    torch.manual_seed(0)
    reference = torch.randn(2, 16000)
    return reference + 0.1 * torch.randn(2, 16000), reference


def test_si_sdr_is_the_definition(signals):
    estimate, reference = signals
    scaled = (estimate * reference).sum(-1, keepdim=True) / reference.square().sum(-1, keepdim=True) * reference
    expected = 10 * torch.log10(scaled.square().sum(-1) / (estimate - scaled).square().sum(-1))
    torch.testing.assert_close(metrics.si_sdr(estimate, reference), expected, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(metrics.si_sdr(3 * estimate, reference), expected, rtol=1e-4, atol=1e-3)


def test_sdr_allows_for_a_filter(signals):
    _, reference = signals
    delayed = torch.nn.functional.pad(reference, (5, 0))[:, :-5]
    assert metrics.sdr(delayed, reference).min() > 30 > metrics.si_sdr(delayed, reference).max()


def test_pesq_and_stoi_fall_with_noise():
    rng = np.random.default_rng(0)
    time = np.arange(3 * 16000) / 16000
    # Bursts of a harmonic tone: enough of an utterance for both measures.
    speech = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 2 * time) > 0)
    clean = torch.from_numpy(speech * 0.1).float()
    noisy, noisier = (clean + torch.from_numpy(rng.normal(size=len(time)) * level).float() for level in (0.01, 0.1))
    for score in (
        lambda x: metrics.pesq(x, clean, 16000),
        lambda x: metrics.stoi(x, clean, 16000),
        lambda x: metrics.stoi(x, clean, 16000, extended=True),
    ):
        assert score(clean) > score(noisy) > score(noisier)


def test_pesq_knows_two_rates_only(signals):
    with pytest.raises(ValueError, match="sampling_rate=44100: PESQ is defined at 8000 and 16000"):
        metrics.pesq(*signals, 44100)
