"""The order of channels is that of wav, in whatever file, and what says which loudspeaker each is for is kept."""

import av
import numpy as np
import pytest
import soundfile

from dse_hf.audio import AudioReader, AudioWriter
from tests.audio.sounds import LAYOUTS, read, tones, write_av


RATE = 16000


def sounds_of(channels):
    """A tone of its own in every channel, for half a second, and their frequencies. That of the LFE is low."""
    frequencies = 400 * (1 + np.arange(channels))
    if channels >= 6:
        frequencies[3] = 60
    return 0.2 * np.sin(2 * np.pi * frequencies * np.arange(RATE)[:, None] / RATE), frequencies


def loudest_frequencies(samples, sampling_rate):
    """In Hz, of each channel of samples (frames, channels), from 0.25 to 0.75 s."""
    part = samples[sampling_rate // 4 :][: sampling_rate // 2]
    return 2 * np.abs(np.fft.rfft(part * np.hanning(len(part))[:, None], axis=0)).argmax(axis=0)


@pytest.mark.parametrize("channels", [3, 4, 6, 8])  # FFmpeg permutes five and seven in its own encoder
def test_the_channels_of_opus_are_read_in_the_order_of_wav(tmp_path, channels):
    samples, frequencies = sounds_of(channels)
    write_av(tmp_path / "a.opus", samples.astype(np.float32), RATE, "libopus", "flt")
    samples, reader = read(tmp_path / "a.opus")
    np.testing.assert_allclose(loudest_frequencies(samples, reader.sampling_rate), frequencies, atol=5)
    assert reader.channel_mask == {3: 0x7, 4: 0x33, 6: 0x3F, 8: 0x63F}[channels]


@pytest.mark.parametrize("file_format", ["ogg", "opus"])
@pytest.mark.parametrize("channels", range(1, 9))
def test_the_channels_of_ogg_files_are_written_in_the_order_of_vorbis(tmp_path, file_format, channels):
    samples, frequencies = sounds_of(channels)
    path = tmp_path / f"a.{file_format}"
    with AudioWriter(path, RATE, channels) as writer:
        writer.write(samples[:3000])
        writer.write(samples[3000:])
    found = read(path)[0]
    np.testing.assert_allclose(loudest_frequencies(found, RATE), frequencies, atol=5)
    # No loudspeaker but the LFE loses high tones.
    np.testing.assert_allclose(np.std(found[4000:12000], axis=0), 0.2 / np.sqrt(2), rtol=0.1)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert stream.layout.name == LAYOUTS[channels]
        resampler = av.AudioResampler(format="flt")  # packed, as PyAV 18 crashes on eight planes
        parts = [part for frame in container.decode(stream) for part in resampler.resample(frame)]
        theirs = np.concatenate([part.to_ndarray().reshape(-1, channels) for part in parts])
    np.testing.assert_allclose(loudest_frequencies(theirs, stream.rate), frequencies, atol=5)


def layout_of(path):
    with av.open(str(path)) as container:
        return container.streams.audio[0].layout.name


@pytest.mark.parametrize("layout, mask", [("5.1", 0x3F), ("5.1(side)", 0x60F), ("4.0", 0x107), ("7.1", 0x63F)])
@pytest.mark.parametrize("source, target", [("wav", "wav"), ("w64", "wav"), ("wav", "aiff")])
def test_channel_masks_are_kept(tmp_path, layout, mask, source, target):
    channels = av.AudioLayout(layout).nb_channels
    path = tmp_path / f"a.{source}"
    write_av(path, tones(RATE, 0.1, channels), RATE, "pcm_s16le", "s16", layout=layout)
    samples, reader = read(path)
    assert reader.channel_mask == mask
    options = {"input_subtype": reader.subtype, "channel_mask": reader.channel_mask}
    with AudioWriter(tmp_path / f"b.{target}", RATE, channels, **options) as writer:
        writer.write(samples)
    again, reader = read(tmp_path / f"b.{target}")
    np.testing.assert_array_equal(again, samples)
    assert reader.channel_mask == mask
    assert layout_of(tmp_path / f"b.{target}") == layout


def test_the_sound_of_a_film_has_the_mask_of_its_loudspeakers(tmp_path):
    write_av(tmp_path / "a.mp4", tones(RATE, 0.1, 6), RATE, "aac")
    with AudioReader(tmp_path / "a.mp4") as reader:
        assert reader.channel_mask == 0x3F


def test_files_without_a_mask_get_none(tmp_path):
    for name in ("a.wav", "a.aiff", "a.w64", "a.flac"):
        with AudioWriter(tmp_path / name, RATE, 6) as writer:
            writer.write(tones(RATE, 0.1, 6))
        with AudioReader(tmp_path / name) as reader:
            assert reader.channel_mask is None
    assert soundfile.info(tmp_path / "a.wav").format == "WAV"
    write_av(tmp_path / "b.aiff", tones(RATE, 0.1, 6), RATE, "pcm_s16be", "s16")  # in Apple's own code
    with AudioReader(tmp_path / "b.aiff") as reader:
        assert reader.channel_mask == 0x3F


def test_a_long_wav_keeps_its_mask(tmp_path):
    with AudioWriter(tmp_path / "a.wav", RATE, 6, seconds=1e5, channel_mask=0x60F) as writer:
        writer.write(tones(RATE, 0.1, 6))
    assert soundfile.info(tmp_path / "a.wav").format == "RF64"
    with AudioReader(tmp_path / "a.wav") as reader:
        assert reader.channel_mask == 0x60F
