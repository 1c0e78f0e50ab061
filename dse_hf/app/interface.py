"""The app's page and its API, in Gradio."""

import gc
import os
from pathlib import Path
from typing import Any

import gradio as gr

from ..loading import DEFAULT_MODEL, OFFERED_MODELS, load_model
from . import drawing, sounds
from .handlers import CACHE_SECONDS, Handlers, with_clear_errors
from .zero_gpu import gpu


FOLDER = Path(__file__).parent
RUNS_AT_ONCE = 1  # a separation uses all cores
WAITING = 32  # requests that may wait; the next one is refused

_WORK: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": RUNS_AT_ONCE}  # of events
_PRIVATE: dict[str, Any] = {**_WORK, "api_visibility": "private"}  # of events of the page itself
_RECORDED: dict[str, Any] = {"sources": ["upload", "microphone"], "type": "filepath"}  # of players for input


def build_app(models: dict | None = None) -> gr.Blocks:
    """Builds the app, which [`launch_app`] launches. Visitors choose among `models`, a dict of name → model."""
    if models is None:
        models = {name: load_model(name, device="cpu") for name in OFFERED_MODELS}
        for model in models.values():  # as on the command line without --best
            if hasattr(model.config, "average_polarity_flip"):
                model.config.average_polarity_flip = False
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
            make_mix = gr.Button("Make a file of this mix", elem_id="mix-file-button")
            mix_file = gr.DownloadButton(visible=False, elem_id="mix-file")
        separated = gr.State(time_to_live=CACHE_SECONDS)  # the files of the sources
        percent = gr.Number(0, visible=False)
        with gr.Row():
            players = [gr.Audio(visible=False, interactive=False, min_width=260) for _ in range(handlers.most_sources)]
        table = gr.HTML()
        pictures = gr.HTML()
        with gr.Row():
            downloads = [gr.DownloadButton(visible=False) for _ in range(handlers.most_sources)]
            archive = gr.DownloadButton("Download all (zip)")
    outputs = [results, mixer, separated, mix_file, *players, table, pictures, *downloads, archive]
    work = gpu(with_clear_errors(handlers.show_separation))
    for event in (button.click, examples.load_input_event.success):
        event(work, [audio, model], outputs, show_progress_on=[button], **_PRIVATE)
    of_slider = "(files, percent) => [files, Number(document.querySelector('.mixer input').value)]"
    make_mix.click(with_clear_errors(handlers.make_mix), [separated, percent], mix_file, js=of_slider, **_PRIVATE)
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
    chosen: list[gr.components.Component] = [clean, noise_type, noise, snr]
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
