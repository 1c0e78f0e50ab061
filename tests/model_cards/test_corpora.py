"""The scripts that build the corpora, on small packages that the tests make."""

import csv
import json
import sys

import numpy as np
import pytest
import soundfile
import soxr

from .test_scripts import script


PRETENDED = {  # file of a package: (dataset, split, speaker or kind, language)
    "asterisk-core-sounds-it-g722": {"sounds/it/hello.g722": ("speech", "test", "asterisk-it", "it")},
    "bucklespring-data": {"wav/1e-0.wav": ("noise", "train", "keyboard", None)},
    "flare-game": {
        "soundfx/environment/rain.ogg": ("noise", "validation", "nature", None),
        "soundfx/npcs/male_merchant_01.ogg": None,
    },
    "gcin-voice": {
        "ogg/ㄅㄚ/3.ogg": ("speech", "validation", "gcin-3", "zh"),
        "ogg/ㄅㄛ/3.ogg": ("speech", "validation", "gcin-3", "zh"),
    },
    "hedgewars-data": {
        "Sounds/voices/Default_pl/Ow1.ogg": ("speech", "test", "hedgewars-Default_pl", "pl"),
        "Sounds/voices/Pirate/Ow1.ogg": ("speech", "test", "hedgewars-Pirate", "en"),
        "Sounds/voices/Robot/Ow1.ogg": None,
        "Sounds/gun.ogg": ("noise", "test", "effects", None),
        "Music/city.ogg": ("noise", "test", "music", None),
    },
    "klettres-data": {
        "share/klettres/fr/alpha/a.ogg": ("speech", "train", "kde-fr", "fr"),
        "share/klettres/de/alpha/a.ogg": ("speech", "validation", "kde-de", "de"),
    },
    "ktuberling-data": {
        "ktuberling/sounds/fr/nose.ogg": None,
        "ktuberling/sounds/sl/nose.ogg": ("speech", "test", "kde-sl", "sl"),
    },
    "megaglest-data": {
        "units/archer/sounds/archer_ack1.wav": ("speech", "train", "megaglest-archer", "und"),
        "units/pig/sounds/pig_select1.wav": ("noise", "train", "nature", None),
        "tilesets/forest/sounds/wolf.wav": ("noise", "test", "nature", None),
        "factions/norsemen/music/manolo_camp-medieval.ogg": ("noise", "test", "music", None),
    },
    "tuxpaint-stamps-default": {
        "stamps/animals/cat_desc_ro.ogg": ("speech", "train", "tuxpaint-ro", "ro"),
        "stamps/animals/cat.ogg": None,
    },
}


def band_limited(top: int, seconds: float = 1.0, rate: int = 48000, seed: int = 0) -> np.ndarray:
    """Returns white noise (T,) up to `top` Hz."""
    noise = np.random.default_rng(seed).standard_normal(int(seconds * rate))
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(len(noise), 1 / rate) > top] = 0
    return (0.1 * np.fft.irfft(spectrum, len(noise))).astype(np.float32)


def spoken(samples: np.ndarray, rate: int = 48000) -> np.ndarray:
    """Fades samples in and out four times a second, so that they have quiet frames, as speech has."""
    return samples * np.sin(4 * np.pi * np.arange(len(samples)) / rate).astype(np.float32) ** 4


@pytest.mark.parametrize("top", [4000, 8000, 11025, 16000, 20000])
def test_bandwidth(top):
    bandwidth = script("bandwidth.py").bandwidth
    noise, hiss = band_limited(top, 3), 1e-4 * band_limited(24000, 3, seed=1)
    assert bandwidth(noise, 48000, False) == pytest.approx(top, abs=500)
    rounded = np.round(noise * 0.03 * 32768) / 32768  # 50 dB below full scale, in 16 bits
    assert bandwidth(rounded, 48000, False) == pytest.approx(top, abs=500)
    # The noise of the recording does not count in speech.
    assert bandwidth(spoken(noise) + hiss, 48000, True) == pytest.approx(top, abs=500)


def test_a_file_of_a_high_rate_may_have_a_low_bandwidth():
    bandwidth = script("bandwidth.py").bandwidth
    low = soxr.resample(band_limited(24000), 48000, 16000)
    assert bandwidth(soxr.resample(low, 16000, 48000), 48000, False) == pytest.approx(8000, abs=500)
    whistle = 0.1 * np.sin(2 * np.pi * 15700 / 48000 * np.arange(48000)).astype(np.float32)
    assert bandwidth(band_limited(8000) + whistle, 48000, False) == pytest.approx(8000, abs=500)
    assert bandwidth(np.zeros(100, np.float32), 48000, False) == 0


