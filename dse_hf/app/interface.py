"""The app's page and its API, in Gradio."""

import contextlib
import functools
import gc
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder
from transformers.utils import logging

from ..audio import AudioWriter
from ..errors import one_line
from ..loading import DEFAULT_MODEL, OFFERED_MODELS, load_model
from . import drawing, sounds
from .zero_gpu import gpu


FOLDER = Path(__file__).parent
RUNS_AT_ONCE = 1  # a separation uses all cores
WAITING = 32  # requests that may wait; the next one is refused
CACHE_SECONDS = 3600  # after which a sound is deleted
_DIRECTORY = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^/\\:'\"]+[/\\])+")

_WORK: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": RUNS_AT_ONCE}  # of events
_PRIVATE: dict[str, Any] = {**_WORK, "api_visibility": "private"}  # of events of the page itself
_RECORDED: dict[str, Any] = {"sources": ["upload", "microphone"], "type": "filepath"}  # of players for input

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
            *players,
            *(gr.Audio(value, visible=False) for value in extra),
            drawing.levels_html(separation.levels, separation.changes()),
            drawing.pictures_html(separation.waveforms, separation.drawn_rate),
            *downloads,
            *(gr.DownloadButton(value=value, visible=False) for value in extra),
            gr.DownloadButton("Download all (zip)", value=archive),
        ]

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


def build_app(models: dict | None = None) -> gr.Blocks:
    """Builds the app, which [`launch_app`] launches. Visitors choose among `models`, a dict of name → model."""
    if models is None:
        models = {name: load_model(name, device="cpu") for name in OFFERED_MODELS}
    with gr.Blocks(title="Source separation", analytics_enabled=False, delete_cache=(600, CACHE_SECONDS)) as app:
        gr.Markdown(
            "# Hear it without the noise\n"
            "A Wave-U-Net separates a recording into the voice in front and the noise behind it."
        )
        keeper = gr.File(visible=False, file_count="multiple")
        # A path gives a path.
        handlers = Handlers(models, keeper.move_resource_to_block_cache)  # pyrefly: ignore[bad-argument-type]
        with gr.Tabs() as tabs:
            with gr.Tab("Separate", id="separate"):
                audio, model = _separate_tab(handlers)
            with gr.Tab("Noise mix", id="mix"):
                mixture = _mix_tab(handlers, tabs, audio, model)
        with gr.Accordion("How it works, and what becomes of your sounds", open=False):
            gr.HTML(drawing.about_html(os.environ.get("SPACE_ID"), DEFAULT_MODEL))
        _add_api(handlers, keeper, audio, model, mixture)
    return app


def _separate_tab(handlers: Handlers) -> tuple[gr.Audio, gr.Dropdown]:
    with gr.Row():
        with gr.Column(scale=3):
            audio = gr.Audio(label="Input", elem_id="input", **_RECORDED)
            limits = f"up to {sounds.MAX_SECONDS} s, {sounds.MAX_MEGABYTES} MB and {sounds.MAX_CHANNELS} channels"
            gr.Markdown(f"Any usual format, {limits}. Sounds are separated one at a time.", elem_classes="note")
        with gr.Column(scale=2):
            names = list(handlers.models)
            first = DEFAULT_MODEL if DEFAULT_MODEL in names else names[0]
            model = gr.Dropdown(names, value=first, label="Model", interactive=True)
            button = gr.Button("Separate", variant="primary", elem_id="separate-button")
            examples = gr.Examples(
                [[str(sounds.EXAMPLES / "train.flac")], [str(sounds.EXAMPLES / "hum.flac")]],
                [audio],
                label="Or hear an example",
                example_labels=["Speech beside a train", "Speech in mains hum"],
                cache_examples=False,
                api_visibility="private",
            )
    with gr.Column(visible=False, elem_id="results") as results:
        mixer = gr.HTML(label="Mix")
        with gr.Row():
            players = [gr.Audio(visible=False, interactive=False, min_width=260) for _ in range(handlers.most_sources)]
        table = gr.HTML()
        pictures = gr.HTML()
        with gr.Row():
            downloads = [gr.DownloadButton(visible=False) for _ in range(handlers.most_sources)]
            archive = gr.DownloadButton("Download all (zip)")
    outputs = [results, mixer, *players, table, pictures, *downloads, archive]
    work = gpu(with_clear_errors(handlers.show_separation))
    for event in (button.click, examples.load_input_event.success):
        event(work, [audio, model], outputs, show_progress_on=[button], **_PRIVATE)
    return audio, model


