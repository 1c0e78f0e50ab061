"""Pictures of audio, drawn with matplotlib."""

import os

import numpy as np
from numpy.typing import NDArray

from ..files import atomic_write


RANGE_DB = 80  # between the darkest and the brightest colour of a spectrogram


def spectrogram_figure(signals: dict[str, NDArray], sampling_rate: int):
    """Returns a figure of spectrograms, one above the other, on one scale: from the loudest bin to `RANGE_DB` below.

    `signals` is title → samples, (T,) or (C, T), at `sampling_rate` in Hz. Of several channels the mean is drawn.
    """
    from matplotlib.figure import Figure

    signals = {title: np.atleast_2d(samples).mean(axis=0) for title, samples in signals.items()}
    levels = {title: spectrogram_levels(samples) for title, samples in signals.items()}
    loudest = max(level.max() for level in levels.values())
    figure = Figure(figsize=(9, 2.4 * len(signals)), layout="constrained")
    axes = figure.subplots(len(signals), sharex=True, squeeze=False)[:, 0]
    for axis, (title, level) in zip(axes, levels.items()):
        image = draw_spectrogram(axis, level, len(signals[title]) / sampling_rate, sampling_rate, loudest)
        axis.set_title(title, loc="left")
        axis.set_ylabel("kHz")
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=list(axes), label="dB")  # pyrefly: ignore[unbound-name]  # there is a signal
    return figure


def improvement_figure(series: dict[str, list[tuple[float, float, tuple[float, float]]]], label: str):
    """Returns a figure of the improvement of each system by level of the input; `label` is the axis of levels.

    `series` is system → points (level of the input in dB, improvement in dB, interval of the improvement).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    levels = sorted({point[0] for points in series.values() for point in points})
    # The points of a level stand side by side, so that no interval hides another.
    step = 0.06 * min(np.diff(levels), default=1.0)
    for number, (name, points) in enumerate(series.items()):
        x, y, intervals = (np.array(column) for column in zip(*sorted(points)))
        errors = np.abs(intervals.T - y)
        x = x + step * (number - (len(series) - 1) / 2)
        axis.errorbar(x, y, errors, marker="o", markersize=4, capsize=3, linewidth=1.5, label=name)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(levels)
    axis.set_xlabel(label)
    axis.set_ylabel("improvement of SI-SDR (dB)")
    axis.grid(axis="y", alpha=0.3)
    axis.legend()
    return figure


def save_figure(figure, path: str | os.PathLike) -> None:
    """Writes the figure as a PNG file."""
    with atomic_write(path) as part:
        figure.savefig(part, format="png", dpi=100)


def spectrogram_levels(samples: NDArray, n_fft: int = 512, columns: int = 600) -> NDArray:
    """Levels (bins, columns) in dB of samples (T,). Each of about `columns` columns has the loudest of its frames."""
    padded = np.pad(samples, (n_fft // 2, n_fft))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: n_fft // 4]
    window, group = np.hanning(n_fft).astype(np.float32), max(1, len(frames) // columns)
    loudest = [
        np.abs(np.fft.rfft(frames[start : start + group] * window)).max(axis=0)
        for start in range(0, len(frames), group)
    ]
    return 20 * np.log10(np.array(loudest).T + 1e-6)


def draw_spectrogram(axis, levels: NDArray, seconds: float, sampling_rate: int, loudest: float):
    """Draws levels (bins, columns) on an axis of seconds and kHz; `loudest` in dB gets the brightest colour."""
    return axis.imshow(
        levels,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, sampling_rate / 2000),
        vmin=loudest - RANGE_DB,
        vmax=loudest,
        cmap="magma",
    )
