"""Pictures of audio, drawn with matplotlib."""

import os

import numpy as np
from numpy.typing import NDArray

from ..files import atomic_write


def spectrogram_figure(signals: dict[str, NDArray], sampling_rate: int):
    """Spectrograms of signals, one above the other, all on one scale from the loudest bin to 80 dB below it.

    Args:
        signals: title → samples, (T,) or (C, T) of which the mean over channels is drawn.
        sampling_rate: in Hz.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    from matplotlib.figure import Figure

    levels = {title: _levels(np.atleast_2d(samples).mean(axis=0)) for title, samples in signals.items()}
    loudest = max(level.max() for level in levels.values())
    figure = Figure(figsize=(9, 2.4 * len(signals)), layout="constrained")
    axes = figure.subplots(len(signals), sharex=True, squeeze=False)[:, 0]
    for axis, (title, level) in zip(axes, levels.items()):
        seconds = np.atleast_2d(signals[title]).shape[-1] / sampling_rate
        image = axis.imshow(
            level,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, sampling_rate / 2000),
            vmin=loudest - 80,
            vmax=loudest,
            cmap="magma",
            interpolation="nearest",
        )
        axis.set_title(title, loc="left")
        axis.set_ylabel("kHz")
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=list(axes), label="dB")
    return figure


def improvement_figure(series: dict[str, list[tuple[float, float, tuple[float, float]]]], label: str):
    """Improvement of each system over the level of its input, with intervals.

    Args:
        series: system → points (level of the input in dB, improvement in dB, the improvement's interval).
        label: of the level's axis.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    levels = sorted({point[0] for points in series.values() for point in points})
    # Side by side, so that intervals do not hide each other.
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
    """Writes the figure as a PNG, under a temporary name first."""
    with atomic_write(path) as part:
        figure.savefig(part, format="png", dpi=100)


def _levels(samples: NDArray, n_fft: int = 512) -> NDArray:
    """Level in dB, (bins, frames), of Hann-windowed frames with half overlap."""
    samples = np.pad(samples, (n_fft // 2, n_fft))
    frames = np.lib.stride_tricks.sliding_window_view(samples, n_fft)[:: n_fft // 2]
    return 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(n_fft))).T + 1e-6)