def _mix_tab(handlers: Handlers, tabs: gr.Tabs, audio: gr.Audio, model: gr.Dropdown) -> list[gr.Component]:
    with gr.Row():
        with gr.Column():
            clean = gr.Audio(str(sounds.EXAMPLES / "clean.flac"), label="Clean speech", elem_id="clean", **_RECORDED)
            gr.Markdown(f"Up to {sounds.MIX_SECONDS} s; mixed at {sounds.MIX_RATE / 1000:g} kHz.", elem_classes="note")
        with gr.Column():
            noise_type = gr.Dropdown(list(sounds.NOISE_TYPES), value="train", label="Noise", interactive=True)
            noise = gr.Audio(label="Your noise", sources=["upload"], type="filepath", visible=False, elem_id="noise")
            snr = gr.Slider(-10, 30, 5, step=1, label="Signal-to-noise ratio (dB)", elem_id="snr")
            mix = gr.Button("Mix", variant="primary", elem_id="mix-button")
    mixture = gr.Audio(label="Mixture", interactive=False, type="filepath", elem_id="mixture")
    pair = gr.State(time_to_live=CACHE_SECONDS)
    with gr.Row():
        score = gr.Button("Separate it and score", interactive=False, elem_id="score-button")
        send = gr.Button("Send to Separate", interactive=False, elem_id="send-button")
    with gr.Column(visible=False, elem_id="scores") as results:
        foreground = gr.Audio(label="Foreground", interactive=False)
        table = gr.HTML()
        gr.Markdown(
            "SI-SDR: how far the distortion lies below the speech. PESQ: perceived quality, 1 to 4.6. STOI: "
            "intelligibility, up to 1. For all of them, more is better.",
            elem_classes="note",
        )
    noise_type.change(lambda name: gr.Audio(visible=name == sounds.OWN_NOISE), noise_type, noise, **_PRIVATE)
    chosen: list[gr.Component] = [clean, noise_type, noise, snr]
    show_mixture, show_scores = map(with_clear_errors, (handlers.show_mixture, handlers.show_scores))
    mix.click(show_mixture, chosen, [mixture, pair, score, send, results], **_PRIVATE)
    score.click(gpu(show_scores), [mixture, pair, model], [results, foreground, table], **_PRIVATE)
    send.click(lambda path: (path, gr.Tabs(selected="separate")), mixture, [audio, tabs], **_PRIVATE)
    return chosen


def _add_api(handlers: Handlers, files: gr.File, audio, model, mixture: list) -> None:
    """Adds the endpoints for other programs."""
    trigger, report = gr.Button(visible=False), gr.JSON(visible=False, label="report")
    separate = gpu(with_clear_errors(handlers.separate))
    trigger.click(separate, [audio, model], [files, report], api_name="separate", **_WORK)
    mixed = gr.Audio(visible=False, label="mixture")
    trigger.click(with_clear_errors(handlers.mix), mixture, mixed, api_name="mix", **_WORK)
    gr.api(handlers.list_models, api_name="models")
    gr.api(handlers.list_noise_types, api_name="noise_types")


def launch_app(app: gr.Blocks, **options):
    """Launches the app with its theme, queue, limits and MCP server; `options` as for `Blocks.launch`."""
    gc.collect()
    gc.freeze()  # the collection after each request skips the objects of the libraries
    fonts = {"font": ["ui-sans-serif", "system-ui"], "font_mono": ["ui-monospace"]}  # local fonts need no network
    return app.queue(max_size=WAITING, default_concurrency_limit=RUNS_AT_ONCE).launch(
        theme=gr.themes.Soft(primary_hue="orange", **fonts),
        css_paths=FOLDER / "page.css",
        head=f"<script>{(FOLDER / 'page.js').read_text(encoding='utf-8')}</script>",
        max_file_size=f"{sounds.MAX_MEGABYTES}mb",
        allowed_paths=[str(sounds.EXAMPLES)],
        show_error=False,
        mcp_server=True,
        ssr_mode=False,
        state_session_capacity=100,
        max_threads=4,  # one request runs at a time
        **options,
    )
