import math
from pathlib import Path

import pytest
import soundfile
import torch

from dse_hf.evaluation import metrics
from dse_hf.training.losses import LOSSES, MixtureSNRLoss, MultiResolutionSTFTLoss, SISDRLoss, STOILoss, WeightedLoss
from dse_hf.training.losses.pesq import PESQLoss


EXAMPLES = Path(__file__).parents[2] / "dse_hf" / "app" / "examples"


@pytest.fixture
def sources():
    torch.manual_seed(0)
    return torch.randn(3, 2, 1, 8000) * 0.1, torch.randn(3, 2, 1, 8000) * 0.1


def of(loss, estimates, labels):
    return loss(estimates, labels, labels.sum(dim=1))


@pytest.mark.parametrize("name", LOSSES)
def test_the_true_sources_have_the_smallest_loss(name, sources):
    estimates, labels = sources
    loss = LOSSES[name]()
    assert of(loss, labels, labels) < of(loss, 0.9 * labels + 0.1 * estimates, labels) < of(loss, estimates, labels)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("estimate", [0.0, 0.1])
def test_silence_has_finite_loss_and_gradient(name, estimate):
    noise = torch.randn(1, 1, 1, 8000)
    for labels in (torch.zeros(1, 2, 1, 8000), torch.cat([torch.zeros_like(noise), noise], 1)):
        estimates = torch.full((1, 2, 1, 8000), estimate, requires_grad=True)
        loss = of(LOSSES[name](), estimates, labels)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(estimates.grad).all()


@pytest.mark.parametrize("name", ["mixture_snr", "band_snr", "multi_resolution_stft", "si_sdr"])
def test_the_level_does_not_matter(name, sources):
    estimates, labels = sources
    loss = LOSSES[name]()
    quieter = of(loss, estimates / 8, labels / 8)
    torch.testing.assert_close(quieter, of(loss, estimates, labels), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["mse", "l1", "si_sdr", "mixture_snr", "band_snr", "multi_resolution_stft"])
