"""Sounds and files for the tests of dse_hf.audio."""

from fractions import Fraction

import av
import numpy as np

from dse_hf.audio import AudioReader


LAYOUTS = ("", "mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")  # FFmpeg's names, by number of channels


def tones(sampling_rate=48000, seconds=0.5, channels=2, level=0.3):
    """A tone of another pitch in every channel, (frames, channels)."""
    time = np.arange(round(seconds * sampling_rate))[:, None] / sampling_rate
    return (level * np.sin(2 * np.pi * 200 * (1 + np.arange(channels)) * time)).astype(np.float32)


def write_av(path, samples, sampling_rate, codec, sample_format="fltp", options=None, video=False, layout=None):
    """Encodes samples (frames, channels) with FFmpeg."""
    layout = layout or LAYOUTS[samples.shape[1]]
    if sample_format in ("s16", "s16p"):
        samples = np.round(samples * 2**15).astype(np.int16)
    planes = samples.T if sample_format.endswith("p") else samples.reshape(1, -1)
    with av.open(str(path), "w", options=options or {}) as container:
        if video:
            pictures = container.add_stream("mpeg4", rate=10)
            pictures.width = pictures.height = 32
        if codec is not None:
            stream = container.add_stream(codec, rate=sampling_rate)
            stream.layout = layout
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), sample_format, layout)
            frame.sample_rate, frame.pts, frame.time_base = sampling_rate, 0, Fraction(1, sampling_rate)
            container.mux([*stream.encode(frame), *stream.encode(None)])
        if video:
            for _ in range(10):
                container.mux(pictures.encode(av.VideoFrame(32, 32, "yuv420p")))
            container.mux(pictures.encode(None))
    return path


def read(source, dtype="float32", **kwargs):
    """All samples of a file, (frames, channels), and its reader."""
    with AudioReader(source, **kwargs) as reader:
        return np.concatenate(list(reader.blocks(dtype))), reader
