"""Files that are valid or damaged in ways that readers differ about, each with the samples or the error that is right.

The command line, the pipeline, the training and the Space all have to give these, see `test_odd_files.py`.
"""

import functools
import io
import struct
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import soundfile

from dse_hf.audio import quantize, resample


RATE = 16000


def _signal(length: int) -> np.ndarray:
    """A gliding tone that grows louder, (length, 1), in 16 bits. No part of it is like another."""
    steps = 2 * np.pi * (300 + 900 * np.linspace(0, 1, length) ** 2) / RATE
    return quantize(np.float32(0.3 * np.linspace(0.2, 1, length) * np.sin(np.cumsum(steps)))[:, None], "PCM_16")


SIGNAL = _signal(12000)


@dataclass
class OddFile:
    """A file, and what reading it has to give.

    Args:
        content (`bytes`): the file.
        wanted (`numpy.ndarray` (T, C) or `str`): the samples, or words of the error.
        error (`float`): RMS of the error that a codec may make, as a share of that of the samples; 0 for none.
        delay (`int`): samples before the wanted ones, where the file does not tell the delay of its encoder.
        more (`int`): samples that may follow the wanted ones, where the file does not tell what fills its last block.
    """

    content: bytes
    wanted: np.ndarray | str
    error: float = 0.0
    delay: int = 0
    more: int = 0

    def check(self, samples: np.ndarray) -> None:
        """Compares samples (T, C) with the wanted ones."""
        wanted = self.wanted
        assert samples.shape[1] == wanted.shape[1]
        assert 0 <= len(samples) - self.delay - len(wanted) <= self.more, f"{len(samples)} samples"
        difference = samples[self.delay :][: len(wanted)] - wanted
        assert np.sqrt(np.mean(difference**2)) <= self.error * np.sqrt(np.mean(wanted**2))


def _stored(format: str, subtype: str = "PCM_16", samples=SIGNAL, **options) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format=format, subtype=subtype, **options)
    return content.getvalue()


def _encoded(format: str, codec: str, *tracks, sample_format="s16", rate=RATE, default=0, gap=0, **options) -> bytes:
    """A file of FFmpeg. Every packet of a track after the first is late by `gap` samples."""
    content = io.BytesIO()
    with av.open(content, "w", format=format) as container:
        streams = [container.add_stream(codec, rate=rate, options=options) for _ in tracks]
        for number, stream in enumerate(streams):
            stream.layout, stream.disposition = "mono", av.stream.Disposition.default if number == default else 0
        for stream, samples in zip(streams, tracks):
            planes = samples.T if "flt" in sample_format else np.round(samples.T * 2**15).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), sample_format, "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            for number, packet in enumerate([*stream.encode(frame), *stream.encode(None)]):
                packet.pts += gap if number else 0
                packet.dts = packet.pts
                container.mux(packet)
    return content.getvalue()


def _patched(content: bytes, **patches) -> bytes:
    """With other bytes after the name of a chunk."""
    for name, patch in patches.items():
        place = content.index(name.encode()) + 4
        content = content[:place] + patch + content[place + len(patch) :]
    return content


def _wav_of_two_chunks() -> bytes:
    first, second = (_stored("WAV", samples=part) for part in (SIGNAL[:5000], SIGNAL[5000:]))
    return _patched(first + second[second.index(b"data") :], RIFF=struct.pack("<I", len(first + second) - 44))


def _without_first_frame(mp3: bytes) -> bytes:
    """Without the frame that holds no sound, but the number of frames and the delay."""
    return mp3[mp3.index(mp3[:2], 4) :]


def _mp3_of_changing_rate() -> bytes:
    """The first half has much fewer bits than the second."""
    samples = np.concatenate([0 * SIGNAL, SIGNAL])
    return _without_first_frame(_stored("MP3", "MPEG_LAYER_III", samples, bitrate_mode="VARIABLE"))


def _flac_of_unknown_length() -> bytes:
    content = bytearray(_stored("FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


def _opus_without_end(content: bytes) -> bytes:
    """Opus whose last page does not say that it is the last."""
    content, place = bytearray(content), content.rindex(b"OggS")
    content[place + 5] &= ~4
    content[place + 22 : place + 26] = bytes(4)
    checksum = 0
    for byte in content[place:]:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum >> 31 else 0)) & 0xFFFFFFFF
    content[place + 22 : place + 26] = struct.pack("<I", checksum)
    return bytes(content)


def _with_nan() -> bytes:
    samples = SIGNAL.copy()
    samples[6000] = np.nan
    return _stored("WAV", "FLOAT", samples)