def packages(folder, licences) -> dict:
    """Writes the small packages. Returns what is expected of each of their files, by the end of the path."""
    expected = {}
    for name in licences:
        (folder / name).mkdir(parents=True)
        for file, what in PRETENDED.get(name, {}).items():
            path, seed = folder / name / "usr" / file, len(expected)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".g722":
                path.write_bytes(np.random.default_rng(seed).bytes(8000))
            else:
                soundfile.write(path, spoken(band_limited(11000 if "pl" in file else 18000, seed=seed)), 48000)
            expected[file] = what
    return expected


def rows(folder) -> list[tuple]:
    found = []
    for dataset in ("speech", "noise"):
        for split in ("train", "validation", "test"):
            with open(folder / dataset / split / "metadata.csv", encoding="utf-8", newline="") as file:
                found += [(dataset, split, row) for row in csv.DictReader(file)]
    return found


def test_the_48_khz_corpus(tmp_path, monkeypatch, capsys):
    corpus = script("waveunet-speech-48khz/corpus.py")
    expected = packages(tmp_path / "packages", corpus.LICENCES)
    del expected["sounds/it/hello.g722"]  # random bytes are no speech: left out as noisy
    folder = tmp_path / "corpus"
    arguments = ["corpus.py", str(folder), "--packages", str(tmp_path / "packages"), "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert corpus.main(corpus.CORPUS, "Builds.", corpus.print_markdown) == 0
    table = capsys.readouterr().out
    found = rows(folder)
    labels = [
        (dataset, split, row.get("speaker", row.get("kind")), row.get("language")) for dataset, split, row in found
    ]
    assert sorted(labels, key=str) == sorted(filter(None, expected.values()), key=str)
    for dataset, split, row in found:
        samples, rate = soundfile.read(folder / dataset / split / row["file_name"], always_2d=True)
        assert rate == 48000 and samples.shape[1] == 1
        assert row["licence"] == corpus.LICENCES[row["package"]]
        limit = 11000 if row.get("language") == "pl" else 18000
        assert int(row["bandwidth"]) == pytest.approx(limit, abs=700)
    assert len({row["file_name"] for *_, row in found}) == len(found)
    summary = json.loads((folder / "corpus.json").read_text())
    assert summary["speech"]["left_out"] == {"asterisk-core-sounds-it-g722: noisy": 1}
    # A finished corpus is not built again. Its table is.
    assert corpus.main(corpus.CORPUS, "Builds.", corpus.print_markdown) == 0
    assert capsys.readouterr().out == f"{folder} is complete: nothing to do\n{table}"
    assert "| speech | gcin-voice | GPL-3, CC-BY-3.0 | – | 0.0 (0.0) | – |" in table


def test_what_the_16_khz_corpus_holds_out_does_not_train_at_48_khz(tmp_path):
    corpus = script("waveunet-speech-48khz/corpus.py")
    packages(tmp_path, corpus.LICENCES)
    held_out = set().union(*corpus.finding.HELD_OUT_VOICES.values())
    for voice in held_out - {"asterisk-it"}:
        language = voice.removeprefix("kde-")
        for file in (
            f"klettres-data/share/klettres/{language}/b.ogg",
            f"ktuberling-data/ktuberling/sounds/{language}/b.ogg",
        ):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
    found = corpus.find_speech(tmp_path)
    splits = {speaker: {x.split for x in found if x.labels[0][1] == speaker} for speaker in held_out}
    assert all(len(each) == 1 and "train" not in each for each in splits.values())


def test_the_16_khz_corpus_is_what_it_was(tmp_path):
    """Its file names, from which the published splits follow."""
    corpus = script("waveunet-speech-16khz/corpus.py")
    path = tmp_path / "klettres-data" / "usr/share/klettres/fr/alpha/a_b.ogg"
    path.parent.mkdir(parents=True)
    path.touch()
    (recording,) = corpus.find_speech(tmp_path)
    assert (recording.split, recording.stem) == ("train", "kde-fr-fr-alpha-a-b-ogg")
    assert corpus.CORPUS.rate == 16000 and not corpus.CORPUS.columns
