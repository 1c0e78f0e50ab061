"""The script that makes the cleaned targets of the default model's last stage."""

import sys

import numpy as np
import pytest
import soundfile

from dse_hf.data import ClipCollection
from dse_hf.data.augmentation import rms

from ..data.clips import write_clips
from .test_scripts import script as card_script


@pytest.fixture(scope="module")
def script():
    return card_script("waveunet-speech-16khz/cleaned.py")


def test_what_is_quiet_goes_and_of_what_is_loud_little(script):
    rng = np.random.default_rng(0)
    voice = np.where(np.arange(64000) % 32000 < 16000, rng.normal(size=64000), 0).astype(np.float32)
    hiss = (0.01 * rng.normal(size=64000)).astype(np.float32)
    recording = voice + hiss
    np.testing.assert_allclose(script.without(recording, hiss), voice + 0.2 * hiss, atol=1e-6)
    # A denoiser that takes out a second of the voice as well.
    removed = hiss + np.where(np.arange(64000) < 16000, voice, 0)
    left = script.without(recording, removed)
    assert 20 * np.log10(rms((recording - left)[1000:15000]) / rms(voice[:16000])) == pytest.approx(-20, abs=0.5)
    np.testing.assert_allclose(left[20000:], (voice + 0.2 * hiss)[20000:], atol=1e-6)
    assert not script.without(np.zeros(100, np.float32), np.zeros(100, np.float32)).any()


def test_the_dataset_has_every_recording_and_its_cleaned_version(script, tmp_path, monkeypatch):
    """Recordings of a tone in hiss; the denoiser, which hears a speaker's clips one after another, knows the tone."""
    rng = np.random.default_rng(0)
    (tmp_path / "corpus.json").write_text("{}")
    rows = [(f"{number}.flac", "ab"[number % 2], 0.5 + number / 10) for number in range(5)]
    _, speakers, durations = zip(*rows)
    tones = {name: 0.3 * np.sin(0.3 * np.arange(round(16000 * seconds))) for name, _, seconds in rows}
    noisy = {name: tone + 0.002 * rng.normal(size=len(tone)) for name, tone in tones.items()}
    write_clips(tmp_path / "speech" / "train", noisy, speaker=speakers, duration=durations)
    heard = []

    class Denoiser:
        def separate(self, mixture, sampling_rate, sources):
            heard.append(mixture.shape[1] - sampling_rate)  # a second goes before
            names = [name for name, speaker, _ in rows if speaker == "ab"[len(heard) - 1]]
            before = np.zeros(sampling_rate)
            return {"foreground": np.concatenate([before, *(tones[name] for name in names)])[None].astype(np.float32)}

    class Processes:
        def __init__(self, jobs): ...
        def __enter__(self):
            return self

        def __exit__(self, *error): ...

        map = staticmethod(map)

    monkeypatch.setattr(script, "ProcessPoolExecutor", Processes)
    monkeypatch.setattr(script, "load_system", lambda name: Denoiser())
    monkeypatch.setattr(sys, "argv", ["cleaned.py", str(tmp_path)])
    assert script.main() == 0
    assert heard == [33600, 22400]  # a: 0.5, 0.7 and 0.9 s; b: 0.6 and 0.8 s
    clips = ClipCollection(str(tmp_path / "cleaned_speech"), "train", 16000, cleaned_column="cleaned")
    assert clips.speakers == {"a", "b"} and len(clips) == 5
    for index, (name, _, _) in enumerate(rows):
        recording, cleaned = clips[index][:, 0]
        np.testing.assert_array_equal(recording, soundfile.read(tmp_path / "speech" / "train" / name)[0])
        assert rms(cleaned - tones[name]) == pytest.approx(0.2 * rms(recording - tones[name]), rel=0.1)
    # Where it was stopped, it goes on.
    (tmp_path / "cleaned_speech" / "train" / "cleaned" / "1.flac").unlink()
    heard[:] = [0]
    assert script.main() == 0 and heard == [0, 22400]
