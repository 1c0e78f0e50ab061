import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dse_hf.evaluation import metrics
from dse_hf.evaluation.metrics import available_metrics, score_signal


@pytest.fixture
def signals():
    torch.manual_seed(0)
    reference = torch.randn(2, 16000)
    return reference + 0.1 * torch.randn(2, 16000), reference


@pytest.fixture(scope="module")
def speech():
    """Bursts of a harmonic tone, (1, 48000) at 16 kHz: enough of an utterance for PESQ and STOI."""
    time = np.arange(3 * 16000) / 16000
    tone = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 2 * time) > 0)
    return (0.1 * tone)[None].astype(np.float32)


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


def test_pesq_and_stoi_fall_with_noise(speech):
    rng = np.random.default_rng(0)
    clean = torch.from_numpy(speech)
    noisy, noisier = (clean + torch.from_numpy(rng.normal(size=speech.shape) * level).float() for level in (0.01, 0.1))
    for score in (
        lambda x: metrics.pesq(x, clean, 16000),
        lambda x: metrics.stoi(x, clean, 16000),
        lambda x: metrics.stoi(x, clean, 16000, extended=True),
    ):
        assert score(clean).shape == (1,)
        assert score(clean) > score(noisy) > score(noisier)


def test_pesq_knows_two_rates_only(signals):
    with pytest.raises(ValueError, match="sampling_rate=44100: PESQ is defined at 8000 and 16000"):
        metrics.pesq(*signals, 44100)
    assert "pesq" in available_metrics(8000) and "pesq" not in available_metrics(11025)


def test_pesq_is_narrow_band_at_8_khz(speech):
    import pesq

    clean, noisy = speech[0, ::2], speech[0, ::2] + np.random.default_rng(0).normal(size=24000) * 0.02
    expected = pesq.pesq(8000, clean, noisy, "nb")
    assert float(metrics.pesq(torch.from_numpy(noisy), torch.from_numpy(clean), 8000)) == pytest.approx(expected)


def test_long_signals_are_scored_in_pieces(speech):
    import pesq

    rng = np.random.default_rng(0)
    part = speech[0, ::2]  # 3 s at 8 kHz
    parts = [np.tile(part, 6), np.zeros(18 * 8000), np.tile(part, 6)]  # in one piece it would not come back
    noisy = [x + rng.normal(size=len(x)) * level for x, level in zip(parts, (0.01, 0.01, 0.1))]
    expected = [pesq.pesq(8000, parts[n], noisy[n], "nb") for n in (0, 2)]
    score = metrics.pesq(*(torch.from_numpy(np.concatenate(x)) for x in (noisy, parts)), 8000)
    assert float(score) == pytest.approx(np.mean(expected), abs=1e-6)
    assert expected[0] > expected[1] + 0.2


def test_too_little_speech_is_nan_and_not_a_low_score():
    short = torch.from_numpy(np.random.default_rng(0).normal(size=3000) * 0.1)  # 0.19 s
    assert metrics.pesq(short, short, 16000).isnan()
    for extended in (False, True):
        assert metrics.stoi(short, short, 16000, extended).isnan()
        assert metrics.stoi(short[:10], short[:10], 16000, extended).isnan()


def test_shapes_that_differ_are_refused(signals):
    with pytest.raises(ValueError, match=r"\(2, 16000\) and \(2, 15999\)"):
        metrics.stoi(signals[0], signals[1][:, 1:], 16000)


# ── All scores of one source ──


def orthogonal(length=4000):
    """Two signals (1, T) of equal energy whose product sums to zero."""
    phase = 2 * np.pi * 50 * np.arange(length) / length
    return np.sin(phase)[None].astype(np.float32), np.cos(phase)[None].astype(np.float32)


@pytest.mark.parametrize(("gain", "si_sdr"), [(1.0, 0.0), (0.1, 20.0), (0.5, 20 * math.log10(2))])
def test_si_sdr_and_improvement_by_hand(gain, si_sdr):
    reference, noise = orthogonal()
    mixture = reference + 2 * noise  # -20 log10(2) dB
    for scale in (1, 0.01, -3):
        metrics = ["si_sdr", "si_sdr_improvement"]
        scores, _ = score_signal(scale * (reference + gain * noise), reference, mixture, 16000, metrics)
        assert scores["si_sdr"] == pytest.approx(si_sdr, abs=1e-3)
        assert scores["si_sdr_improvement"] == pytest.approx(si_sdr + 20 * math.log10(2), abs=1e-3)


def test_a_delay_costs_si_sdr_but_not_sdr():
    reference = np.random.default_rng(0).normal(size=(1, 8000)).astype(np.float32)
    scores, _ = score_signal(np.roll(reference, 5), reference, 2 * reference, 16000, ["si_sdr", "sdr"])
    assert scores["sdr"] > 25 and scores["si_sdr"] < -10


