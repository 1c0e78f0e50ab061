"""The table of audio formats. It is with the models, because the decoder of the pipeline travels with the weights."""

from ..models.audio_formats import (
    FILE_FORMATS,
    FORMATS,
    SAME,
    SAMPLE_BITS,
    AudioFormat,
    integer_bits,
    is_audio_file,
    writable_formats,
)


__all__ = [
    "FILE_FORMATS",
    "FORMATS",
    "SAME",
    "SAMPLE_BITS",
    "AudioFormat",
    "integer_bits",
    "is_audio_file",
    "writable_formats",
]
