#!/usr/bin/env python3
"""Measures the SI-SDR of each source in held-out mixtures, before and after the separation.

The dialogue is measured beside the foreground of the embedded speech model.

    python model_cards/waveunet-dialogue-16khz/evaluate.py corpus

prints the tables of the card, and writes the scores of each clip into the folder
`evaluation/waveunet-dialogue-16khz`. `--write` replaces `results.json` and the tables of the card.
"""

import re
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from sources import LEVELS, SECONDS, SOURCES, held_out_clips

from dse_hf.evaluation import RESULTS
from dse_hf.evaluation.summary import bootstrap_interval
from dse_hf.evaluation.systems import INPUT, System, load_system
from dse_hf.evaluation.tables import markdown_table
from dse_hf.loading import DEFAULT_MODEL


HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from measuring import Parser, measure, tell_whether_known  # noqa: E402


CARD = HERE / "README.md"
WORST = 3  # rows of each source in the last table


@dataclass
class SpeechModel(System):
    """The speech model. Its foreground is an estimate of the dialogue; it has no other sources."""

    system: System

    def separate(self, mixture, sampling_rate, sources):
        return {sources[0]: self.system.separate(mixture, sampling_rate, ["foreground"])["foreground"]}


def speech_model() -> SpeechModel:
    system = load_system(DEFAULT_MODEL)
    return SpeechModel(system.name, system.version, system)


def scores(results: dict, system: str, source: str, metric: str, part: str = "") -> np.ndarray:
    """Returns the scores of the clips whose names contain `part`."""
    clips = [clip for clip in results["models"][system]["clips"] if part in clip["name"]]
    values = [clip["scores"][source][metric] for clip in clips]
    return np.array([value for value in values if value is not None])


def statistics(results: dict, model: str, source: str, part: str = "") -> list[str]:
    """Returns cells: SI-SDR before and after, improvement with interval and median, share of clips that gain."""
    before, after = (scores(results, system, source, "si_sdr", part).mean() for system in (INPUT, model))
    gain = scores(results, model, source, "si_sdr_improvement", part)
    low, high = bootstrap_interval(gain)
    return [
        f"{before:.1f}",
        f"{after:.1f}",
        f"{gain.mean():.1f} ({low:.1f} to {high:.1f})",
        f"{np.median(gain):.1f}",
        f"{100 * np.mean(gain > 0):.0f} %",
    ]


def tables(results: dict, model: str) -> dict[str, str]:
    """Returns the Markdown tables of the card by their titles."""
    heading = ["SI-SDR before (dB)", "after (dB)", "improvement (dB, 95 % interval)", "median", "clips that gain"]
    names = [clip["name"] for clip in results["models"][model]["clips"]]
    levels = dict.fromkeys(clip["attributes"]["kind"] for clip in results["models"][model]["clips"])
    tracks, kinds = (sorted({name.split(", ")[place] for name in names}) for place in (-2, -1))
    return {
        "sources": table(["source", *heading], [[x, *statistics(results, model, x)] for x in SOURCES]),
        "levels": gains(results, model, "against the dialogue", {level: f"{level}, " for level in levels}),
        "tracks": gains(results, model, "track", {track: f", {track}, " for track in tracks}),
        "effects": gains(results, model, "effects", {kind: f", {kind}" for kind in kinds}),
        "speech": markdown_table(results),
        "worst": table(["source", "clip", "before (dB)", "after (dB)"], list(worst(results, model))),
    }


def gains(results: dict, model: str, title: str, parts: dict[str, str]) -> str:
    """Returns a table with a row for each of `parts`: name of the row → what the names of its clips contain."""
    rows = [
        [name, str(sum(part in clip["name"] for clip in results["models"][model]["clips"]))]
        + [f"{gain(results, model, source, part):.1f}" for source in SOURCES]
        for name, part in parts.items()
    ]
    return table([title, "clips", *(f"{source}: improvement (dB)" for source in SOURCES)], rows)


def gain(results: dict, model: str, source: str, part: str) -> float:
    return scores(results, model, source, "si_sdr_improvement", part).mean()


def worst(results: dict, model: str):
    before = {clip["name"]: clip["scores"] for clip in results["models"][INPUT]["clips"]}
    for source in SOURCES:
        clips = sorted(results["models"][model]["clips"], key=lambda x: x["scores"][source]["si_sdr_improvement"])
        for clip in clips[:WORST]:
            values = (before[clip["name"]][source]["si_sdr"], clip["scores"][source]["si_sdr"])
            yield [source, clip["name"], *(f"{value:.1f}" for value in values)]


def table(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(results: dict, model: str, folder: Path) -> None:
    shutil.copyfile(folder / RESULTS, HERE / RESULTS)
    text = CARD.read_text(encoding="utf-8")
    for title, content in tables(results, model).items():
        place = re.compile(rf"(<!-- table: {title} -->\n).*?(\n?<!-- /table -->)", re.DOTALL)
        text = place.sub(lambda found, content=content: f"{found[1]}{content}\n<!-- /table -->", text)
    CARD.write_text(text, encoding="utf-8")


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("--model", default=HERE.name, help="embedded name, folder or Hub id")
    parser.add_argument("--per-level", type=int, default=20, help="clips for each pair of levels")
    parser.add_evaluation(f"evaluation/{HERE.name}")
    arguments = parser.parse_args()
    clips = partial(held_out_clips, arguments.corpus, arguments.per_level, arguments.split)
    name = f"mixtures of {SECONDS:g} s of the {arguments.split} split"
    systems = [load_system(INPUT), speech_model(), load_system(arguments.model)]
    description = {"name": name, "split": arguments.split, "levels": LEVELS}
    results = measure(systems, clips, arguments, description=description)
    print("\n\n".join(tables(results, arguments.model).values()))
    tell_whether_known(results, HERE / RESULTS)
    if arguments.write:
        write(results, arguments.model, Path(arguments.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
