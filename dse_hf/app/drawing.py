"""The pictures and tables of the app, as HTML."""

import base64
import html
import io
import json
import math
from pathlib import Path

import numpy as np

from ..evaluation.figures import RANGE_DB, draw_spectrogram, spectrogram_levels


_INK = "#808890"  # legible on white and on black


def pictures_html(waveforms: dict[str, np.ndarray], sampling_rate: int) -> str:
    """Waveform and spectrogram of each signal (T,), side by side, all on one scale."""
    levels = {name: spectrogram_levels(waveform) for name, waveform in waveforms.items()}
    loudest = max(level.max() for level in levels.values())
    peak = max(np.abs(waveform).max() for waveform in waveforms.values())
    figures = []
    for name, waveform in waveforms.items():
        image = _picture(waveform, levels[name], sampling_rate, peak, loudest)
        alt = f"Waveform and spectrogram of the {html.escape(name)}"
        figures.append(
            f'<figure><figcaption>{html.escape(name)}</figcaption><img alt="{alt}" '
            f'src="data:image/png;base64,{base64.b64encode(image).decode()}"></figure>'
        )
    note = f"One scale for all: {RANGE_DB} dB from dark to bright."
    return f'<div class="pictures">{"".join(figures)}</div><p class="note">{note}</p>'


def _picture(waveform: np.ndarray, level: np.ndarray, sampling_rate: int, peak: float, loudest: float) -> bytes:
    from matplotlib.figure import Figure

    seconds = len(waveform) / sampling_rate
    figure = Figure(figsize=(4.2, 3.2), layout="constrained")
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(1, 2.4))
    columns = min(len(waveform), 800)
    parts = np.array_split(waveform, columns)
    times = np.linspace(0, seconds, columns)
    top.fill_between(times, [p.min() for p in parts], [p.max() for p in parts], color="#f97316", linewidth=0.4)
    top.set_ylim(-1.05 * peak, 1.05 * peak)
    draw_spectrogram(bottom, level, seconds, sampling_rate, loudest)
    bottom.set_xlabel("seconds", color=_INK)
    bottom.set_ylabel("kHz", color=_INK)
    for axis in (top, bottom):
        axis.set_facecolor("none")
        axis.tick_params(colors=_INK, labelsize=9)
        for spine in axis.spines.values():
            spine.set_color(_INK)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, transparent=True)
    return buffer.getvalue()


def levels_html(levels: dict[str, float], changes: dict[str, float]) -> str:
    """The table of levels in dBFS, and of the change of each source against the input in dB."""
    rows = [
        [name, _number(level, 1, "silent"), _number(changes[name], 1, "silent", "+") if name in changes else "–"]
        for name, level in levels.items()
    ]
    return _table(["sound", "level (dBFS)", "change (dB)"], rows)


def scores_html(scores: dict[str, tuple[float | None, float | None]]) -> str:
    """The table of scores before and after separation, by the metric's heading."""
    rows = [[heading, _number(before, 2), _number(after, 2)] for heading, (before, after) in scores.items()]
    return _table(["against the clean speech", "before", "after"], rows)


def _table(heading: list[str], rows: list[list[str]]) -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in heading)
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _number(value: float | None, digits: int, missing: str = "not defined", sign: str = "") -> str:
    if value is None or not math.isfinite(value):
        return missing
    return f"{value:{sign}.{digits}f}".replace("-", "−")


def mixer_html(sources: dict[str, str]) -> str:
    """The player that mixes the other sources into the first. `sources`: name → served path; `page.js` drives it."""
    names = list(sources)
    first, others = html.escape(names[0]), html.escape(", ".join(names[1:]))
    data = html.escape(json.dumps(list(sources.values())), quote=True)
    return (
        f'<div class="mixer" data-sources="{data}" data-state="stopped" role="group" aria-label="Mix {others} back">'
        f'<button type="button" class="mixer-play">▶ Play {first}</button>'
        f"<label>mixed back: {others} <output>0 %</output>"
        '<input type="range" min="0" max="100" value="0" step="1"></label>'
        '<span class="mixer-time"></span></div>'
    )


def about_html(space: str | None, model: str) -> str:
    """The text `about.md`. In a Space, `owner/name`, it links to the code and to the same owner's model."""
    from markdown_it import MarkdownIt

    links = ""
    if space:
        hub = "https://huggingface.co"
        card = f"{hub}/{space.split('/')[0]}/{model}"
        links = f" · [the model's card]({card}) · [the code]({hub}/spaces/{space}/tree/main)"
    text = Path(__file__).with_name("about.md").read_text(encoding="utf-8").replace("LINKS", links)
    return MarkdownIt("commonmark", {"html": True}).render(text)
