"""Files of several audio tracks, and the time of their sound: where it starts, and where some is missing."""

from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from dse_hf.audio import AudioError, AudioReader, quantize
from dse_hf.models.audio_ffmpeg import _Clock
from tests.audio.sounds import read, tones


RATE = 48000
SAMPLES = quantize(tones(RATE, 0.5, 1), "PCM_16")


def write_tracks(path, tracks, default=0):
    """A film of 2 s with lossless tracks: for each the samples, and for some of its packets the seconds before it."""
    codec, sample_format = ("flac", "s16") if path.suffix == ".mkv" else ("alac", "s16p")
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=10)
        pictures.width = pictures.height = 32
        streams = [container.add_stream(codec, rate=RATE) for _ in tracks]
        for number, stream in enumerate(streams):
            stream.layout, stream.disposition = "mono", av.stream.Disposition.default if number == default else 0
        streams[-1].metadata["language"] = "eng"
        for stream, (samples, gaps) in zip(streams, tracks):
            integers = np.round(samples.T * 2**15).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(integers, sample_format, "mono")
            frame.sample_rate, frame.time_base, frame.pts, late = RATE, Fraction(1, RATE), 0, 0
            for number, packet in enumerate([*stream.encode(frame), *stream.encode(None)]):
                late += round(gaps.get(number, 0) * RATE)
                packet.pts += late
                packet.dts = packet.pts
                container.mux(packet)
        for number in range(20):
            picture = av.VideoFrame(32, 32, "yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 10)
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_track_is_chosen_by_its_number_and_by_default_as_players_do(tmp_path, suffix):
    path = write_tracks(tmp_path / f"a.{suffix}", [(SAMPLES, {}), (SAMPLES / 2, {0: 0.25})], default=1)
    for track, wanted, start in ((1, SAMPLES, 0.0), (2, SAMPLES / 2, 0.25), (None, SAMPLES / 2, 0.25)):
        samples, reader = read(path, track=track)
        np.testing.assert_array_equal(samples, quantize(wanted, "PCM_16"))
        assert reader.start == pytest.approx(start, abs=0.0011 if suffix == "mkv" else 1e-6)
    for track in (0, 3, -1, "2", True):
        with pytest.raises(AudioError, match=rf"no audio track {track!r}; choose among 1 \(\w+\), 2 \(eng, \w+\)$"):
            AudioReader(path, track=track)


def test_files_of_one_track_have_track_1(tmp_path):
    soundfile.write(tmp_path / "a.wav", SAMPLES, RATE)
    samples, reader = read(tmp_path / "a.wav", track=1)
    np.testing.assert_array_equal(samples, SAMPLES)
    assert (reader.start, reader.dtype) == (0.0, "float32")
    with pytest.raises(AudioError, match=r"no audio track 2; choose among 1 \(pcm_s16le\)"):
        AudioReader(tmp_path / "a.wav", track=2)


@pytest.mark.parametrize("suffix, packet", [("mp4", 4096), ("mkv", 4608)])
def test_missing_sound_becomes_silence(tmp_path, suffix, packet):
    path = write_tracks(tmp_path / f"a.{suffix}", [(SAMPLES, {2: 0.5, 4: 0.25})])
    silence = [np.zeros((round(seconds * RATE), 1), np.float32) for seconds in (0.5, 0.25)]
    parts = np.split(SAMPLES, [2 * packet, 4 * packet])
    wanted = np.concatenate([parts[0], silence[0], parts[1], silence[1], parts[2]])
    for seconds in (0.1, 1.0):
        samples = read(path, block_seconds=seconds)[0]
        if suffix == "mp4":
            np.testing.assert_array_equal(samples, wanted)
        else:  # its time stamps are milliseconds
            assert abs(len(samples) - len(wanted)) <= 48
            np.testing.assert_array_equal(samples[: len(parts[0])], parts[0])
            np.testing.assert_array_equal(samples[-len(parts[2]) :], parts[2])


@pytest.mark.parametrize(
    "times, gaps",
    [
        ([0, 1, 2.004, 2.998, 4.003], [0, 0, 0, 0, 0]),  # jitter
        ([5, 6, 7.25, 8.25], [0, 0, 250, 0]),
        ([0, 0.5, 1.5, 2.5], [0, 0, 0, 0]),  # an overlap
        ([0, *np.arange(1, 20) * 1.004], [*[0] * 13, 52, *[0] * 6]),  # another clock
        ([0, None, 2.25, None], [0, 0, 250, 0]),
        ([0, 1, -5, -4, -2.75], [0, 0, 0, 0, 250]),  # time stamps that start again
        ([0, 1, 1e9, 1e9 + 1], [0, 0, 0, 0]),  # damage
        ([0, 1, 60, 61], [0, 0, 0, 0]),  # after the end
    ],
)
def test_time_stamps_are_believed_where_they_can_be_true(times, gaps):
    clock = _Clock(1000, announced_end=40)
    assert [clock.gap_before(time, 1000) for time in times] == gaps
