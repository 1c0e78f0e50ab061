"""The scripts that measure at 48 kHz: their sounds, their clips, and their tables."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from dse_hf.evaluation.systems import System

from ..data.clips import write_clips
from ..fresh import TRANSFORMERS, run_script


CARD = Path(__file__).parents[2] / "model_cards" / "waveunet-speech-48khz"
RATE, LENGTH = 48000, 2 * 48000


@pytest.fixture(scope="module")
def modules():
    """The modules of the card, without a place among the others: another card has modules of the same names."""
    sys.path.insert(0, str(CARD))
    try:
        yield {name: importlib.import_module(name) for name in ("held_out", "conditions_sounds", "conditions")}
    finally:
        sys.path.remove(str(CARD))


@pytest.fixture(scope="module")
def sounds(modules):
    return modules["conditions_sounds"]


@pytest.fixture(scope="module")
def recordings(sounds):
    """A tone of many partials that comes and goes, white noise, and two other tones."""
    time, rng = np.arange(round(1.7 * LENGTH) + 1) / RATE, np.random.default_rng(0)

    def voice(pitch):
        partials = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 60))
        return 0.1 * partials * (np.sin(2 * np.pi * 2 * time) > 0)

    talkers = [voice(150)[:LENGTH], 3 * voice(170)[:LENGTH]]
    return sounds.Sounds(voice(200), 0.2 * rng.normal(size=LENGTH), talkers)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def power_between(samples, low, high):
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    powers = np.square(np.abs(np.fft.rfft(samples)))
    return powers[(low <= frequencies) & (frequencies < high)].sum() / powers.sum()


def snr(made, reference):
    return 10 * np.log10(np.square(reference).sum() / np.square(made.mixture - reference).sum())


def test_every_condition_is_finite_and_repeatable(sounds, recordings):
    for name, make in sounds.CONDITIONS.items():
        first, second = (make(recordings, np.random.default_rng(3)) for _ in range(2))
        assert first.mixture.shape == (LENGTH,) and np.isfinite(first.mixture).all(), name
        np.testing.assert_array_equal(first.mixture, second.mixture)
        assert len(first.references) == (0 if name == "noise alone" else 2 if "room" in name else 1), name
        assert all(reference.shape == (LENGTH,) for reference in first.references.values())


@pytest.mark.parametrize("rt60", [0.3, 0.6, 0.9])
def test_a_room_has_its_reverberation_time(sounds, rt60):
    response = sounds.room_response(rt60, np.random.default_rng(0))
    energy = np.cumsum(np.square(response[1:])[::-1])[::-1]
    decay = 10 * np.log10(energy / energy[0] + 1e-12)  # Schroeder's backward integration
    start, end = (np.argmax(decay < level) for level in (-5, -25))
    assert 3 * (end - start) / RATE == pytest.approx(rt60, rel=0.2)
    assert response[0] == 1 and np.square(response[1:]).sum() == pytest.approx(1)
    assert not response[1 : round(0.0024 * RATE)].any()


def test_the_references_of_a_room(sounds, recordings, rng):
    made = sounds.in_a_room(recordings, rng, 0.6)
    assert list(made.references) == ["reverberant", "first 50 ms"]
    reverberant, early = made.references.values()
    assert snr(made, reverberant) == pytest.approx(10, abs=0.01)
    assert np.square(early).sum() < np.square(reverberant).sum()
    assert np.corrcoef(early, recordings.speech[:LENGTH])[0, 1] > 0.4


def test_levels_and_ratios(sounds, recordings, rng):
    peak = 20 * np.log10(np.abs(sounds.CONDITIONS["peak at -45 dBFS"](recordings, rng).mixture).max())
    assert peak == pytest.approx(-45)
    loud = sounds.CONDITIONS["peak at 0 dBFS"](recordings, rng)
    assert np.abs(loud.mixture).max() == pytest.approx(1) and snr(loud, loud.references[""]) == pytest.approx(10)
    assert sounds.level_db(sounds.CONDITIONS["level of -60 dBFS"](recordings, rng).mixture) == pytest.approx(-60)
    for name, ratio in (
        ("undisturbed, 10 dB of noise", 10),
        ("noise at -5 dB", -5),
        ("two talkers behind at 0 dB", 0),
        ("white noise at 30 dB", 30),
        ("telephone, 300 to 3400 Hz", 10),
    ):
        made = sounds.CONDITIONS[name](recordings, rng)
        assert snr(made, made.references[""]) == pytest.approx(ratio, abs=0.01), name
        assert sounds.level_db(made.references[""]) == pytest.approx(-25)


def test_the_telephone_has_its_band(sounds, recordings, rng):
    noise = rng.normal(size=LENGTH)
    heard = sounds.band_passed(noise, 300, 3400)
    assert power_between(heard, 250, 3450) > 0.9999
    assert np.square(heard).mean() == pytest.approx(3100 / 24000, rel=0.1)
    assert power_between(sounds.on_the_telephone(recordings, rng).mixture, 250, 3450) > 0.999


def test_a_high_voice_is_higher(sounds):
    tone = np.sin(2 * np.pi * 1000 * np.arange(round(1.7 * RATE) + 1) / RATE)
    spectrum = np.abs(np.fft.rfft(sounds.higher(tone, RATE)))
    assert spectrum.argmax() == 1700 and len(spectrum) == RATE // 2 + 1


def test_whispering_has_the_envelope_and_no_pitch(sounds, recordings, rng):
    speech = recordings.speech[:LENGTH]
    whisper = sounds.whispered(speech, rng)
    silence = np.sin(2 * np.pi * 2 * np.arange(LENGTH) / RATE) < -0.5
    assert np.square(whisper[silence]).mean() < 1e-3 * np.square(whisper[~silence]).mean()
    lag = RATE // 200  # a period of the voice

    def periodic(samples):
        return np.corrcoef(samples[lag:], samples[:-lag])[0, 1]

    assert periodic(speech) > 0.9 and abs(periodic(whisper)) < 0.5
    assert power_between(whisper, 0, 4000) > 0.8 > power_between(rng.normal(size=LENGTH), 0, 4000)


def test_sung_vowels_have_a_pitch_and_a_high_band(sounds, rng):
    song = sounds.sung_vowels(LENGTH + 100, rng)
    assert song.shape == (LENGTH + 100,) and power_between(song, 0, 100) < 0.01
    assert 1e-9 < power_between(song, 8000, 16000) < 0.01 and power_between(song, 17000, 24000) < 1e-6
    part = song[10000:20000]
    lags = np.arange(RATE // 420, RATE // 100)
    assert max(np.corrcoef(part[lag:], part[:-lag])[0, 1] for lag in lags) > 0.8


# ── The corpus ──


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two full-band voices and a narrow one, and two kinds of noise."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    pulses = np.sin(2 * np.pi * 2 * np.arange(RATE) / RATE) > 0
    voices = {f"{name}.flac": rng.normal(size=RATE) * 0.1 * pulses for name in ("ada", "bob", "narrow")}
    write_clips(folder / "speech/test", voices, RATE, speaker=("ada", "bob", "narrow"), bandwidth=(20000, 16000, 8000))
    noises = {f"{name}.flac": rng.normal(size=RATE) * 0.1 for name in ("rain", "train")}
    write_clips(folder / "noise/test", noises, RATE, kind=("rain", "train"))
    return folder


def test_held_out_clips_are_of_full_band_speech(modules, corpus):
    clips = list(modules["held_out"].held_out_clips(str(corpus), 3))
    assert [clip.attributes["snr"] for clip in clips] == [0] * 3 + [5] * 3 + [10] * 3 + [15] * 3
    assert {clip.attributes["speaker"] for clip in clips} == {"ada", "bob"}
    assert {clip.attributes["kind"] for clip in clips} == {"rain", "train"}
    for clip in clips:
        assert clip.mixture.shape == (1, 288000) and clip.references.shape == (2, 1, 288000)
        ratio = 10 * np.log10(np.square(clip.references[0]).sum() / np.square(clip.references[1]).sum())
        assert ratio == pytest.approx(clip.attributes["snr"], abs=0.01)
        assert modules["held_out"].level_db(clip.mixture) == pytest.approx(-25, abs=0.01)
    later = list(modules["held_out"].held_out_clips(str(corpus), 1, first=2))
    np.testing.assert_array_equal(later[1].mixture, clips[5].mixture)


class Half(System):
    """Takes the mixture at half of its level."""

    def separate(self, mixture, sampling_rate, sources):
        return dict.fromkeys(sources, mixture / 2)


def test_measured_and_shown(modules, corpus, monkeypatch):
    conditions = modules["conditions"]
    monkeypatch.setattr(conditions, "SECONDS", 1.0)
    names = [conditions.BASE, "room of 0.3 s", conditions.CLEAN, conditions.NOISE]
    systems = {}
    for gain, system in (("half", Half("half", "1")), ("input", conditions.load_system("input"))):
        measured = {name: conditions.measure((system, name), str(corpus), "test", 2) for name in names}
        systems[gain] = {"version": "1", "conditions": measured}
    record = systems["half"]["conditions"][conditions.BASE][0][""]
    assert record["si_sdr"] == pytest.approx(10, abs=0.3)
    clean, half = (systems[name]["conditions"][conditions.CLEAN][0][""] for name in ("input", "half"))
    assert clean["si_sdr"] is None and clean["8 to 16 kHz"] == 0
    assert half["6 to 8 kHz"] == pytest.approx(-6.02, abs=0.01)
    assert systems["half"]["conditions"][conditions.NOISE][0] == {
        "taken out": dict.fromkeys(["all", *conditions.NOISE_BANDS], 6.02)
    }
    text = conditions.markdown_tables({"systems": systems})
    assert "| room of 0.3 s, first 50 ms | " in text and "| clean speech alone, 8 to 16 kHz | -6.0 | +0.0 |" in text
    assert "| worst clip | 6.0 | 0.0 |" in text
    card = "<!-- table: conditions.json -->\nold\n<!-- /table -->\n<!-- table: results.json -->\nkept\n<!-- /table -->"
    assert conditions.with_block(card, "conditions.json", text) == card.replace("old", text)


@pytest.mark.parametrize("name", ["evaluate.py", "conditions.py"])
def test_a_missing_corpus_is_one_line(name, tmp_path):
    result = run_script(CARD / name, str(tmp_path), imported=TRANSFORMERS)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "no corpus; make it with: python" in result.stderr
