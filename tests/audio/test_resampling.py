import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from dse_hf.audio import Resampler, read_audio, resample
from tests.audio.sounds import tones


def stream(samples, input_rate, output_rate, block=1000, total=None):
    """Resamples in blocks."""
    resampler = Resampler(input_rate, output_rate, samples.shape[1])
    blocks = [resampler.push(samples[start : start + block]) for start in range(0, len(samples), block)]
    return np.concatenate([*blocks, resampler.flush(total)])


@settings(max_examples=50, deadline=None)
@given(
    length=st.integers(1, 5000),
    block=st.integers(1, 2000),
    rates=st.tuples(*[st.sampled_from([1000, 8000, 11025, 16000, 44100, 48000, 96000, 768000])] * 2),
)
def test_resampled_length_is_exact_there_and_back(length, block, rates):
    samples = np.ones((length, 2), np.float32)
    there = stream(samples, *rates, block)
    assert len(there) == -(-length * rates[1] // rates[0])
    assert len(stream(there, *rates[::-1], block, total=length)) == length


def test_equal_rates_change_nothing():
    samples = tones()
    np.testing.assert_array_equal(stream(samples, 48000, 48000), samples)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_resampled_blocks_equal_soxr_in_one_piece_and_keep_their_time(rate):
    samples = tones(rate, 1, 1) + np.random.default_rng(0).normal(0, 0.1, (rate, 1)).astype(np.float32)
    whole = soxr.resample(samples, rate, 16000, "VHQ")
    np.testing.assert_allclose(stream(samples, rate, 16000)[: len(whole)], whole, atol=1e-6)
    impulse = np.zeros((rate, 1), np.float32)
    impulse[rate // 3] = 1
    back = stream(stream(impulse, rate, 16000), 16000, rate, total=rate)
    assert np.argmax(np.abs(back)) == rate // 3


@pytest.mark.parametrize("length", [None, 5, 4000])
def test_a_whole_signal_is_resampled_to_the_length_asked_for(length):
    samples = resample(tones(44100, 0.1), 44100, 16000, length)
    assert samples.shape == (length or 1600, 2) and samples.dtype == np.float32
    common = min(len(samples), 1600)
    np.testing.assert_allclose(samples[:common], soxr.resample(tones(44100, 0.1), 44100, 16000)[:common], atol=1e-6)
    assert not samples[common:].any()


def test_a_whole_file_is_read_at_another_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(44100, 3), 44100, subtype="FLOAT")
    samples = read_audio(tmp_path / "a.wav", 16000)
    np.testing.assert_allclose(samples[1000:-1000], tones(16000, 3)[1000:-1000], atol=1e-4)
    assert samples.shape == (48000, 2) and samples.dtype == np.float32
    start = read_audio(tmp_path / "a.wav", 16000, max_seconds=1.5)
    np.testing.assert_array_equal(start, samples[:24000])
    mono = read_audio(tmp_path / "a.wav", 16000, max_seconds=9, mono=True)
    np.testing.assert_allclose(mono, samples.mean(axis=1, keepdims=True), atol=1e-6)
