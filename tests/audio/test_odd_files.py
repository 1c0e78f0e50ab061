"""All that reads sound reads the odd files alike."""

import numpy as np
import pytest

from dse_hf import AudioToAudioPipeline, WaveformFeatureExtractor, separate_file
from dse_hf.app.sounds import check_sound, read_mono
from dse_hf.audio import AudioReader
from dse_hf.data import decode_clip
from dse_hf.data.decoding import BadClipError, EncodedClip
from tests.audio.odd_files import odd_files
from tests.audio.sounds import read
from tests.models.test_waveunet import tiny_model


@pytest.fixture(scope="module", params=odd_files())
def odd(request, tmp_path_factory):
    """The path of an odd file, and what it has to give."""
    path = tmp_path_factory.mktemp("odd") / request.param
    path.write_bytes(odd_files()[request.param].content)
    return path, odd_files()[request.param]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def pipeline(model):
    extractor = WaveformFeatureExtractor(sampling_rate=16000)
    return AudioToAudioPipeline(model=model, feature_extractor=extractor, task="audio-to-audio")


def test_reader(odd):
    path, file = odd
    if isinstance(file.wanted, str):
        with pytest.raises(ValueError, match=file.wanted) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
        return
    samples, reader = read(path)
    file.check(samples)
    assert reader.frames in (None, len(samples))
    np.testing.assert_array_equal(read(file.content)[0], samples)
    for start, stop in ((0, 100), (5000, 9000), (11000, None)):
        with AudioReader(path) as reader:
            np.testing.assert_array_equal(reader.read(start, stop), samples[start:stop])


def test_command_line(odd, model, tmp_path):
    path, file = odd
    if isinstance(file.wanted, str):
        with pytest.raises(ValueError, match=file.wanted):
            separate_file(model, path, tmp_path / "out")
        assert not list(tmp_path.rglob("*.wav"))
        return
    result = separate_file(model, path, tmp_path / "out")
    wanted, reader = read(path)
    assert {read(output)[1].channel_mask for output in result.outputs.values()} == {reader.channel_mask}
    total = sum(read(output, "float64")[0] for output in result.outputs.values())
    assert result.frames == len(wanted)
    np.testing.assert_allclose(total, wanted, atol=0 if reader.subtype == "PCM_16" else 1 / 2**15)


def test_pipeline(odd, pipeline):
    path, file = odd
    for given in (str(path), file.content, {"audio": {"bytes": file.content, "path": None}}):
        if isinstance(file.wanted, str):
            with pytest.raises(ValueError, match=file.wanted):
                pipeline.preprocess(given)
            continue
        samples, reader = read(path)
        recording = pipeline.preprocess(given)["recording"]
        np.testing.assert_array_equal(recording.samples, samples.T)
        assert recording.sampling_rate == reader.sampling_rate


def test_training(odd):
    path, file = odd
    for item in ({"bytes": file.content, "path": "a"}, {"bytes": None, "path": str(path)}):
        if isinstance(file.wanted, str):
            with pytest.raises(BadClipError, match=file.wanted):
                decode_clip(item, 16000)
            continue
        samples, reader = read(path)
        found = decode_clip(item, reader.sampling_rate, reader.channels)
        np.testing.assert_array_equal(found, samples.T)
        clip = EncodedClip(item)
        assert clip.frames == len(samples)
        for start, stop in ((11000, 11500), (0, 100), (5000, 9000)):
            np.testing.assert_array_equal(clip.read(start, stop), samples[start:stop])


def test_training_on_long_clips(odd, monkeypatch):
    path, file = odd
    monkeypatch.setattr("dse_hf.data.decoding.LONG_CLIP", 0.1)
    if not isinstance(file.wanted, str):
        clip, samples = EncodedClip(str(path)), read(path)[0]
        for start, stop in ((11000, 11500), (0, 100)):
            np.testing.assert_array_equal(clip.read(start, stop), samples[start:stop])


def test_space(odd):
    path, file = odd
    if isinstance(file.wanted, str):
        with pytest.raises(ValueError, match=file.wanted):
            read_mono(check_sound(str(path), 60), 16000)
        return
    samples, reader = read(path)
    found = read_mono(check_sound(str(path), 60), reader.sampling_rate)
    np.testing.assert_allclose(found, samples.mean(axis=1), atol=1e-6)
