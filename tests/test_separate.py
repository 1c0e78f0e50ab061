import json
import math
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dse_hf.audio import AudioError
from dse_hf.separate import separate_file
from tests.audio.sounds import tones, write_av


class StubModel:
    """Splits its input by fixed gains, `latency` samples late, as a network with tiles does."""

    def __init__(self, gains=(1.0,), sources=("foreground", "background"), sampling_rate=16000, latency=1000):
        self.config = SimpleNamespace(sampling_rate=sampling_rate, sources=list(sources))
        self.gains, self.latency = gains, latency

    def separation_stream(self):
        return StubStream(self)


class StubStream:
    def __init__(self, model):
        self.model, self.buffer = model, None

    def push(self, block):
        assert block.dtype == torch.float32
        self.buffer = block if self.buffer is None else torch.cat([self.buffer, block], dim=-1)
        return self._give(max(0, self.buffer.shape[-1] - self.model.latency))

    def flush(self):
        return self._give(self.buffer.shape[-1])

    def _give(self, length):
        finished, self.buffer = self.buffer[..., :length], self.buffer[..., length:]
        sources = [gain * finished for gain in self.model.gains]
        return torch.stack([*sources, finished - sum(sources)], dim=1)


def write(path, samples, sampling_rate, subtype=None):
    """Writes samples of full scale ±1; integers to the bit."""
    if subtype in ("PCM_16", "PCM_24", "PCM_32", "PCM_U8"):
        bits = 8 if subtype == "PCM_U8" else int(subtype[-2:])
        samples = np.round(np.asarray(samples, np.float64) * 2 ** (bits - 1)).astype(np.int64) << (32 - bits)
        samples = samples.astype(np.int32)
    soundfile.write(path, samples, sampling_rate, subtype=subtype)
    return path


def noise(frames, channels=1, level=0.1, seed=0):
    return np.random.default_rng(seed).normal(0, level, (frames, channels)).clip(-0.9, 0.9).astype(np.float32)


def read_outputs(result, dtype="float64"):
    return {name: soundfile.read(path, dtype=dtype, always_2d=True)[0] for name, path in result.outputs.items()}


