#!/usr/bin/env python3
"""Measures the two autoencoders and the embedded default model at 8 kHz, beside the input as it is.

    python model_cards/dae-speech-8khz/compare.py corpus

separates the held-out mixtures of the default model, resampled to 8 kHz, and writes tables, pictures and the scores of
each clip into the folder `evaluation/8khz`. The default model works at 16 kHz and is measured twice: on these
mixtures, resampled back to its rate, and, as `(16 kHz in)`, on the mixtures at 16 kHz, with its output resampled.
`--write` replaces `results.json` and the tables in the cards of both autoencoders.
"""

import hashlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soxr

from dse_hf.data import Clip
from dse_hf.evaluation import RESULTS
from dse_hf.evaluation.report import write_report
from dse_hf.evaluation.systems import INPUT, System, load_system
from dse_hf.evaluation.tables import markdown_table


HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parent / "waveunet-speech-16khz"
OTHER = HERE.parent / "dvae-speech-8khz"
RATE, DEFAULT_RATE = 8000, 16000

sys.path[:0] = [str(HERE.parent), str(DEFAULT)]
from evaluate import held_out_clips, with_tables  # noqa: E402
from measuring import Parser, measure, tell_whether_known  # noqa: E402
from mixtures import SECONDS, SNRS  # noqa: E402


def narrow_band(clip: Clip) -> Clip:
    """Returns a clip of 16 kHz at 8 kHz. Its mixture stays the sum of its references."""
    references = np.stack([resample(source) for source in clip.references])
    return Clip(clip.name, references.sum(axis=0), references, clip.attributes)


def resample(samples: np.ndarray) -> np.ndarray:
    """Returns (C, T) at 16 kHz as (C, T / 2) at 8 kHz."""
    return np.ascontiguousarray(soxr.resample(samples.T, DEFAULT_RATE, RATE).T)


def clips_at_8khz(corpus: str, per_snr: int, split: str) -> Iterator[Clip]:
    return map(narrow_band, held_out_clips(corpus, per_snr, split))


@dataclass
class WideBand(System):
    """A system that separates, instead of a mixture at 8 kHz, the mixture at 16 kHz that it was made from."""

    system: System
    mixtures: dict[str, np.ndarray]

    def separate(self, mixture, sampling_rate, sources):
        estimates = self.system.separate(self.mixtures[key_of(mixture)], DEFAULT_RATE, sources)
        return {source: resample(estimate) for source, estimate in estimates.items()}


def key_of(samples: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(samples)).hexdigest()


def systems_of(clips) -> list[System]:
    default = load_system(DEFAULT.name)
    mixtures = {key_of(narrow_band(clip).mixture): clip.mixture for clip in clips}
    wide = WideBand(f"{DEFAULT.name} (16 kHz in)", default.version, default, mixtures)
    return [load_system(INPUT), load_system(HERE.name), load_system(OTHER.name), default, wide]


def write(results: dict, folder: Path) -> None:
    shutil.copyfile(folder / RESULTS, HERE / RESULTS)
    for path in (HERE / "README.md", OTHER / "README.md"):
        path.write_text(with_tables(path.read_text(encoding="utf-8"), results), encoding="utf-8")


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("--per-snr", type=int, default=25, help="clips for each SNR")
    parser.add_evaluation("evaluation/8khz")
    arguments = parser.parse_args()
    chosen = (arguments.corpus, arguments.per_snr, arguments.split)
    clips = partial(clips_at_8khz, *chosen)
    name = f"mixtures of {SECONDS:g} s of the {arguments.split} split of corpus.py, at 8 kHz"
    systems = systems_of(held_out_clips(*chosen))
    results = measure(
        systems,
        clips,
        arguments,
        sampling_rate=RATE,
        sources=["foreground", "background"],
        description={"name": name, "split": arguments.split, "snrs": SNRS},
    )
    write_report(results, systems, clips, arguments.output)
    print(markdown_table(results))
    tell_whether_known(results, HERE / RESULTS)
    if arguments.write:
        write(results, Path(arguments.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
