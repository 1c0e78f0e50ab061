import pytest
import torch

from dse_hf import metrics
from dse_hf.training.losses import LOSSES, MixtureSNRLoss, MultiResolutionSTFTLoss, STOILoss, WeightedLoss


@pytest.fixture
def sources():
    torch.manual_seed(0)
    return torch.randn(3, 2, 1, 8000) * 0.1, torch.randn(3, 2, 1, 8000) * 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_the_true_sources_have_the_smallest_loss(name, sources):
    estimates, labels = sources
    loss = LOSSES[name]()
    assert loss(labels, labels) < loss(0.9 * labels + 0.1 * estimates, labels) < loss(estimates, labels)


@pytest.mark.parametrize("name", LOSSES)
def test_silence_has_finite_loss_and_gradient(name):
    for labels in (torch.zeros(1, 2, 1, 4000), torch.cat([torch.zeros(1, 1, 1, 4000), torch.randn(1, 1, 1, 4000)], 1)):
        estimates = torch.zeros(1, 2, 1, 4000, requires_grad=True)
        loss = LOSSES[name]()(estimates, labels)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(estimates.grad).all()


@pytest.mark.parametrize("name", ["mixture_snr", "multi_resolution_stft"])
def test_the_level_does_not_matter(name, sources):
    estimates, labels = sources
    loss = LOSSES[name]()
    torch.testing.assert_close(loss(estimates / 8, labels / 8), loss(estimates, labels), rtol=1e-3, atol=1e-3)


def test_mixture_snr_is_the_formula():
    labels = torch.stack([torch.ones(1, 1, 100), torch.ones(1, 1, 100)], dim=1)  # the mixture is 2 everywhere
    estimates = labels + 0.2
    expected = 10 * torch.log10(torch.tensor(0.04 / 4 + 1e-3))
    torch.testing.assert_close(MixtureSNRLoss()(estimates, labels), expected)


def test_the_spectral_loss_hears_a_missing_band():
    time = torch.arange(4000) / 16000
    low, high = torch.sin(2 * torch.pi * 300 * time), torch.sin(2 * torch.pi * 5000 * time)
    labels = torch.stack([low + high, 0 * low])[None, :, None]
    loss = MultiResolutionSTFTLoss()
    quieter, without = labels * 0.9, torch.stack([low, high])[None, :, None]
    assert loss(quieter, labels) < loss(without, labels)


def test_weights_and_names():
    labels, estimates = torch.zeros(1, 2, 1, 10), torch.full((1, 2, 1, 10), 2.0)
    loss = WeightedLoss(["mse:0.5", "l1"])
    assert loss(estimates, labels) == pytest.approx(0.5 * 4 + 2)
    with pytest.raises(ValueError, match="loss 'huber': choose among mse, l1"):
        WeightedLoss(["huber"])
    with pytest.raises(ValueError, match="weight must be a number"):
        WeightedLoss(["l1:much"])
    with pytest.raises(ValueError, match="name at least one"):
        WeightedLoss([])


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("sampling_rate", [10000, 16000])
def test_stoi_loss_follows_pystoi(extended, sampling_rate):
    rng = torch.Generator().manual_seed(0)
    time = torch.arange(3 * sampling_rate) / sampling_rate
    # Harmonics whose level comes and goes as syllables do, with a second of silence.
    tones = sum(torch.sin(2 * torch.pi * 130 * k * time + k) / k for k in range(1, 30))
    clean = 0.1 * tones * (1 + torch.sin(2 * torch.pi * 4 * time)) * (time < 2)
    for level in (0.03, 0.3):
        noisy = clean + level * torch.randn(clean.shape, generator=rng)
        labels = torch.stack([clean, noisy - clean])[None, :, None]
        estimates = torch.stack([noisy, 0 * noisy])[None, :, None]
        expected = metrics.stoi(noisy, clean, sampling_rate, extended=extended)
        assert -STOILoss(sampling_rate, extended)(estimates, labels) == pytest.approx(float(expected), abs=0.02)


def test_stoi_loss_wants_its_bands():
    with pytest.raises(ValueError, match="sampling_rate=8000"):
        WeightedLoss(["stoi"], sampling_rate=8000)
