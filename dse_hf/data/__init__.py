"""Audio datasets → training examples and evaluation clips: pairs, clean speech and noise, or stems."""

from .arguments import DataArguments
from .bad_clips import BadClips, DataError
from .building import build_training_set, build_validation_set
from .clips import ClipCollection, ClipPool
from .decoding import BadClipError, decode_clip
from .evaluation import Clip, evaluation_clips
from .loading import load_split
from .mixtures import SpeechNoiseMixtures
from .parallel import ParallelCollection, ParallelWindows
from .specs import DatasetSpec, parse_specs


__all__ = [
    "BadClipError",
    "BadClips",
    "Clip",
    "ClipCollection",
    "ClipPool",
    "DataArguments",
    "DataError",
    "DatasetSpec",
    "ParallelCollection",
    "ParallelWindows",
    "SpeechNoiseMixtures",
    "build_training_set",
    "build_validation_set",
    "decode_clip",
    "evaluation_clips",
    "load_split",
    "parse_specs",
]
