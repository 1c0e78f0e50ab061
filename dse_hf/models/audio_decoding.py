"""Finds the decoder of an audio file: libsndfile for wav, flac, ogg and similar formats, FFmpeg for the others.

Both could read most files. libsndfile gives stored samples exactly, and the right length of an ogg file. But it
guesses the end of an mp3 whose header has no length, and reads only the first link of an ogg chain.
"""

import os
from typing import BinaryIO

from .audio_ffmpeg import PyAVDecoder
from .audio_files import AudioError, UnrecognisedError, first_bytes
from .audio_formats import FORMATS, libsndfile_signatures
from .audio_libsndfile import SoundFileDecoder


def open_decoder(file: BinaryIO, name: str, path=None, track: int | None = None) -> SoundFileDecoder | PyAVDecoder:
    """Finds the decoder for an open file that can seek, given its name for messages, and its path if it has one.

    The decoder has `sampling_rate`, `channels`, `frames`, `seconds`, `subtype` and `start`, see `AudioReader`, and
    `blocks(frames, dtype)`, which yields arrays (n, channels) of about `frames` samples. `track` is the number of an
    audio track, from 1; `None` stands for the one that FFmpeg chooses.
    """
    decoders = [PyAVDecoder]
    if track in (None, 1) and first_bytes(file) in libsndfile_signatures() and not _is_ogg_chain(file, name):
        decoders = [SoundFileDecoder, PyAVDecoder]
    for decoder in decoders:
        file.seek(0)
        try:
            return decoder(file, name, path, track)
        except UnrecognisedError:
            continue
    raise AudioError(f"{name}: not an audio format that can be read, or damaged; give one of {', '.join(FORMATS)}")


def _is_ogg_chain(file: BinaryIO, name: str) -> bool:
    """Whether the file is several ogg files in a row. Reads the header of every page to find out.

    A file that ends within a page raises an error. (A file without the end mark may be a stopped recording.)
    """
    size, position, in_headers = file.seek(0, os.SEEK_END), 0, True
    while position < size:
        file.seek(position)
        page = file.read(27 + 255)  # 27 bytes, the last of which is the number of segments, then their lengths
        if page[:4] != b"OggS":
            return False  # something else follows, which the decoder may judge
        whole = len(page) >= 27
        position += 27 + page[26] + sum(page[27 : 27 + page[26]]) if whole else 0
        if not whole or position > size:
            raise AudioError(f"{name}: breaks off in the middle of an ogg page; get it again")
        starts_stream = page[5] & 2
        if starts_stream and not in_headers:
            return True
        in_headers = bool(starts_stream)
    return False
