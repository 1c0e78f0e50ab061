import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from dse_hf import AudioToAudioPipeline, WaveformFeatureExtractor
from dse_hf.models import audio_libsndfile
from tests.models.test_waveunet import tiny_model


@pytest.fixture(scope="module")
def separate():
    extractor = WaveformFeatureExtractor(sampling_rate=16000)
    return AudioToAudioPipeline(model=tiny_model(), feature_extractor=extractor, task="audio-to-audio")


def test_samples_in_the_place_of_channels_are_refused(separate):
    with pytest.raises(ValueError, match=r"^audio of shape \(16000, 2\): transpose it; give"):
        separate(np.zeros((16000, 2), np.float32))
    with pytest.raises(ValueError, match="transpose"):
        separate({"raw": torch.zeros(65, 64), "sampling_rate": 44100})


class Decoder:
    """Like an AudioDecoder of torchcodec."""

    def __init__(self, samples, sampling_rate):
        self.samples = SimpleNamespace(data=torch.from_numpy(samples), sample_rate=sampling_rate)

    def get_all_samples(self):
        return self.samples


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (1, 3000)).astype(np.float32)


def as_wav(samples, sampling_rate=16000):
    file = io.BytesIO()
    soundfile.write(file, samples.T, sampling_rate, format="WAV", subtype="FLOAT")
    return file  # whose position is at the end


def test_rows_files_and_decoders(separate, samples):
    wanted = separate(samples)[0]["audio"]
    file = as_wav(samples)
    item = {"bytes": file.getvalue(), "path": None}
    for given in (
        file,
        bytearray(file.getvalue()),
        Decoder(samples, 16000),
        {"audio": item, "path": "somewhere", "sampling_rate": 1},
        {"audio": Decoder(samples, 16000), "text": "hello"},
        {"audio": file, "text": "hello"},
        {"label": "foreground", "audio": samples, "sampling_rate": 16000},  # as the pipeline itself gives it
    ):
        np.testing.assert_array_equal(separate(given)[0]["audio"], wanted)
        np.testing.assert_array_equal(separate([given, given])[1][0]["audio"], wanted)


def test_datasets_and_their_columns(separate, samples):
    datasets = pytest.importorskip("datasets")
    rows = {"audio": [{"bytes": as_wav(samples).getvalue(), "path": None}] * 2}
    dataset = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))
    wanted = separate(samples)[0]["audio"]
    assert separate(dataset[0])[0]["audio"].shape == samples.shape
    for given in (dataset, dataset["audio"], list(dataset["audio"])):
        results = separate(given)
        assert isinstance(results, list) and len(results) == 2
        np.testing.assert_array_equal(results[1][0]["audio"], wanted)
    np.testing.assert_array_equal(next(iter(separate(dataset.to_iterable_dataset())))[0]["audio"], wanted)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"noisy": b"", "id": 1}, "^dict with noisy, id: holds no audio; give array and sampling_rate"),
        ({"bytes": b"", "path": None}, "^dict with bytes, path: holds no audio; give"),
        ({}, "holds no audio; give"),
        ({"audio": np.zeros(9)}, "^dict with audio: the sampling_rate is missing"),
        (io.StringIO("a"), "^file of type StringIO gives str; open it in binary mode"),
        (None, "^input of type NoneType: give a path, bytes, a binary file"),
    ],
)
def test_what_holds_no_audio_is_refused_with_what_is_wanted(separate, given, message):
    with pytest.raises(ValueError, match=message):
        separate(given)


def test_a_package_that_is_missing_is_named(separate, samples, monkeypatch):
    monkeypatch.setattr(audio_libsndfile, "soundfile", None)
    wanted = separate(samples)[0]["audio"]
    content = as_wav(samples).getvalue()
    np.testing.assert_array_equal(separate(content)[0]["audio"], wanted)  # PyAV reads it
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"^audio data: to read it, `pip install soundfile av`$"):
        separate(content)
    with pytest.raises(ImportError, match=r"^audio data: to read it, `pip install av`$"):
        separate(b"\0\0\0\x20ftypM4A " + bytes(20))