@functools.cache
def odd_files() -> dict[str, OddFile]:
    """Name → file. The names have the suffixes that such files have."""
    wav, flac, ogg = _stored("WAV"), _stored("FLAC"), _stored("OGG", "VORBIS")
    mp3 = _stored("MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT")
    surround = SIGNAL * np.float32([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    opus, at_48000 = _encoded("ogg", "libopus", SIGNAL), resample(SIGNAL, RATE, 48000)
    g726 = _encoded("wav", "g726", SIGNAL[::2], rate=8000)
    silence, half = np.zeros_like(SIGNAL), len(flac) // 2
    alac = functools.partial(_encoded, "mp4", "alac", sample_format="s16p")
    return {
        # ── valid ──
        "never-finalised.wav": OddFile(_patched(wav, RIFF=bytes(4), data=bytes(4)), SIGNAL),
        "from-a-pipe.wav": OddFile(_patched(wav, RIFF=b"\xff" * 4, data=b"\xff" * 4), SIGNAL),
        "two-chunks.wav": OddFile(_wav_of_two_chunks(), SIGNAL),
        "tagged.wav": OddFile(b"ID3\x04\x00\x00\x00\x00\x00\x10" + bytes(16) + wav, SIGNAL),
        "gsm.wav": OddFile(_stored("WAV", "GSM610"), SIGNAL, 0.2, more=320),
        "g726.wav": OddFile(g726, SIGNAL[::2], 0.2),
        "ac3.wav": OddFile(_encoded("wav", "ac3", SIGNAL, rate=32000, sample_format="fltp"), SIGNAL, 0.1, 256, 3072),
        "unknown-size.caf": OddFile(_patched(_stored("CAF"), data=b"\xff" * 8), SIGNAL),
        "from-a-pipe.flac": OddFile(_flac_of_unknown_length(), SIGNAL),
        "without-length.mp3": OddFile(_without_first_frame(mp3), SIGNAL, 0.1, 1105, 1152),
        "changing-rate.mp3": OddFile(_mp3_of_changing_rate(), np.concatenate([silence, SIGNAL]), 0.1, 1105, 1152),
        "joined.mp3": OddFile(mp3 + mp3, np.concatenate([SIGNAL, silence[:1824], SIGNAL]), 0.1, more=1152),
        "chained.ogg": OddFile(ogg + ogg, np.concatenate([SIGNAL, SIGNAL]), 0.1),
        "chained.opus": OddFile(_stored("OGG", "OPUS") * 2, np.concatenate([SIGNAL, SIGNAL]), 0.1),
        "surround.ogg": OddFile(_stored("OGG", "VORBIS", surround[:, [0, 2, 1, 4, 5, 3]]), surround, 0.1),
        "without-end.opus": OddFile(_opus_without_end(opus), at_48000, 0.3, more=960),
        "two-tracks.mp4": OddFile(alac(SIGNAL / 2, SIGNAL, default=1), SIGNAL),
        "gap.mp4": OddFile(alac(SIGNAL, gap=8000), np.concatenate([SIGNAL[:4096], silence[:8000], SIGNAL[4096:]])),
        # ── damaged ──
        "cut.wav": OddFile(wav[:20000], "breaks off or is damaged at 0.6 s of 0.8 s"),
        "cut-g726.wav": OddFile(g726[:2000], r"breaks off after 2,000 of 3,\d\d\d bytes; get it again"),
        "cut.flac": OddFile(flac[:half], "breaks off or is damaged at"),
        "cut.ogg": OddFile(ogg[:-3000], "breaks off in the middle of an ogg page"),
        "cut.mp3": OddFile(mp3[: len(mp3) // 2], "breaks off or is damaged at"),
        "cut.m4a": OddFile(alac(SIGNAL)[:10000], "not an audio format that can be read, or damaged"),
        "hole.flac": OddFile(flac[:half] + bytes(1000) + flac[half + 1000 :], "breaks off or is damaged at"),
        "lost.flac": OddFile(flac[:half] + flac[half + 3000 :], "breaks off or is damaged at"),
        "nan.wav": OddFile(_with_nan(), "holds NaN or infinity"),
        "no-samples.wav": OddFile(_stored("WAV", samples=SIGNAL[:0]), "holds no samples"),
        "no-sound.flac": OddFile(b"fLaC" + bytes(100), "not an audio format that can be read, or damaged"),
        "text.wav": OddFile(b"dear diary\n" * 100, "not an audio format that can be read, or damaged"),
        "slow.wav": OddFile(_patched(wav, **{"fmt ": wav[16:24] + struct.pack("<I", 999)}), "sampling rate of 999 Hz"),
    }
