"""The functions behind the buttons of the app's page and its API."""

import contextlib
import functools
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder
from transformers.utils import logging

from ..audio import AudioWriter
from ..errors import one_line
from ..loading import DEFAULT_MODEL
from . import drawing, sounds


CACHE_SECONDS = 3600  # after which a sound is deleted
_DIRECTORY = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^/\\:'\"]+[/\\])+")

logger = logging.get_logger(__name__)


def with_clear_errors(handler: Callable) -> Callable:
    """Wraps a handler: its errors tell the visitor what to do, and nothing about the server."""

    @functools.wraps(handler)
    def wrapped(*args, **kwargs):
        try:
            return handler(*args, **kwargs)
        except ValueError as error:
            raise gr.Error(_DIRECTORY.sub("", one_line(error)), duration=15, print_exception=False) from None
        except Exception:
            logger.exception("a request failed")
            raise gr.Error("Something went wrong here, not in your sound. Try again", print_exception=False) from None
        finally:
            sounds.release_memory()
            delete_broken_uploads()

    return wrapped


def delete_broken_uploads() -> None:
    """Deletes old parts of uploads that broke off. Gradio forgets them, and they would fill the disk."""
    for path in Path(get_upload_folder()).glob("tmp*"):
        with contextlib.suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime > CACHE_SECONDS:
                path.unlink()


class Handlers:
    """The functions that the buttons of the page and the API call. Visitors choose among `models`, name → model.

    `keep` copies a file, and returns the path of the copy, which Gradio serves and deletes later.
    """

    def __init__(self, models: dict, keep: Callable[[str], str]):
        self.models, self.keep = models, keep
        self.most_sources = max(len(model.config.sources) for model in models.values())

    def model(self, name: str):
        if name not in self.models:
            raise ValueError(f"model {name!r}: choose one of {', '.join(self.models)}")
        model = self.models[name]
        if "SPACES_ZERO_GPU" in os.environ:  # there is a GPU only inside a handler
            model = model.to("cuda")
        return model

    def run(self, audio: str | None, model: str, progress: Callable) -> tuple[sounds.Separation, dict[str, str], str]:
        """Returns the separation, source → served path, and the path of the served archive."""
        with tempfile.TemporaryDirectory(prefix="dse-hf-") as folder:
            separation = sounds.separate_sound(self.model(model), audio, Path(folder), progress)
            files = {name: path for name, path in separation.files.items() if name != "input"}
            archive = sounds.zip_files(list(files.values()), Path(folder) / f"{Path(str(audio)).stem}.zip")
            return separation, {name: self.keep(str(path)) for name, path in files.items()}, self.keep(str(archive))

    def show_separation(self, audio, model, progress=gr.Progress()):  # noqa: B008
        """For the page: players, mixer, table, pictures and downloads."""
        separation, files, archive = self.run(audio, model, progress)
        extra = [None] * (self.most_sources - len(files))
        players = [gr.Audio(path, label=name.capitalize(), visible=True) for name, path in files.items()]
        downloads = [gr.DownloadButton(f"Download {name}", value=path, visible=True) for name, path in files.items()]
        return [
            gr.Column(visible=True),
            drawing.mixer_html(files),
            list(files.values()),
            gr.DownloadButton(visible=False),
            *players,
            *(gr.Audio(value, visible=False) for value in extra),
            drawing.levels_html(separation.levels, separation.changes()),
            drawing.pictures_html(separation.waveforms, separation.drawn_rate),
            *downloads,
            *(gr.DownloadButton(value=value, visible=False) for value in extra),
            gr.DownloadButton("Download all (zip)", value=archive),
        ]

    def make_mix(self, files: list[str] | None, percent: float) -> gr.DownloadButton:
        """For the page: a file of the foreground with this much of the other sources, see the slider of the mixer."""
        if not files:
            raise ValueError("No sources yet: press Separate first.")
        with tempfile.TemporaryDirectory(prefix="dse-hf-") as folder:
            path = Path(folder) / f"{Path(files[0]).stem.partition('.')[0]}.mix_{percent:.0f}.wav"
            sounds.mix_sources(files, percent / 100, path)
            return gr.DownloadButton(f"Download with {percent:.0f} %", value=self.keep(str(path)), visible=True)

    def separate(self, audio: str, model: str = DEFAULT_MODEL) -> tuple[list[str], dict]:
        """Separates a sound into its sources, such as speech (foreground) and noise (background).

        Args:
            audio: the sound, a file of up to 120 seconds and 50 MB in any usual format.
            model: a name that /models returns.

        Returns:
            The files of the sources, as wav with the rate and channels of the input; and a report with their names,
            their levels in dBFS and their changes against the input in dB.
        """
        separation, files, _ = self.run(audio, model, lambda *state: None)
        report = {
            "sources": list(files),
            "seconds": separation.seconds,
            "levels_dbfs": separation.levels,
            "changes_db": separation.changes(),
        }
        return list(files.values()), report

    def mixture(self, clean, noise_type, noise, snr_db) -> tuple[str, tuple[np.ndarray, np.ndarray]]:
        pair = sounds.mix_sound(clean, noise_type, noise, float(snr_db))
        with tempfile.TemporaryDirectory(prefix="dse-hf-") as folder:
            path = Path(folder) / f"mixture_{snr_db:g}dB.wav"
            with AudioWriter(path, sounds.MIX_RATE, 1) as writer:
                writer.write(pair[1][:, None])
            return self.keep(str(path)), pair

    def mix(self, clean: str, noise_type: str = "train", noise: str | None = None, snr_db: float = 5.0) -> str:
        """Mixes clean speech with a noise at a signal-to-noise ratio.

        Args:
            clean: the speech, a file of up to 30 seconds.
            noise_type: a name that /noise_types returns.
            noise: a file with the noise, if noise_type is "your own file".
            snr_db: signal-to-noise ratio in dB, -30 to 60.

        Returns:
            The mixture, with one channel at 16 kHz.
        """
        return self.mixture(clean, noise_type, noise, snr_db)[0]

    def show_mixture(self, clean, noise_type, noise, snr_db):
        path, pair = self.mixture(clean, noise_type, noise, snr_db)
        return path, pair, gr.Button(interactive=True), gr.Button(interactive=True), gr.Column(visible=False)

    def show_scores(self, mixture, pair, model, progress=gr.Progress()):  # noqa: B008
        """For the page: the foreground and its scores against the clean speech."""
        if not mixture or pair is None:
            raise ValueError("No mixture yet: press Mix first.")
        _, files, _ = self.run(mixture, model, progress)
        foreground = next(iter(files.values()))
        progress(0.95, "scoring")
        clean, noisy = pair
        scores = sounds.score(clean, noisy, sounds.read_mono(foreground, sounds.MIX_RATE))
        return gr.Column(visible=True), foreground, drawing.scores_html(scores)

    def list_models(self) -> list[dict]:
        """Lists the models, with the sampling rates at which they work and their sources."""
        return [
            {"name": name, "sampling_rate": model.config.sampling_rate, "sources": list(model.config.sources)}
            for name, model in self.models.items()
        ]

    def list_noise_types(self) -> list[str]:
        """Lists the noises that /mix accepts."""
        return list(sounds.NOISE_TYPES)
