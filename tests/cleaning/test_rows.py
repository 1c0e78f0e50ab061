"""One row: what goes in comes out in the same form, and equals what `separate_file` gives."""

import io
from itertools import chain

import numpy as np
import pytest
import soundfile

from dse_hf import WaveUNetConfig, WaveUNetModel
from dse_hf.audio import AudioReader
from dse_hf.cleaning.options import CleaningOptions
from dse_hf.cleaning.rows import RowCleaner
from dse_hf.cleaning.stable import stable
from dse_hf.separate import separate_file

from ..audio.sounds import tones, write_av
from .datasets import encoded


def small_model(**options):
    return WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, sampling_rate=16000, **options)).eval()


@pytest.fixture(scope="module")
def model():
    return small_model(padding="same", sources=["speech", "music", "effects"])


def samples_of(content: bytes) -> np.ndarray:
    with AudioReader(content) as reader:
        return np.concatenate(list(reader.blocks("float64")))


FORMATS = {
    "flac": (16000, 1, "FLAC", "PCM_16"),
    "wav": (44100, 2, "WAV", "PCM_24"),
    "wav of floats": (44100, 2, "WAV", "FLOAT"),
    "mp3": (24000, 1, "MP3", "MPEG_LAYER_III"),
    "opus": (48000, 1, "OGG", "OPUS"),
    "ogg": (22050, 1, "OGG", "VORBIS"),
    "aiff": (8000, 1, "AIFF", "PCM_16"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_equals_what_separate_file_gives(model, tmp_path, name):
    content, suffix = encoded(0.3, *FORMATS[name]), name.partition(" ")[0]
    (row,) = RowCleaner(model, CleaningOptions(background_column="noise"))([{"bytes": content, "path": "a/b.xyz"}])
    expected = separate_file(model, content, tmp_path, sources=["speech"], file_format=suffix)
    with open(expected.outputs["speech"], "rb") as file:
        speech = file.read()
    np.testing.assert_array_equal(samples_of(row.audio["bytes"]), samples_of(speech))
    assert row.audio["bytes"] == stable(speech)
    assert row.audio["path"] == "a/b.xyz" and row.kind == "" and row.error is None
    with AudioReader(content) as before, AudioReader(row.audio["bytes"]) as after:
        for attribute in ("sampling_rate", "channels", "subtype"):
            assert getattr(before, attribute) == getattr(after, attribute)
    original = samples_of(content)
    noise = samples_of(row.background["bytes"])
    assert original.shape == samples_of(speech).shape == noise.shape
    if name in ("flac", "wav", "aiff"):  # the three sources sum to the recording, so two and the rest do
        np.testing.assert_array_equal(noise, original - samples_of(speech))


def test_other_formats_become_flac(model, tmp_path):
    path = write_av(tmp_path / "a.m4a", tones(16000, 0.3, 1), 16000, "aac")
    (row,) = RowCleaner(model, CleaningOptions(), folder=str(tmp_path))([{"bytes": None, "path": "a.m4a"}])
    assert row.audio["bytes"][:4] == b"fLaC" and row.audio["path"] == "a.flac" and row.kind == "aac"
    assert samples_of(row.audio["bytes"]).shape == samples_of(path.read_bytes()).shape


def test_arrays_and_bytes_stay_what_they_are(model):
    samples = tones(16000, 0.1, 2)
    stereo = {"array": samples.T.tolist(), "sampling_rate": 16000, "path": None}
    mono, content = {"array": samples[:, 0].tolist(), "sampling_rate": 16000}, encoded(0.1)
    first, second, third = RowCleaner(model, CleaningOptions())([stereo, mono, content])
    assert np.shape(first.audio["array"]) == (2, 1600) and first.audio["path"] is None
    assert np.shape(second.audio["array"]) == (1600,) and second.audio["sampling_rate"] == 16000
    file = io.BytesIO()
    soundfile.write(file, samples[:, 0], 16000, format="WAV", subtype="DOUBLE")
    (whole,) = RowCleaner(model, CleaningOptions())([file.getvalue()])
    np.testing.assert_array_equal(second.audio["array"], samples_of(whole.audio)[:, 0])
    assert isinstance(third.audio, bytes) and third.audio[:4] == b"fLaC"


BAD = {
    "null": (None, "empty: is null"),
    "no bytes": ({"bytes": b"", "path": None}, "empty: empty, 0 bytes"),
    "no path": ({"bytes": None, "path": None}, "empty: has neither bytes nor a path"),
    "no file": ({"bytes": None, "path": "gone.wav"}, "unreadable: gone.wav: no such file or folder"),
    "text": ({"bytes": b"text", "path": None}, "unreadable: not an audio format"),
    "cut": ({"bytes": encoded(1.0)[:4000], "path": None}, "unreadable: breaks off"),
    "slow": ({"array": [0.1], "sampling_rate": 7}, "impossible sampling rate: sampling rate of 7 Hz"),
    "no samples": ({"array": [], "sampling_rate": 16000}, "empty: holds no samples"),
    "NaN": ({"array": [0.1, float("nan")], "sampling_rate": 16000}, "not finite: holds NaN or infinity at 0.000 s"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_row_that_cannot_be_cleaned_says_why(model, case):
    (row,) = RowCleaner(model, CleaningOptions())([BAD[case][0]])
    assert row.audio is None and row.error.startswith(BAD[case][1])


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_rows_together_give_what_they_give_alone(padding):
    model = small_model(padding=padding, average_polarity_flip=padding == "same")
    seconds = (0.2, 0.2, 0.21, 0.5, 0.01, 23.0)  # the last one has three tiles
    items = [{"bytes": encoded(length, 16000, 1 + (i == 3), "WAV", "FLOAT", i)} for i, length in enumerate(seconds)]
    items.insert(2, None)
    items.append({"bytes": encoded(0.2, level=1e-3, subtype="PCM_24")})  # which the network gets louder
    options = CleaningOptions(background_db=-20)
    alone, together = RowCleaner(model, options)(items), RowCleaner(model, options, together=True)(items)
    batches = RowCleaner(model, options, together=True).stream([items[:3], items[3:5], items[5:]])
    for rows in zip(alone, together, chain.from_iterable(batches), strict=True):
        assert len({(row.error, row.seconds) for row in rows}) == 1
        if rows[0].audio is not None:
            first, *others = (samples_of(row.audio["bytes"]) for row in rows)
            for other in others:
                np.testing.assert_allclose(other, first, rtol=0, atol=1e-5)


def test_scores(model):
    (row, slow) = RowCleaner(model, CleaningOptions(scores=True))(
        [{"bytes": encoded(1.2)}, {"bytes": encoded(0.1, sampling_rate=8000)}]
    )
    level = [np.mean(np.square(samples_of(content))) for content in (encoded(1.2), row.audio["bytes"])]
    assert row.level_change == pytest.approx(10 * np.log10(level[1] / level[0]), abs=1e-3)
    assert 1 <= row.before <= 5 and 1 <= row.after <= 5
    assert slow.level_change is not None and slow.before is None and slow.after is None  # DNSMOS is for 16 kHz
