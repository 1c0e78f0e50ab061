"""Finds the decoder of an audio file: libsndfile for wav, flac, ogg and similar formats, FFmpeg for the others.

Both could read most files. libsndfile gives stored samples exactly, and the right length of an ogg file. But it
guesses the end of an mp3 whose header has no length.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, TypeAlias

from .audio_ffmpeg import PyAVDecoder
from .audio_files import AudioError, UnrecognisedError, signature
from .audio_formats import FORMATS, libsndfile_signatures
from .audio_libsndfile import SoundFileDecoder
from .audio_ogg import OggChainDecoder, ogg_links


Decoder: TypeAlias = SoundFileDecoder | OggChainDecoder | PyAVDecoder


def open_decoder(file: BinaryIO, name: str, path=None, track: int | None = None) -> Decoder:
    """Finds the decoder for an open file that can seek, given its name for messages, and its path if it has one.

    The decoder has `sampling_rate`, `channels`, `frames`, `seconds`, `subtype` and `start`, see `AudioReader`, and
    `blocks(frames, dtype)`, which yields arrays (n, channels) of about `frames` samples. `track` is the number of an
    audio track, from 1; `None` stands for the one that FFmpeg chooses. Raises an `AudioError`, or an `ImportError` if
    a package is missing.
    """
    refusals, missing = [], []
    for decoder in _decoders(file, name, path, track):
        file.seek(0)
        try:
            return decoder()
        except UnrecognisedError as refusal:
            refusals.append(str(refusal))
        except ImportError as error:
            missing.append(str(error.name))
        except AudioError as error:
            if not refusals:
                raise
            raise AudioError(f"{error} ({'; '.join(refusals)})") from error
    if missing:
        raise ImportError(f"{name}: to read it, `pip install {' '.join(missing)}`", name=missing[0])
    raise AudioError(
        f"{name}: not an audio format that can be read, or damaged ({'; '.join(refusals)}); "
        f"give one of {', '.join(FORMATS)}"
    )


def _decoders(file: BinaryIO, name: str, path, track: int | None) -> Iterator[Callable[[], Decoder]]:
    """What may open the file, the best first."""
    if track in (None, 1) and (start := signature(file)) in libsndfile_signatures():
        links = ogg_links(file, name) if start == b"OggS" else []
        if len(links) > 1:
            yield partial(OggChainDecoder, file, name, links)
        else:
            yield partial(SoundFileDecoder, file, name, path)
    yield partial(PyAVDecoder, file, name, track)
