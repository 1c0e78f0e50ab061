"""Writes a film again with another audio track. All else is copied packet by packet, as it was."""

import contextlib
import math
import os
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import product
from typing import Any, BinaryIO

import av
import numpy as np

from ..errors import one_line
from ..models.audio_files import AudioError
from ..models.audio_formats import FORMATS, video_formats
from .encoding import TrackEncoder, encoders_for, layouts_for
from .film_source import FilmSource
from .writer import UNFINISHED, FileWriter


_MP4, _MATROSKA = ("mp4", "mov"), ("matroska", "webm")  # FFmpeg's names of muxers
_COVER = 0x400  # FFmpeg's flag of a stream that is a picture of the whole file
_BRANDS = {"major_brand", "minor_version", "compatible_brands"}  # the muxer chooses its own


class VideoWriter(FileWriter):
    r"""
    Writes a file of a film again, block by block, with another audio track. Pictures, subtitles, chapters, other
    audio tracks, attachments, languages and titles are those of the source, packet by packet, in the same order. A
    file without pictures, such as m4a, is written in the same way.

    The track keeps its codec, its bit rate (at least 64 kbit/s a channel) and its time: the first sample sounds when
    `start` says. A codec without an encoder becomes AAC in mp4 and mov, Opus in mkv and webm.

        >>> with AudioReader("talk.mp4") as reader:
        ...     with VideoWriter("clean.mp4", "talk.mp4", reader.sampling_rate, reader.channels) as writer:
        ...         for block in reader:
        ...             writer.write(clean(block))

    Args:
        path (`str` or `os.PathLike`): the file. Its suffix chooses the container.
        source (`str`, `os.PathLike` or a binary file object that can seek): the film.
        sampling_rate, channels (`int`): of the samples.
        track (`int`, *optional*): the number of the audio track to replace, from 1; by default the one that
            [`AudioReader`] reads.
        start (`float`, *optional*): the time of the first sample, in seconds after the start of the source; by
            default the start of the track.
        overwrite (`bool`, *optional*, defaults to `False`): replace an existing file.

    Attributes:
        subtype (`str`): libsndfile's name of the sample format, or the name of the codec, of the new track.
        notes (`list[str]`): what could not be copied.

    Raises:
        AudioError: on opening, writing or closing. The file exists, the folder cannot be written to, the disk is full,
            the source is damaged or has no such track, or the container cannot hold the track.
    """

    def __init__(
        self,
        path,
        source: str | os.PathLike | BinaryIO,
        sampling_rate: int,
        channels: int,
        *,
        track: int | None = None,
        start: float | None = None,
        overwrite: bool = False,
    ):
        super().__init__(path, overwrite)
        entry = FORMATS.get(self.path.suffix[1:].lower())
        if entry is None or entry.muxer is None:
            raise AudioError(
                f"{self.path}: not a video format that can be written; choose {', '.join(video_formats())}"
            )
        self._muxer = entry.muxer
        self._output: Any = None  # before the header is written, and after the file is closed
        with self._opening() as part, contextlib.ExitStack() as stack:
            self._source = stack.enter_context(FilmSource(source, track))
            self._file = stack.enter_context(open(part, "wb"))
            stack.enter_context(self._reported_errors())
            begin = self._source.track_start if start is None else self._source.begin + Fraction(start)
            try:
                self._start(sampling_rate, channels, begin, with_data=True)
            except av.error.FFmpegError:
                # Muxers refuse most data streams only when they write the header.
                self._start(sampling_rate, channels, begin, with_data=False)
            self._stack = stack.pop_all()

    def _start(self, sampling_rate: int, channels: int, begin: Fraction, with_data: bool) -> None:
        """Writes the header."""
        self._file.seek(0)
        self._file.truncate()
        self.notes = []
        self._output = self._opened_output(sampling_rate)
        self._copies: dict[int, Any] = {}  # index of a stream in the source → stream in the output
        source = self._source
        for stream in source.container.streams:
            if stream.index == source.track.index:
                self._encoder = self._add_encoder(sampling_rate, channels, begin)
                copy = self._encoder.stream
            else:
                copy = self._add_copy(stream, with_data)
            if copy is not None:
                copy.metadata.update(source.tags_of(stream))
                copy.disposition = stream.disposition
        self._output.start_encoding()

    def _opened_output(self, sampling_rate: int) -> Any:
        container = self._source.container
        # Time stamps stay as they are. Otherwise FFmpeg shifts all of them if the audio begins below 0.
        options = {"avoid_negative_ts": "disabled"}
        if self._muxer in _MP4:
            # Starts are stored in these units. FFmpeg's, 1 ms, would move tracks.
            starts = [Fraction(stream.start_time or 0) * stream.time_base for stream in container.streams]
            options["movie_timescale"] = str(_common_timescale([sampling_rate, *(s.denominator for s in starts)]))
            brand = container.metadata.get("major_brand", "")
            if brand.startswith("M4"):  # of m4a and m4v; some players look at it
                options["brand"] = brand
            if any(key.startswith("com.") for key in container.metadata):  # the kind of tags that cameras write
                options["movflags"] = "use_metadata_tags"
        output = av.open(self._file, "w", format=self._muxer, container_options=options)
        output.metadata.update({key: text for key, text in container.metadata.items() if key not in _BRANDS})
        output.set_chapters(container.chapters())
        return output

    def _add_encoder(self, sampling_rate: int, channels: int, begin: Fraction) -> TrackEncoder:
        codec, rate = self._source.track.codec_context, self._source.bit_rate
        for encoder, layout in product(encoders_for(codec, self._muxer), layouts_for(codec, channels)):
            with contextlib.suppress(ValueError, av.error.FFmpegError):
                made = TrackEncoder(self._output, encoder, rate, layout, sampling_rate, channels, begin)
                self.subtype = encoder.subtype or made.stream.codec_context.codec.canonical_name.upper()
                return made
        suffix = self.path.suffix[1:]
        raise AudioError(f"{self.path}: {suffix} cannot hold {channels} channels at {sampling_rate} Hz; choose wav")

    def _add_copy(self, stream, with_data: bool) -> Any:
        """Adds a stream like one of the source; `None` if the muxer makes it itself, or cannot hold it."""
        codec = stream.codec_context
        if stream.type == "data" and self._source.is_derived(stream):
            return None
        try:
            if stream.type == "data" and not with_data:
                raise ValueError
            if stream.disposition & _COVER and self._muxer in _MATROSKA:
                return self._add_attached_cover(stream)
            copy = self._output.add_stream_from_template(stream, opaque=True)  # opaque: it needs no encoder
        except (ValueError, av.error.FFmpegError):
            kind = f"{stream.type} ({codec.name})" if codec is not None else stream.type
            self.notes.append(f"{self.path.suffix[1:]} cannot hold stream {stream.index}, {kind}; left out")
            return None
        if codec is not None and self._muxer in _MP4:
            copy.codec_context.codec_tag = codec.codec_tag  # some players read hvc1 and not hev1
        if stream.type == "subtitle" and self._muxer in _MP4:
            # FFmpeg compares time stamps of this track and of the others without their units, and would end texts
            # early. In the smallest units it does not.
            others = max(other.time_base.denominator for other in self._source.container.streams)
            copy.time_base = stream.time_base / -(-others // stream.time_base.denominator)
        if stream.type == "video" and stream.average_rate and stream.average_rate == stream.base_rate:
            copy.codec_context.framerate = stream.average_rate  # for the durations of pictures in Matroska
        self._copies[stream.index] = copy
        return copy

    def _add_attached_cover(self, stream) -> Any:
        """Adds a cover to Matroska, which holds it in the header."""
        kind = stream.metadata.get("mimetype", f"image/{stream.codec_context.name.replace('mjpeg', 'jpeg')}")
        return self._output.add_attachment(
            stream.metadata.get("filename", "cover"), kind, self._source.cover(stream.index)
        )

    def write(self, block: np.ndarray) -> None:
        """Adds a block (n, channels), full scale ±1."""
        with self._reported_errors():
            self._mux(self._encoder.encode(block))

    def close(self) -> None:
        """Finishes the temporary file. Leaving the `with` block also does this, and then renames the file."""
        if self._output is None:
            return
        try:
            with self._reported_errors():
                self._mux(self._encoder.finish())
                self._copy_until(math.inf)
                self._output.close()
                self._file.close()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Closes the temporary file, which is then removed."""
        # Closed first, so that FFmpeg does not try to finish it.
        with contextlib.suppress(OSError):
            self._file.close()
        self._output = None
        self._stack.close()

    def _mux(self, packets: Iterator) -> None:
        for seconds, packet in packets:
            self._copy_until(seconds)
            self._output.mux(packet)

    def _copy_until(self, seconds: float) -> None:
        """Copies what the source has up to this time."""
        for packet in self._source.packets_until(seconds):
            if packet.stream_index in self._copies:
                packet.stream = self._copies[packet.stream_index]
                self._output.mux(packet)

    @contextlib.contextmanager
    def _reported_errors(self) -> Generator[None]:
        try:
            yield
        except av.error.FFmpegError as error:
            reason = f"FFmpeg cannot write the film again ({one_line(error, most=100)})"
            raise AudioError(f"{self.path}: {reason}; choose the format wav") from error
        except OSError as error:  # of the file that FFmpeg writes to
            raise AudioError(f"{self.path}: {UNFINISHED}") from error


def _common_timescale(rates: list[int]) -> int:
    """A number of units per second, below 2^31, that counts the periods of these rates without a rest."""
    scale = 1000
    for rate in rates:
        common = math.lcm(scale, rate)
        scale = common if common < 2**31 else scale
    return scale