def test_channels_are_averaged():
    reference, noise = orthogonal()
    estimate = np.concatenate([reference + noise, reference + 0.1 * noise])
    both = np.concatenate([reference, reference])
    scores, _ = score_signal(estimate, both, 2 * estimate, 16000, ["si_sdr"])
    assert scores["si_sdr"] == pytest.approx(10, abs=1e-3)


def test_all_metrics_agree_with_the_single_ones(speech):
    noise = np.random.default_rng(0).normal(size=speech.shape).astype(np.float32) * 0.02
    estimate, names = speech + noise, ["si_sdr", "si_sdr_improvement", "sdr", "pesq", "stoi", "estoi"]
    scores, reasons = score_signal(estimate, speech, speech + 2 * noise, 16000, names)
    pair = torch.from_numpy(estimate), torch.from_numpy(speech)
    expected = {
        "si_sdr": metrics.si_sdr(*pair),
        "sdr": metrics.sdr(*pair),
        "pesq": metrics.pesq(*pair, 16000),
        "stoi": metrics.stoi(*pair, 16000),
        "estoi": metrics.stoi(*pair, 16000, extended=True),
    }
    assert reasons == {} and list(scores) == names
    for name, value in expected.items():
        assert scores[name] == pytest.approx(float(value), abs=1e-3), name
    assert scores["si_sdr_improvement"] == pytest.approx(6.02, abs=0.05)


RATIOS = ["si_sdr", "si_sdr_improvement", "sdr"]


@pytest.mark.parametrize(
    ("change", "affected", "reason"),
    [
        ({"reference": 0}, [*RATIOS, "pesq", "stoi", "estoi"], "silent reference"),
        ({"estimate": 0}, [*RATIOS, "pesq", "stoi", "estoi"], "silent estimate"),
        ({"estimate": np.nan}, [*RATIOS, "pesq", "stoi", "estoi"], "NaN or infinity in the estimate"),
        ({"mixture": 0}, ["si_sdr_improvement"], "silent mixture"),
    ],
)
def test_what_cannot_be_scored_has_a_reason(speech, change, affected, reason):
    noise = np.random.default_rng(0).normal(size=speech.shape).astype(np.float32) * 0.02
    arrays = {"estimate": speech + noise, "reference": speech, "mixture": speech + 2 * noise}
    arrays.update((name, arrays[name] * value) for name, value in change.items())
    names = [name for name in available_metrics(16000) if name != "dnsmos"]
    scores, reasons = score_signal(**arrays, sampling_rate=16000, metrics=names)
    assert reasons == dict.fromkeys(affected, reason)
    assert {name for name, score in scores.items() if score is None} == set(affected)
    assert all(math.isfinite(score) for score in scores.values() if score is not None)


def test_infinite_ratios_are_no_scores(speech):
    noisy = speech + np.random.default_rng(0).normal(size=speech.shape).astype(np.float32) * 0.02
    assert score_signal(speech, speech, noisy, 16000, RATIOS)[1] == dict.fromkeys(
        RATIOS, "estimate equal to the reference"
    )
    scores, reasons = score_signal(noisy, speech, speech, 16000, RATIOS)
    assert reasons == {"si_sdr_improvement": "mixture equal to the reference"}
    assert scores["si_sdr"] > 0


@pytest.mark.parametrize("length", [1, 100, 511])
def test_tiny_clips_have_no_scores(length):
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(3, 1, length)).astype(np.float32)
    names = available_metrics(16000)
    assert "dnsmos" in names
    scores, reasons = score_signal(*arrays, 16000, names)
    assert set(scores.values()) == {None} and set(reasons) == set(names)
    assert reasons["si_sdr"] == "shorter than 512 samples" and reasons["stoi"] == "too little speech"


def test_dnsmos_hears_noise_and_needs_no_reference(speech):
    noise = np.random.default_rng(0).normal(size=speech.shape).astype(np.float32) * 0.05
    scores = [
        score_signal(estimate, speech * 0, speech, 16000, ["dnsmos"])[0]["dnsmos"]
        for estimate in (speech, speech + noise)
    ]
    assert 1 <= scores[1] < scores[0] - 0.5 and scores[0] <= 5


def test_dnsmos_is_taken_where_speechmos_is_installed(monkeypatch):
    given = []

    def run(samples, rate):
        given.append((samples, rate))
        return {"ovrl_mos": 3.25, "sig_mos": 1.0}

    monkeypatch.setitem(sys.modules, "speechmos", SimpleNamespace(dnsmos=SimpleNamespace(run=run)))
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: name)
    assert "dnsmos" in available_metrics(16000) and "dnsmos" not in available_metrics(8000)
    loud = np.array([[0.5, -2.0] * 500], np.float32)  # speechmos refuses what would clip
    scores, _ = score_signal(loud, loud * 0, loud, 16000, ["dnsmos"])
    assert scores == {"dnsmos": 3.25}
    assert given[0][1] == 16000 and np.abs(given[0][0]).max() == 1
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: None if name == "librosa" else name)
    assert "dnsmos" not in available_metrics(16000)
