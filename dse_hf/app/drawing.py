"""Pictures and tables of the app, as HTML."""

import base64
import html
import io
import json
import math
from pathlib import Path

import numpy as np


RANGE_DB = 80  # of a spectrogram's colours
_INK = "#808890"  # legible on white and on black


def pictures_html(waveforms: dict[str, np.ndarray], sampling_rate: int) -> str:
    """Waveform and spectrogram of each signal (T,), side by side, all on one scale."""
    levels = {name: _levels(waveform, sampling_rate) for name, waveform in waveforms.items()}
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


def _levels(waveform: np.ndarray, sampling_rate: int, n_fft: int = 512, columns: int = 600) -> np.ndarray:
    """Level in dB, (bins, frames): the louder of the frames that share one of about `columns` columns."""
    padded = np.pad(waveform, (n_fft // 2, n_fft))
    hop = max(n_fft // 4, 1)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    window, group = np.hanning(n_fft).astype(np.float32), max(1, len(frames) // columns)
    blocks = [
        np.abs(np.fft.rfft(frames[start : start + group] * window)).max(axis=0)
        for start in range(0, len(frames), group)
    ]
    return 20 * np.log10(np.array(blocks).T + 1e-6)


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
    bottom.imshow(
        level,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, sampling_rate / 2000),
        vmin=loudest - RANGE_DB,
        vmax=loudest,
        cmap="magma",
    )
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
    """The table of levels in dBFS, and of each source's change against the input in dB."""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{_number(level, 1, "silent")}</td>'
        f"<td>{_number(changes[name], 1, 'silent', sign='+') if name in changes else '–'}</td></tr>"
        for name, level in levels.items()
    )
    head = '<th scope="col">sound</th><th scope="col">level (dBFS)</th><th scope="col">change (dB)</th>'
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def scores_html(scores: dict[str, tuple[float | None, float | None]], titles: dict[str, str]) -> str:
    """The table of scores before and after, against the clean original."""
    rows = "".join(
        f'<tr><th scope="row">{titles[name]}</th><td>{_number(before, 2)}</td><td>{_number(after, 2)}</td></tr>'
        for name, (before, after) in scores.items()
    )
    head = '<th scope="col">against the clean speech</th><th scope="col">before</th><th scope="col">after</th>'
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _number(value: float | None, digits: int, missing: str = "not defined", sign: str = "") -> str:
    if value is None or not math.isfinite(value):
        return missing
    return f"{value:{sign}.{digits}f}".replace("-", "−")


def mixer_html(sources: dict[str, str]) -> str:
    """The player that mixes the other sources back into the first, driven by `page.js`; source → cached path."""
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
    """How it works, and where to read on; `space` is `owner/name` on Hugging Face, where the model's owner is too."""
    from markdown_it import MarkdownIt

    links = ""
    if space:
        hub = "https://huggingface.co"
        card = f"{hub}/{space.split('/')[0]}/{model}"
        links = f" · [the model's card]({card}) · [the code]({hub}/spaces/{space}/tree/main)"
    text = Path(__file__).with_name("about.md").read_text(encoding="utf-8").replace("LINKS", links)
    return MarkdownIt("commonmark", {"html": True}).render(text)