def test_a_batch_costs_the_mean_of_its_parts(name, sources):
    # Else accumulated gradients would not be those of one large batch.
    estimates, labels = sources
    loss = LOSSES[name]()
    parts = [of(loss, estimates[i : i + 1], labels[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(of(loss, estimates, labels), torch.stack(parts).mean())


@pytest.mark.parametrize("name", ["stoi", "estoi", "pesq"])
def test_signals_with_pauses_count_as_much_in_a_batch_as_alone(name, sources):
    # Their audible frames are of different number, and of one too few to count.
    estimates, labels = (part[:, :1] for part in sources)
    for signal, audible in enumerate((7000, 8000, 6000)):
        labels[signal, ..., 500 : 8000 - audible + 500] = 0
    labels = torch.cat([labels, torch.zeros_like(labels[:1])])
    estimates = torch.cat([labels[:3] + 0.3 * estimates, estimates[:1]]).requires_grad_()
    loss = LOSSES[name]()
    whole = of(loss, estimates, labels)
    parts = torch.stack([of(loss, estimates[i : i + 1], labels[i : i + 1]) for i in range(3)]).mean()
    torch.testing.assert_close(whole, parts)
    torch.testing.assert_close(*(torch.autograd.grad(value, estimates)[0] for value in (whole, parts)))


def test_mixture_snr_is_the_formula():
    labels = torch.stack([torch.ones(1, 1, 100), torch.ones(1, 1, 100)], dim=1)  # the mixture is 2 everywhere
    expected = 10 * torch.log10(torch.tensor(0.04 / 4 + 1e-3))
    torch.testing.assert_close(of(MixtureSNRLoss(), labels + 0.2, labels), expected)


def test_band_snr_hears_each_band():
    time = torch.arange(48000) / 48000
    tones = [torch.sin(2 * torch.pi * hertz * time) for hertz in (500, 1500, 3000, 5000, 7000, 10000, 14000, 20000)]
    labels = torch.stack([sum(tones), torch.zeros_like(time)])[None, :, None]  # (B, S, C, T): the second is silent
    loss = LOSSES["band_snr"](48000)
    perfect = of(loss, labels, labels)
    for tone in tones:
        estimates = labels.clone()
        estimates[:, 0] -= tone  # all of one band is missing: 0 dB there, the floor of -30 dB elsewhere
        torch.testing.assert_close(of(loss, estimates, labels) - perfect, torch.tensor(30 / 8 / 2), atol=0.02, rtol=0)


def test_band_snr_does_not_count_bands_without_sound():
    time = torch.arange(48000) / 48000
    labels = torch.stack([torch.sin(2 * torch.pi * 500 * time)] * 2)[None, :, None]
    faint = 1e-5 * torch.sin(2 * torch.pi * 10000 * time)
    loss = LOSSES["band_snr"](48000)
    assert abs(of(loss, labels + faint, labels) - of(loss, labels, labels)) < 0.1


def test_si_sdr_loss_is_minus_the_metric(sources):
    estimates, labels = sources
    for mixed in (0.1 * labels + estimates, 0.8 * labels + 0.1 * estimates):  # far from the soft ceiling
        expected = -metrics.si_sdr(mixed.flatten(0, 2), labels.flatten(0, 2)).mean()
        torch.testing.assert_close(of(SISDRLoss(), mixed, labels), expected, atol=0.01, rtol=0)


def test_si_sdr_loss_leaves_silent_sources_out(sources):
    estimates, labels = sources
    labels[0, 0] = 0
    heard = torch.ones(3, 2, dtype=torch.bool)
    heard[0, 0] = False
    expected = of(SISDRLoss(), estimates[heard][:, None], labels[heard][:, None])
    torch.testing.assert_close(of(SISDRLoss(), estimates, labels), expected)


def test_the_spectral_loss_hears_a_missing_band():
    time = torch.arange(4000) / 16000
    low, high = torch.sin(2 * torch.pi * 300 * time), torch.sin(2 * torch.pi * 5000 * time)
    labels, loss = (low + high)[None, None, None], MultiResolutionSTFTLoss()
    assert of(loss, labels * 0.9, labels) < of(loss, low[None, None, None], labels)


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
        loss = of(STOILoss(sampling_rate, extended), noisy[None, None, None], clean[None, None, None])
        expected = metrics.stoi(noisy, clean, sampling_rate, extended=extended)
        assert -loss == pytest.approx(float(expected), abs=0.02)


def test_stoi_loss_wants_its_bands():
    with pytest.raises(ValueError, match="sampling_rate=8000"):
        WeightedLoss(["stoi"], ["a", "b"], sampling_rate=8000)


def test_pesq_loss_follows_pesq():
    clean = torch.from_numpy(soundfile.read(EXAMPLES / "clean.flac", dtype="float32")[0])
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for snr in (0, 10, 20, 30):
        noisy = clean + noise * clean.norm() / noise.norm() * 10 ** (-snr / 20)
        for level in (1.0, 0.1):  # which PESQ does not hear
            loss = of(PESQLoss(), level * noisy[None, None, None], level * clean[None, None, None])
            score = metrics.pesq(noisy, clean, 16000)
            raw = (3.8224 - math.log(4 / (score - 0.999) - 1)) / 1.3669  # P.862.2, equation 1, inverted
            assert -loss == pytest.approx(raw, abs=0.4), snr


@pytest.mark.parametrize("estimate", [0.0, 1e-6, 1.0, 100.0])
def test_pesq_loss_has_gradients_for_any_estimate(estimate):
    speech = torch.from_numpy(soundfile.read(EXAMPLES / "clean.flac", frames=32000, dtype="float32")[0])
    estimates = (estimate * speech[None, None, None]).requires_grad_()
    of(PESQLoss(), estimates, speech[None, None, None]).backward()
    assert estimates.grad.isfinite().all()


def test_pesq_loss_leaves_out_silence_and_scraps():
    speech = torch.randn(1, 1, 1, 16000, generator=torch.Generator().manual_seed(0))
    assert of(PESQLoss(), speech, 0 * speech) == 0
    assert of(PESQLoss(), speech[..., :1000], speech[..., :1000]) == 0
    with pytest.raises(ValueError, match="sampling_rate=4000"):
        PESQLoss(4000)


def test_weights_and_names():
    labels, estimates = torch.zeros(1, 2, 1, 10), torch.full((1, 2, 1, 10), 2.0)
    assert of(WeightedLoss(["mse:0.5", "l1"], ["a", "b"]), estimates, labels) == pytest.approx(0.5 * 4 + 2)
    with pytest.raises(ValueError, match="loss 'huber': choose among mse, l1"):
        WeightedLoss(["huber"], ["a", "b"])
    with pytest.raises(ValueError, match="weight must be a number"):
        WeightedLoss(["l1:much"], ["a", "b"])
    with pytest.raises(ValueError, match="name at least one"):
        WeightedLoss([], ["a", "b"])


def test_a_term_may_be_of_some_sources_only():
    labels = torch.zeros(1, 3, 1, 10)
    estimates = torch.tensor([1.0, 2.0, 3.0])[None, :, None, None].expand(1, 3, 1, 10)
    names = ["vocals", "drums", "other"]
    assert of(WeightedLoss(["l1@drums"], names), estimates, labels) == pytest.approx(2)
    assert of(WeightedLoss(["l1:2@vocals,other", "l1"], names), estimates, labels) == pytest.approx(2 * 2 + 2)
    with pytest.raises(ValueError, match="no source 'bass', but vocals, drums, other"):
        WeightedLoss(["l1@bass"], names)


def test_spectral_terms_leave_the_rest_of_the_mixture_out(sources):
    estimates, labels = sources
    loss = WeightedLoss(["multi_resolution_stft"], ["speech", "noise"])
    other = torch.stack([estimates[:, 0], torch.randn_like(estimates[:, 1])], dim=1)
    torch.testing.assert_close(of(loss, estimates, labels), of(loss, other, labels))
