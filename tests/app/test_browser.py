"""The app in a real browser: headless Chromium, as a visitor uses it."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile


CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="no chromium (Debian's package)")

ROOT = Path(__file__).parents[2]
NOISY = ROOT / "model_cards" / "waveunet-speech-16khz" / "example" / "noisy.wav"
EXAMPLES = ROOT / "dse_hf" / "app" / "examples"
WAIT = 120_000  # ms


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The Space as Hugging Face starts it: `python app.py`, in its folder."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = tmp_path_factory.mktemp("gradio")
    environment = {
        **os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(temporary), "OMP_NUM_THREADS": "1"
    }  # fmt: skip
    log = (temporary / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT / "spaces" / "source_separation",
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}/"
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, Path(log.name).read_text()
            time.sleep(0.5)
    yield address
    process.terminate()
    process.wait(30)
    log.close()


@pytest.fixture(scope="module")
def playwright():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright):
    options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM or "chromium", args=options)
    yield browser
    browser.close()


@pytest.fixture
def page(url, browser):
    """A visitor's page; at its end nothing may stand in the browser's console as an error."""
    context = browser.new_context(accept_downloads=True)
    page, errors = context.new_page(), []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.get_by_role("tab", name="Noise mix").wait_for(timeout=WAIT)
    page.expected_errors = []
    yield page
    context.close()
    assert errors == page.expected_errors


def upload(page, path: Path, place: str = "#input") -> None:
    page.locator(f"{place} input[type=file]").first.set_input_files(path)
    page.locator(f"{place} [data-testid^=waveform], {place} .component-wrapper").first.wait_for(timeout=WAIT)


def press(page, place: str) -> None:
    page.locator(place).click()


def test_a_file_is_separated_as_on_the_command_line(page, tmp_path):
    upload(page, NOISY)
    press(page, "#separate-button")
    page.locator("#results .pictures img").nth(2).wait_for(timeout=WAIT)
    assert page.locator("#results .pictures img").count() == 3
    for name in ("Foreground", "Background"):
        assert page.locator("#results").get_by_text(name, exact=True).first.is_visible()

    for name, file in (("Download foreground", "browser.wav"), ("Download all (zip)", "all.zip")):
        with page.expect_download() as download:
            page.locator("#results").get_by_role("button", name=name).click()
        download.value.save_as(tmp_path / file)

    command = [sys.executable, "-m", "dse_hf", "separate", str(NOISY), "-o", str(tmp_path), "--quiet"]
    subprocess.run(command, check=True, timeout=120)
    expected, rate = soundfile.read(tmp_path / "noisy.foreground.wav", dtype="int16")
    ours, our_rate = soundfile.read(tmp_path / "browser.wav", dtype="int16")
    assert our_rate == rate
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1)
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert sorted(archive.namelist()) == ["noisy.background.wav", "noisy.foreground.wav"]
        assert archive.read("noisy.foreground.wav") == (tmp_path / "browser.wav").read_bytes()


def test_background_is_mixed_back_while_it_plays_without_computing_again(page, tmp_path):
    page.get_by_text("Speech beside a train").click()
    mixer = page.locator(".mixer")
    mixer.wait_for(timeout=WAIT)
    page.wait_for_timeout(500)
    mixer.get_by_role("button").click()
    page.locator(".mixer[data-state=playing]").wait_for(timeout=30_000)
    page.locator(".mixer[data-gain='0.00']").wait_for(timeout=10_000)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    slider = mixer.get_by_role("slider")
    slider.focus()
    slider.press("End")  # by keyboard
    page.locator(".mixer[data-gain='1.00']").wait_for(timeout=10_000)
    assert "100 %" in mixer.inner_text()
    assert requests == []
    mixer.get_by_role("button").click()
    page.locator(".mixer[data-state=stopped]").wait_for(timeout=10_000)
    # The same mix as a file: with all of the background, it is the recording.
    page.locator("#mix-file-button").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download with 100 %").click(timeout=WAIT)
    download.value.save_as(tmp_path / "mix.wav")
    mixed, recording = (
        soundfile.read(path, dtype="int16")[0] for path in (tmp_path / "mix.wav", EXAMPLES / "train.flac")
    )
    np.testing.assert_allclose(mixed, recording, rtol=0, atol=1)


def test_noise_mix_end_to_end(page):
    page.get_by_role("tab", name="Noise mix").click()
    press(page, "#mix-button")
    page.locator("#score-button:not([disabled])").click(timeout=WAIT)
    table = page.locator("#scores table")
    table.wait_for(timeout=WAIT)
    rows = [row.inner_text().split("\t") for row in table.locator("tbody tr").all()]
    scores = {row[0].strip(): [float(cell.replace("−", "-")) for cell in row[1:]] for row in rows}
    before, after = scores["SI-SDR (dB)"]
    assert before == pytest.approx(5.0, abs=0.3)
    assert after > before + 2
    assert set(scores) == {"SI-SDR (dB)", "PESQ", "STOI"}
    press(page, "#send-button")
    page.get_by_role("tab", name="Separate", selected=True).wait_for(timeout=WAIT)
    press(page, "#separate-button")
    page.locator("#results .pictures img").nth(2).wait_for(timeout=WAIT)


@pytest.mark.parametrize("kind", ["none", "silent", "text", "long"])
def test_the_visitor_is_told_what_is_wrong(page, kind, tmp_path):
    path = tmp_path / f"{kind}.wav"
    words = {"none": "No sound yet", "silent": "silent", "text": "text.wav", "long": "the limit here is 120 s"}[kind]
    if kind == "silent":
        soundfile.write(path, np.zeros(16000), 16000)
    elif kind == "text":
        path.write_text("These are words.\n" * 100)
        page.expected_errors = ["Waveform load error: MediaError"]  # the browser cannot draw it either
    elif kind == "long":
        soundfile.write(path, np.full(121 * 4000, 0.1), 4000)
    if kind != "none":
        page.locator("#input input[type=file]").first.set_input_files(path)
        page.locator("#input").get_by_label("Remove").or_(page.locator("#input [aria-label=Clear]")).first.wait_for(
            timeout=WAIT
        )
    press(page, "#separate-button")
    toast = page.locator("[data-testid=toast-body]")
    toast.wait_for(timeout=WAIT)
    assert words in toast.inner_text()
    assert str(tmp_path) not in toast.inner_text() and "/tmp" not in toast.inner_text()


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_cut_off_at_the_side(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_text("Speech in mains hum").click()
    page.locator("#results .pictures img").nth(2).wait_for(timeout=WAIT)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tops = {round(image.bounding_box()["y"]) for image in page.locator("#results .pictures img").all()}
    assert len(tops) == (1 if width == 1200 else 3)  # side by side on a desktop


def test_the_page_needs_no_other_server(url, browser):
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.get_by_role("tab", name="Noise mix").wait_for(timeout=WAIT)
    page.wait_for_timeout(1000)
    page.close()
    assert asked
    assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []


def test_what_the_microphone_hears_is_separated(url, playwright):
    # Chromium plays the file in place of a microphone, and allows it without asking.
    options = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={NOISY}",
    ]
    browser = playwright.chromium.launch(executable_path=CHROMIUM or "chromium", args=options)
    page, errors = browser.new_context(permissions=["microphone"]).new_page(), []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(url)
    page.locator("#input").get_by_role("button", name="Record audio").click(timeout=WAIT)
    page.locator("#input .record-button").click(timeout=WAIT)
    page.wait_for_timeout(2500)
    # On a slow line the recording shows before the server has it.
    held = []
    page.route("**/upload*", lambda route: held.append(route))
    with page.expect_request("**/upload*", timeout=WAIT):
        page.locator("#input .stop-button").click()
    page.locator("#input").get_by_role("button", name="Trim audio to selection").wait_for(timeout=WAIT)
    press(page, "#separate-button")
    toast = page.locator("[data-testid=toast-body]")
    toast.wait_for(timeout=WAIT)
    assert "on its way" in toast.inner_text()
    with page.expect_response("**/audio.wav", timeout=WAIT):  # the player asks for what the server has
        held[0].continue_()
    press(page, "#separate-button")
    page.locator("#results .pictures img").nth(2).wait_for(timeout=WAIT)
    levels = [line.split("\t") for line in page.locator("#results").inner_text().splitlines() if "\t" in line]
    assert [line[0] for line in levels[1:]] == ["input", "foreground", "background"]
    assert float(levels[1][1].replace("−", "-")) > -40  # something was heard
    browser.close()
    assert errors == []
