"""Films for the tests of dse_hf.audio: pictures, two audio tracks, subtitles, chapters, tags and attachments."""

from fractions import Fraction

import av
import numpy as np


# The codecs of pictures, audio and subtitles of each container.
CODECS = {
    "mp4": ("mpeg4", "aac", "mov_text"),
    "mov": ("mpeg4", "aac", "mov_text"),
    "mkv": ("mpeg4", "aac", "subrip"),
    "webm": ("libvpx", "libopus", "webvtt"),
}
RATE = 48000
SUBTITLES = [(0.2, 0.5, b"Hello"), (1.0, 0.6, b"World")]
CHAPTERS = [("One", 0, 1000), ("Two", 1000, 2000)]
COVER = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\2\0\1H\xaf\xa4q"
    b"\0\0\0\0IEND\xaeB`\x82"
)


def burst(seconds=2.0, at=1.25, channels=2):
    """Silence with a short burst of noise whose middle is `at`, (frames, channels). No other lag resembles lag 0."""
    frames, width = round(seconds * RATE), 1200
    samples = np.zeros((frames, channels), np.float32)
    noise = np.random.default_rng(0).normal(0, 0.2, width) * np.hanning(width)
    # A low-pass filter, as codecs drop the highest frequencies.
    noise = np.convolve(noise, np.hanning(9) / np.hanning(9).sum(), "same")
    first = round(at * RATE) - width // 2
    samples[first : first + width] = noise[:, None]
    return samples


def write_film(path, samples, start=0.0, gap=None, codec=None, offset=0.0, rate=RATE, data=False, default=None):
    """
    Writes 2 s of pictures and two audio tracks, the first of which holds `samples`, from `start` on.

    Its packets within the seconds `gap` are missing. All tracks begin `offset` seconds late.
    """
    suffix = path.suffix[1:]
    picture_codec, audio_codec, subtitle_codec = CODECS[suffix]
    muxer = {"mkv": "matroska"}.get(suffix, suffix)
    # The start of a track is stored in units of 1 ms otherwise.
    options = {"avoid_negative_ts": "disabled", **({"movie_timescale": str(rate)} if suffix in ("mp4", "mov") else {})}
    with av.open(str(path), "w", format=muxer, container_options=options) as film:
        film.metadata.update({"title": "A talk", "artist": "Somebody"})
        film.set_chapters(
            [
                {"id": n, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for n, (title, start, end) in enumerate(CHAPTERS, 1)
            ]
        )
        packets = _pictures(film, picture_codec)
        first = _audio(film, codec or audio_codec, samples, start, "eng", rate)
        if gap is not None:
            first = [packet for packet in first if not gap[0] <= float(packet.pts * packet.time_base) < gap[1]]
        tone = 0.1 * np.sin(np.arange(2 * RATE)[:, None] / 20).astype(np.float32)
        packets += first + _audio(film, audio_codec, tone, 0.0, "deu", RATE)
        if default is not None:  # the number of the audio track to mark
            film.streams.audio[default - 1].disposition = 1
        packets += _subtitles(film, subtitle_codec)
        if data:
            packets += _texts(film.add_data_stream("bin_data"), [(0.0, 1.0, b"a place"), (1.0, 1.0, b"another")])
        if suffix == "mkv":
            film.add_attachment("font.ttf", "application/x-truetype-font", b"not a font")
            film.add_attachment("cover.png", "image/png", COVER)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            ticks = round(Fraction(offset) / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            film.mux(packet)
    return path


def _pictures(film, codec) -> list:
    stream = film.add_stream(codec, rate=25, options={"bf": "2"} if codec == "mpeg4" else {})
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
    stream.metadata["language"] = "fra"
    packets = []
    for number in range(50):
        picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 5 * number, np.uint8), "rgb24")
        picture.pts, picture.time_base = number, Fraction(1, 25)
        packets += stream.encode(picture)
    return packets + stream.encode(None)


def _audio(film, codec, samples, start, language, rate) -> list:
    channels = samples.shape[1]
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    stream = film.add_stream(codec, rate=rate)
    stream.layout, stream.metadata["language"] = layout, language
    if stream.codec_context.format.name.startswith("s16"):
        samples, sample_format = np.round(samples * 32767).astype(np.int16), "s16"
    else:
        sample_format = "flt"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), sample_format, layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, round(start * rate), Fraction(1, rate)
    return [*stream.encode(frame), *stream.encode(None)]


def _subtitles(film, codec) -> list:
    stream = film.add_mux_stream(codec)
    stream.metadata["language"] = "eng"
    prefix = codec == "mov_text"  # which gives the length first
    return _texts(stream, [(*times, len(text).to_bytes(2, "big") * prefix + text) for *times, text in SUBTITLES])


def _texts(stream, texts) -> list:
    stream.time_base = Fraction(1, 1000)
    packets = []
    for seconds, length, text in texts:
        packet = av.Packet(text)
        packet.stream, packet.time_base, packet.duration = stream, Fraction(1, 1000), round(1000 * length)
        packet.pts = packet.dts = round(1000 * seconds)
        packets.append(packet)
    return packets


def tracks(path, without=None):
    """All packets of a film, as a dict of lists `(pts, dts, duration, is a key frame, bytes)`, in seconds."""
    found: dict[int, list] = {}
    with av.open(str(path)) as film:
        for packet in film.demux():
            if packet.size == 0 and packet.dts is None:
                continue
            base = packet.time_base
            times = [None if t is None else t * base for t in (packet.pts, packet.dts, packet.duration)]
            found.setdefault(packet.stream.index, []).append((*times, packet.is_keyframe, bytes(packet)))
    return {index: packets for index, packets in found.items() if index != without}


def description(path):
    """What the header of a film says, without the encoder's name and the measured durations."""
    with av.open(str(path)) as film:
        streams = [
            (
                stream.type,
                stream.codec_context.codec.canonical_name if stream.codec_context else stream.type,
                stream.codec_context.codec_tag if stream.codec_context else None,
                _named(stream.metadata),
                int(stream.disposition),
            )
            for stream in film.streams
        ]
        chapters = [
            (chapter["start"] * chapter["time_base"], chapter["end"] * chapter["time_base"], chapter["metadata"])
            for chapter in film.chapters()
        ]
        return streams, chapters, _named(film.metadata)


def _named(tags) -> dict:
    return {key: text for key, text in tags.items() if key.lower() not in ("encoder", "duration")}


def placed(path, track=1, seconds=3.0):
    """The samples of an audio track at the times that FFmpeg gives them, from 0 on: (frames, channels)."""
    timeline = None
    with av.open(str(path)) as film:
        stream = film.streams.audio[track - 1]
        for packet in film.demux(stream):
            for frame in packet.decode():
                array = frame.to_ndarray()
                array = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
                if array.dtype.kind == "i":
                    array = array / 2.0 ** (8 * array.dtype.itemsize - 1)
                if timeline is None:
                    timeline = np.zeros((round(seconds * frame.sample_rate), array.shape[1]))
                    expected = float(frame.pts * frame.time_base) * frame.sample_rate
                position = float(frame.pts * frame.time_base) * frame.sample_rate
                # Matroska rounds to milliseconds: frames that follow each other are joined.
                if abs(position - expected) > 2 * frame.sample_rate / 1000:
                    expected = position
                first = round(expected)
                part = array[max(0, -first) :]
                timeline[max(0, first) : max(0, first) + len(part)] = part
                expected += len(array)
    return timeline