@pytest.mark.parametrize(
    "name, subtype",
    [
        *(("a.wav", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32")),
        *(("a.aiff", "PCM_16"), ("a.flac", "PCM_16"), ("a.flac", "PCM_24")),
    ],
)
@pytest.mark.parametrize("sampling_rate", [16000, 44100])
def test_sources_of_integers_sum_to_the_input_to_the_bit(tmp_path, name, subtype, sampling_rate):
    path = write(tmp_path / name, noise(30001, 2), sampling_rate, subtype)
    for file_format in ("wav", "flac"):
        if subtype == "PCM_32" and file_format == "flac":
            continue  # 24 bits at most
        result = separate_file(StubModel([0.7]), path, tmp_path / "out", file_format=file_format)
        outputs = read_outputs(result)
        np.testing.assert_array_equal(
            outputs["foreground"] + outputs["background"], soundfile.read(path, dtype="float64")[0]
        )
        info = soundfile.info(result.outputs["foreground"])
        assert info.subtype == ("PCM_16" if subtype == "PCM_U8" else subtype)
        assert (info.samplerate, info.channels, info.frames) == (sampling_rate, 2, 30001)


def test_sources_of_floats_sum_to_the_input(tmp_path):
    path = write(tmp_path / "a.wav", noise(30001, 2, level=3), 44100, "FLOAT")
    result = separate_file(StubModel([0.7]), path)
    outputs = read_outputs(result)
    np.testing.assert_allclose(sum(outputs.values()), soundfile.read(path)[0], atol=1e-6)
    assert soundfile.info(result.outputs["background"]).subtype == "FLOAT"


def test_encoded_audio_becomes_16_bit_wav(tmp_path):
    path = write_av(tmp_path / "a.m4a", tones(48000, 1), 48000, "aac")
    result = separate_file(StubModel(), path)
    assert result.outputs["foreground"] == str(tmp_path / "a.foreground.wav")
    info = soundfile.info(result.outputs["foreground"])
    assert (info.format, info.subtype, info.frames) == ("WAV", "PCM_16", result.frames)


@pytest.mark.parametrize("sampling_rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_resampling_there_and_back_keeps_the_band_and_the_time(tmp_path, sampling_rate):
    # In the band of both rates; faded in and out, as a cut would reach beyond it.
    time = np.arange(2 * sampling_rate)[:, None] / sampling_rate
    in_band = np.sin(np.pi * time / 2) ** 2 * sum(
        0.1 * np.sin(2 * np.pi * share * min(sampling_rate, 16000) / 2 * time + share)
        for share in (0.05, 0.3, 0.6, 0.8)
    )
    path = write(tmp_path / "a.wav", in_band, sampling_rate, "FLOAT")
    outputs = read_outputs(separate_file(StubModel(), path))
    assert np.std(outputs["foreground"] - in_band) < 1e-3 * np.std(in_band)  # -60 dB
    assert np.std(outputs["background"]) < 1e-3 * np.std(in_band)

    impulse = np.zeros((sampling_rate, 1), np.float32)
    impulse[sampling_rate // 3] = 0.9
    path = write(tmp_path / "b.wav", impulse, sampling_rate, "FLOAT")
    outputs = read_outputs(separate_file(StubModel(), path))
    assert np.argmax(outputs["foreground"]) == sampling_rate // 3


def test_what_lies_above_the_band_of_the_model_stays_in_the_last_source(tmp_path):
    high = tones(48000, 1, 1) * 0 + 0.3 * np.sin(2 * np.pi * 12000 * np.arange(48000) / 48000)[:, None]
    path = write(tmp_path / "a.wav", high, 48000, "FLOAT")
    outputs = read_outputs(separate_file(StubModel(), path))
    assert np.std(outputs["foreground"][1000:-1000]) < 1e-5
    np.testing.assert_allclose(outputs["background"][1000:-1000], high[1000:-1000], atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 2000),
    channels=st.integers(1, 8),
    rates=st.tuples(*[st.sampled_from([8000, 11025, 16000, 44100, 96000])] * 2),
    latency=st.integers(0, 3000),
    block_seconds=st.floats(0.001, 0.1),
    gains=st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
def test_any_length_rate_and_channels(tmp_path_factory, frames, channels, rates, latency, block_seconds, gains):
    folder = tmp_path_factory.mktemp("any")
    path = write(folder / "a.wav", noise(frames, channels, level=0.05) + 0.1, rates[0], "PCM_16")
    sources = ["a", "b", "c", "rest"][-len(gains) - 1 :]
    model = StubModel(gains, sources, rates[1], latency)
    result = separate_file(model, path, folder / "out", block_seconds=block_seconds)
    outputs = read_outputs(result)
    assert list(outputs) == sources
    assert (result.frames, result.channels, result.sampling_rate) == (frames, channels, rates[0])
    np.testing.assert_array_equal(sum(outputs.values()), soundfile.read(path, always_2d=True)[0])


def test_model_at_the_rate_of_the_file_gives_what_separate_gives(tmp_path):
    from tests.models.test_waveunet import tiny_model

    model = tiny_model()
    samples = noise(25000, 3)
    path = write(tmp_path / "a.wav", samples, model.config.sampling_rate, "FLOAT")
    outputs = read_outputs(separate_file(model, path), "float32")
    wanted = model.separate(torch.from_numpy(samples.T.copy()), model.config.sampling_rate)
    for name, output in outputs.items():
        np.testing.assert_allclose(output.T, wanted[name], atol=1e-6)


def test_result_tells_what_was_done(tmp_path):
    path = write(tmp_path / "a.wav", np.full((24000, 2), 0.5), 16000, "FLOAT")
    seen = []
    result = separate_file(StubModel([0.0]), path, tmp_path / "out", progress=lambda *seconds: seen.append(seconds))
    assert result.input == str(path)
    assert result.outputs == {name: str(tmp_path / "out" / f"a.{name}.wav") for name in ("foreground", "background")}
    assert (result.frames, result.seconds) == (24000, 1.5)
    assert result.levels == {"foreground": -np.inf, "background": pytest.approx(-6.02, abs=0.01)}
    assert result.elapsed > 0
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 1 and seen[-1] == (1.5, 1.5)
    assert json.dumps(asdict(result))


def test_chosen_sources_are_the_same_as_of_all(tmp_path):
    path = write(tmp_path / "a.wav", noise(20000), 22050, "PCM_16")
    whole = read_outputs(separate_file(StubModel([0.5]), path, tmp_path / "all"))
    for name in ("foreground", "background"):
        part = read_outputs(separate_file(StubModel([0.5]), path, tmp_path / name, sources=[name]))
        assert list(part) == [name]
        np.testing.assert_array_equal(part[name], whole[name])
    with pytest.raises(ValueError, match="source 'vocals': this model gives foreground, background"):
        separate_file(StubModel(), path, sources=["vocals"])


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    from dse_hf import separate

    longest = 0
    append = separate._BlockQueue.append

    def watch(queue, block):
        nonlocal longest
        append(queue, block)
        longest = max(longest, sum(map(len, queue._blocks)))

    monkeypatch.setattr(separate._BlockQueue, "append", watch)
    path = write(tmp_path / "a.wav", noise(480000), 48000, "PCM_16")
    separate_file(StubModel(latency=4000), path, block_seconds=0.1)
    assert longest < 3 * 4000 + 12000  # the latency, blocks, and what the resamplers hold back


# ── Failures ──


DAMAGED = np.where(np.arange(40000) == 30000, np.inf, noise(40000)[:, 0])


@pytest.mark.parametrize(
    ("model", "signal", "error", "message"),
    [
        (StubModel(), DAMAGED, AudioError, r"a\.wav: .*NaN or infinity at 1\.875 s"),
        (
            StubModel([math.nan]),
            noise(4000),
            ValueError,
            r"a\.wav: the model gave NaN or infinity; try --dtype float32",
        ),
    ],
)
def test_what_cannot_be_separated_is_refused_and_leaves_nothing(tmp_path, model, signal, error, message):
    path = write(tmp_path / "a.wav", signal, 16000, "FLOAT")
    with pytest.raises(error, match=message):
        separate_file(model, path)
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_cannot_be_made(tmp_path):
    path = write(tmp_path / "a.wav", noise(4000), 16000, "PCM_16")
    with pytest.raises(AudioError, match=r"a\.wav: a file stands where a folder is needed"):
        separate_file(StubModel(), path, path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_interruption_leaves_nothing(tmp_path, error):
    path = write(tmp_path / "a.wav", noise(40000), 16000, "PCM_16")

    def interrupt(done, total):
        raise error

    with pytest.raises(error):
        separate_file(StubModel(), path, progress=interrupt)
    assert list(tmp_path.iterdir()) == [path]


def test_existing_output_is_kept_whole_or_replaced(tmp_path):
    path = write(tmp_path / "a.wav", noise(4000), 16000, "PCM_16")
    mine = tmp_path / "a.background.wav"
    mine.write_text("mine")
    with pytest.raises(AudioError, match=r"a\.background\.wav: exists; pass --overwrite"):
        separate_file(StubModel(), path)
    assert mine.read_text() == "mine"
    assert set(tmp_path.iterdir()) == {path, mine}
    separate_file(StubModel(), path, overwrite=True)
    assert soundfile.info(mine).frames == 4000


def test_output_that_is_the_input_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", noise(4000), 16000, "PCM_16")
    before = path.read_bytes()
    (tmp_path / "a.foreground.wav").symlink_to(path)
    with pytest.raises(AudioError, match="is the input itself"):
        separate_file(StubModel(), path, overwrite=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("gain", [1.0, -1.0])
def test_a_float_file_too_loud_for_its_numbers_is_refused_whole(tmp_path, gain, capfd):
    loud = np.where(np.arange(4000) % 2, 3e38, -3e38)[:, None]
    path = write(tmp_path / "a.wav", loud, 16000, "FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav: the model gave NaN or infinity; bring its peak of 3e\+38 to full"):
        separate_file(StubModel([1e30 * gain, -gain]), path, tmp_path / "out")
    with pytest.raises(ValueError, match=r"a\.wav: the model gave NaN or infinity; bring its peak of 3e\+38 to full"):
        separate_file(StubModel([-1.0]), path, tmp_path / "out")  # whose rest is twice the input
    assert not list((tmp_path / "out").iterdir()) and capfd.readouterr().err == ""


# ── The background that stays, silence, and what is clipped ──


@pytest.mark.parametrize("background_db", [-math.inf, -20.0, -6.0, 0.0])
def test_the_first_source_keeps_the_background_at_a_level(tmp_path, background_db):
    path = write(tmp_path / "a.wav", 0.3 * noise(8000), 16000, "FLOAT")
    model = StubModel((0.5, 0.3), ("speech", "music", "rest"))
    result = separate_file(model, path, background_db=background_db)
    mixture = soundfile.read(path)[0]
    sources = {name: soundfile.read(output)[0] for name, output in result.outputs.items()}
    gain = 10 ** (background_db / 20)
    np.testing.assert_allclose(sources["speech"], (0.5 + gain * 0.5) * mixture, atol=1e-6)
    np.testing.assert_allclose(sources["music"], (1 - gain) * 0.3 * mixture, atol=1e-6)
    np.testing.assert_allclose(sum(sources.values()), mixture, atol=1e-6)


@pytest.mark.parametrize("background_db", [0.1, math.nan])
def test_a_background_above_its_level_is_refused(tmp_path, background_db):
    path = write(tmp_path / "a.wav", noise(400), 16000, "FLOAT")
    with pytest.raises(ValueError, match=r"background_db=.*: must be 0 or less"):
        separate_file(StubModel(), path, background_db=background_db)


def test_a_silent_track_gives_silence_of_its_length(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros((40000, 2)), 16000, "PCM_16")
    result = separate_file(StubModel(), path)
    assert result.silent and result.frames == 40000
    for output in result.outputs.values():
        samples, _ = soundfile.read(output)
        assert samples.shape == (40000, 2) and not samples.any()


def test_clipped_samples_are_counted_where_the_format_clips(tmp_path):
    samples = 0.5 * noise(4000)
    samples[100:110] = 2.5  # half of it is above full scale, in both sources
    path = write(tmp_path / "a.wav", samples, 16000, "FLOAT")
    assert separate_file(StubModel([0.5]), path).clipped == 0  # a wav of floats
    assert separate_file(StubModel([0.5]), path, file_format="flac").clipped == 20
    assert (
        separate_file(StubModel([0.5]), path, file_format="flac", sources=["foreground"], overwrite=True).clipped == 10
    )
