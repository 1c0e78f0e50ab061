"""The page whose model runs in the browser, in headless Chromium: its samples are those of the command line."""

import contextlib
import json
import os
import re
import shutil
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from huggingface_hub import metadata_load

from dse_hf import load_model
from dse_hf.app import in_browser
from dse_hf.app.in_browser import built_page, page_server
from dse_hf.audio import read_audio
from dse_hf.audio.formats import SAMPLE_BITS
from dse_hf.cli import main
from dse_hf.separate import separate_file


CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="no chromium (Debian's package)")

ROOT = Path(__file__).parents[2]
NOISY = ROOT / "model_cards" / "waveunet-speech-16khz" / "example" / "noisy.wav"
WAIT = 60_000  # ms
OPTIONS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
# Tries to send something to another server. Gives the rule that did not allow it.
SEND = """new Promise((done) => {
    addEventListener("securitypolicyviolation", (event) => done(`refused by ${event.effectiveDirective}`));
    fetch("http://127.0.0.1:1/").then(() => done("sent"), () => setTimeout(done, 2000, "not refused"));
})"""
# What Chromium says about requests that the tests ask for: without network, and to another server.
EXPECTED = ("net::ERR_INTERNET_DISCONNECTED", "http://127.0.0.1:1/")


@pytest.fixture(scope="module")
def url():
    server = page_server(built_page(), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_the_page_is_served_so_that_browsers_allow_threads(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.js").write_text("1")
    monkeypatch.setattr(in_browser, "built_page", lambda say: tmp_path)
    monkeypatch.setattr(in_browser, "serve_page", lambda server, open_browser: servers.append(server))
    servers = []
    assert main(["app", "--in-browser", "--no-browser"]) == 0
    (server,) = servers
    address = f"http://127.0.0.1:{server.server_port}/"
    assert address in capsys.readouterr().out and server.server_port >= 7860
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with urllib.request.urlopen(f"{address}a.js") as answer:
        assert answer.headers["Content-Type"] == "text/javascript" and answer.read() == b"1"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    thread.join()
    assert main(["app", "--in-browser", "--no-browser", "--port", str(server.server_port)]) == 1
    assert "give another port with --port" in capsys.readouterr().err
    server.server_close()
    monkeypatch.undo()
    with pytest.raises(ValueError, match="needs a clone of the repository"):
        built_page(tmp_path)


def test_the_build_has_what_a_space_and_the_service_worker_need(url):
    page = built_page()
    metadata = metadata_load(page / "README.md")
    assert metadata["sdk"] == "static" and "cross-origin-embedder-policy" in metadata["custom_headers"]
    lists = re.findall(r"(?:SMALL|LARGE)_FILES = (.*?);", (page / "sw.js").read_text())
    small, large = map(json.loads, lists)
    for name in [*small, *(name.partition("?")[0] for name in large)]:
        assert (page / name).exists()
    assert len(large) == 3 and sum((page / name.partition("?")[0]).stat().st_size for name in large) < 40e6
    scripts = {path.relative_to(page).as_posix() for path in page.rglob("*.js")} - {"sw.js"}
    assert scripts <= set(small)


@pytest.fixture(scope="module")
def playwright():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright):
    browser = playwright.chromium.launch(executable_path=CHROMIUM or "chromium", args=OPTIONS)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def visitor(url, browser):
    """A visitor who has the model already: one start serves all tests."""
    context = browser.new_context(accept_downloads=True)
    page = open_page(context, url)
    assert "The first start downloads" in page.locator("#first").inner_text()
    separate_example(page)
    page.locator("#first").wait_for(state="hidden")
    yield page
    context.close()


@pytest.fixture
def page(visitor):
    """The visitor's page; at the end nothing may stand in the browser's console as an error."""
    errors = []

    def heard(message):
        if message.type == "error" and not any(text in message.text for text in EXPECTED):
            errors.append(message.text)

    visitor.on("console", heard)
    visitor.on("pageerror", lambda error: errors.append(str(error)))
    yield visitor
    visitor.remove_listener("console", heard)
    assert errors == []


def open_page(context, url):
    page = context.new_page()
    page.goto(url)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    use_one_thread(page)
    return page


def use_one_thread(page) -> None:
    """Threads wait for each other, which takes long while other tests use the processor."""
    page.locator("#backend option[value=single]").wait_for(state="attached", timeout=WAIT)
    page.get_by_text("Settings").click()
    page.get_by_label("Computed by").select_option("single")


def name_of_backend(page, threads: bool) -> str:
    return "threads" if threads and page.locator("#backend option[value=threads]").count() else "single"


def separate(page, path: Path) -> None:
    with separating(page):
        page.locator("#file").set_input_files(path)


@contextlib.contextmanager
def separating(page):
    """Waits for the end of what the block starts."""
    done = page.evaluate("Number(document.body.dataset.done ?? 0)")
    yield
    page.locator(f"body[data-done='{done + 1}']").wait_for(timeout=WAIT)


def separate_example(page) -> None:
    with separating(page):
        page.get_by_role("button", name="Speech beside a train").click()
    assert page.locator("#result").is_visible()


def save(page, name: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("link", name=f"Download {name}").click()
    path = folder / "downloads" / download.value.suggested_filename
    download.value.save_as(path)
    return path


def sound(path: Path, seconds: float, rate: int, channels: int, subtype: str, level: float = 1.0) -> np.ndarray:
    """Writes the example, repeated, in another format. Returns its samples as they stand in the file."""
    noisy, noisy_rate = soundfile.read(NOISY)
    wave = level * np.resize(noisy, round(seconds * noisy_rate))
    wave = np.stack([wave, *(0.5 * wave[::-1] for _ in range(channels - 1))], axis=-1)
    soundfile.write(path, soxr.resample(wave, noisy_rate, rate), rate, subtype)
    return soundfile.read(path)[0]


@pytest.mark.parametrize(
    ("name", "seconds", "rate", "channels", "subtype", "level", "best"),
    [
        ("short_and_threads.wav", 0.01, 8000, 1, "FLOAT", 1, True),
        ("mono.wav", 17, 16000, 1, "PCM_16", 1, False),
        ("stereo_and_quiet.flac", 3, 44100, 2, "PCM_24", 1e-3, False),
    ],
)
def test_the_samples_are_those_of_the_command_line(
    page, tmp_path, name, seconds, rate, channels, subtype, level, best
):
    mixture = sound(tmp_path / name, seconds, rate, channels, subtype, level)
    page.get_by_label("Slightly better").set_checked(best)
    page.get_by_label("Computed by").select_option(name_of_backend(page, threads="threads" in name))
    separate(page, tmp_path / name)
    ours = {source: soundfile.read(save(page, source, tmp_path)) for source in ("foreground", "background")}

    model = load_model(device="cpu", dtype="float32")
    model.config.average_polarity_flip = best
    outputs = separate_file(model, tmp_path / name, tmp_path).outputs
    assert Path(outputs["foreground"]).name == (tmp_path / name).stem + ".foreground.wav"
    for source, path in outputs.items():
        expected, _ = soundfile.read(path)
        samples, our_rate = ours[source]
        assert our_rate == rate and samples.shape == expected.shape == mixture.shape
        # The page's resampler is not soxr, but near to it.
        tolerance = (1e-5 if rate == model.config.sampling_rate else 3e-4) * np.abs(mixture).max()
        np.testing.assert_allclose(samples, expected, rtol=0, atol=tolerance + 2.0 ** (1 - SAMPLE_BITS[subtype]))
        assert soundfile.info(tmp_path / "downloads" / Path(path).name).subtype == subtype
    total = ours["foreground"][0] + ours["background"][0]
    np.testing.assert_allclose(total, mixture, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["sound.mp3", "sound.ogg", "sound.opus"])
def test_compressed_sounds_keep_their_length_and_place(page, tmp_path, name):
    options = {"format": "OGG", "subtype": "OPUS"} if name == "sound.opus" else {}
    soundfile.write(tmp_path / name, soxr.resample(soundfile.read(NOISY)[0][:16000], 16000, 48000), 48000, **options)
    separate(page, tmp_path / name)
    total = sum(soundfile.read(save(page, source, tmp_path))[0] for source in ("foreground", "background"))
    expected = read_audio(tmp_path / name, 48000)[:, 0]
    assert len(total) == len(expected) == 48000
    # Decoders differ by less than what one sample's delay would make.
    assert np.sqrt(np.mean(np.square(total - expected))) < 1e-3 * np.sqrt(np.mean(np.square(expected)))


def test_without_network_it_starts_and_separates_and_asks_nobody(page, url):
    requests = []
    page.context.on("request", lambda request: requests.append(request.url))
    page.context.set_offline(True)
    try:
        page.reload()
        use_one_thread(page)
        separate_example(page)
    finally:
        page.context.set_offline(False)
    assert [address for address in requests if not address.startswith((url, f"blob:{url}"))] == []
    # Nothing can be sent: neither by the page nor by its worker, whose headers the service worker sets.
    (worker,) = (worker for worker in page.workers if worker.url.endswith("js/worker.js"))
    for place in (page, worker):
        assert place.evaluate(SEND) == "refused by connect-src"


def test_it_plays_and_keeps_the_position_when_one_switches(page):
    separate_example(page)
    from playwright.sync_api import expect

    play, seek = page.locator("#play"), page.get_by_role("slider", name="Position")
    play.focus()
    play.press("Enter")  # by keyboard
    expect(page.locator("#time")).to_have_text(re.compile(r"^0\.[4-9] s / 6.8 s$"), timeout=WAIT)
    page.get_by_role("radio", name="Foreground").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="Background").is_checked()
    page.get_by_role("slider", name="Background mixed back").press("End")
    assert page.locator("#kept").inner_text() == "100 %"
    assert page.get_by_role("radio", name="Foreground").is_checked()
    assert "Pause" in play.inner_text() and float(seek.input_value()) > 0.3
    seek.press("End")
    expect(play).to_contain_text("Play", timeout=WAIT)


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_cut_off_at_the_side(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    if page.locator("#result").is_hidden():
        separate_example(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tops = {round(figure.bounding_box()["y"]) for figure in page.locator("#pictures figure").all()}
    assert len(tops) == (1 if width == 1200 else 3)  # side by side on a desktop


def test_cancelling_leaves_the_page_ready(page, tmp_path):
    sound(tmp_path / "long.wav", 120, 16000, 1, "PCM_16")
    page.locator("#file").set_input_files(tmp_path / "long.wav")
    page.locator("#state").get_by_text("0.0 s of 2:00").wait_for(timeout=WAIT)
    page.get_by_role("button", name="Cancel").click()
    page.locator("#work").wait_for(state="hidden")
    assert page.locator("#result").is_hidden() and page.locator("#message").is_hidden()
    sound(tmp_path / "short.wav", 2, 16000, 1, "PCM_16")
    separate(page, tmp_path / "short.wav")
    assert page.locator("#facts").inner_text().startswith("2.0 s of 1 channel at 16000 Hz")


@pytest.mark.parametrize(
    ("name", "words"),
    [("empty.wav", "is empty"), ("text.wav", "No sound that this browser can read"), ("nan.wav", "no numbers"),
     ("none.wav", "no sound"), ("header.flac", "No sound"), ("many.wav", "9 channels"), ("silent.wav", "silent")],
)  # fmt: skip
def test_the_visitor_is_told_what_is_wrong_with_a_file(page, tmp_path, name, words):
    path = tmp_path / name
    if name == "text.wav":
        path.write_text("These are words.\n" * 100)
    elif name == "empty.wav":
        path.touch()
    elif name == "header.flac":
        path.write_bytes(b"fLaC" + b"\x00\x00\x00\x22" + bytes(200))
    else:
        shape = {"many.wav": (800, 9), "none.wav": (0, 1)}.get(name, (8000, 1))
        soundfile.write(path, np.full(shape, np.nan if name == "nan.wav" else 0.0), 8000, "FLOAT")
    separate(page, path)
    shown = page.locator("#facts" if name == "silent.wav" else "#message").inner_text()
    assert words in shown and "\n" not in shown


def test_what_the_microphone_hears_is_separated(url, playwright):
    # Chromium plays the file in place of a microphone, and allows it without asking.
    options = [*OPTIONS, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    options.append(f"--use-file-for-fake-audio-capture={NOISY}")
    browser = playwright.chromium.launch(executable_path=CHROMIUM or "chromium", args=options)
    page = open_page(browser.new_context(permissions=["microphone"]), url)
    page.get_by_role("button", name="Record").click()
    page.wait_for_timeout(1500)
    with separating(page):
        page.get_by_role("button", name="Stop and separate").click()
    assert "at 48000 Hz" in page.locator("#facts").inner_text(), page.locator("#message").inner_text()
    level = page.locator("figcaption span").first.inner_text()
    assert float(level.removesuffix(" dBFS").replace("−", "-")) > -40  # something was heard
    browser.close()
