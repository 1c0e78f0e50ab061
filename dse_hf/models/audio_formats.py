"""The table of audio formats. Readers, writers, datasets, the command line and error messages use it.

A new format is one entry in `FORMATS`. This module imports nothing slow, so that `dse-hf --help` stays fast.
"""

from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class AudioFormat:
    """A format that can be read, and written if it has a `container` or, for an input of this format, a `muxer`.

    Without a `subtype`, the output keeps the sample format of the input, if the container can store it.
    """

    title: str  # its name in messages
    demuxers: tuple[str, ...]  # FFmpeg's names of the container. FFmpeg opens no other containers
    signatures: tuple[bytes, ...] = ()  # the first four bytes of the files, if libsndfile is the better reader
    container: str | None = None  # libsndfile's name of the container to write
    subtype: str | None = None  # libsndfile's name of the codec to write
    max_sampling_rate: int | None = None  # the highest rate to write, in Hz, if libsndfile does not check it
    is_video: bool = False  # the files usually contain pictures
    # FFmpeg's name of the container to write, for a file like the input: all but one audio track is copied
    muxer: str | None = None


# Keys are suffixes of file names, in lower case and without the dot.
FORMATS: dict[str, AudioFormat] = {
    "wav": AudioFormat("WAV", ("wav",), (b"RIFF", b"RIFX", b"RF64"), container="WAV"),
    "w64": AudioFormat("Wave64", ("w64",), (b"riff",), container="W64"),
    "aiff": AudioFormat("AIFF", ("aiff",), (b"FORM",), container="AIFF"),
    "flac": AudioFormat("FLAC", ("flac",), (b"fLaC",), container="FLAC"),
    # Beyond 200 kHz, libvorbis crashes.
    "ogg": AudioFormat("Ogg Vorbis", ("ogg",), (b"OggS",), "OGG", "VORBIS", max_sampling_rate=200_000),
    "opus": AudioFormat("Opus", ("ogg",), (b"OggS",), container="OGG", subtype="OPUS"),
    # libsndfile would guess the end of an mp3 without a length in its header.
    "mp3": AudioFormat("MP3", ("mp3",), container="MP3", subtype="MPEG_LAYER_III"),
    "m4a": AudioFormat("MPEG-4 audio", ("mov", "mp4"), muxer="mp4"),
    "mp4": AudioFormat("MPEG-4 video", ("mov", "mp4"), is_video=True, muxer="mp4"),
    "m4v": AudioFormat("MPEG-4 video", ("mov", "mp4"), is_video=True, muxer="mp4"),
    "mov": AudioFormat("QuickTime", ("mov", "mp4"), is_video=True, muxer="mov"),
    "webm": AudioFormat("WebM", ("webm",), is_video=True, muxer="webm"),
    "mka": AudioFormat("Matroska audio", ("matroska",), muxer="matroska"),
    "mkv": AudioFormat("Matroska", ("matroska",), is_video=True, muxer="matroska"),
}
# Rarer files are recognised by their content alone. Playlists, which name other files, are not among them.
_RARE_SIGNATURES = {b".snd", b"caff", b"NIST", b"Crea", b"MATL", b"\x64\xa3\x01\x00"}
_RARE_DEMUXERS = "3gp,3g2,aac,caf,au,asf,avi,flv,mpeg,mpegts,ac3,eac3,dts,amr,ape,wv,tta"
# libsndfile's names of the sample formats that an output may keep → bits of a sample.
SAMPLE_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}


def integer_bits(subtype: str) -> int | None:
    """The bits of a sample format of integers; `None` for floats and codecs."""
    return SAMPLE_BITS.get(subtype) if subtype.startswith("PCM_") else None


def is_audio_file(name) -> bool:
    """Whether the suffix of a file name or URL is in the table."""
    return PurePath(name).suffix[1:].lower() in FORMATS


def writable_formats() -> tuple[str, ...]:
    """The suffixes of the formats that can be written."""
    return tuple(suffix for suffix, entry in FORMATS.items() if entry.container is not None)


def video_formats() -> tuple[str, ...]:
    """The suffixes of the formats that can be written like an input of the same format, with another audio track."""
    return tuple(suffix for suffix, entry in FORMATS.items() if entry.muxer is not None)


def libsndfile_signatures() -> set[bytes]:
    """The first four bytes of the files that libsndfile may open; it would print warnings about others."""
    return _RARE_SIGNATURES.union(*(entry.signatures for entry in FORMATS.values()))


def ffmpeg_demuxers() -> str:
    """The containers that FFmpeg may open, for its option `format_whitelist`."""
    return ",".join([_RARE_DEMUXERS, *(name for entry in FORMATS.values() for name in entry.demuxers)])


FILE_FORMATS = writable_formats()
SAME = "same"  # instead of a suffix: the format of the input
