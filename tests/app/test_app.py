"""The app's API, as other programs call it: gradio_client, plain HTTP, MCP."""

import asyncio
import base64
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from dse_hf import WaveUNetConfig, WaveUNetModel, separate_file
from dse_hf.app import sounds
from dse_hf.app.handlers import CACHE_SECONDS, delete_broken_uploads
from dse_hf.app.interface import build_app, launch_app


ROOT = Path(__file__).parents[2]
RATE = 16000


def tiny_model(seed: int, sources: list[str]):
    torch.manual_seed(seed)
    config = WaveUNetConfig(
        num_layers=2, channel_growth=4, padding="same", sampling_rate=RATE, sources=sources, output="difference"
    )
    return WaveUNetModel(config).eval()


@pytest.fixture(scope="module")
def models():
    return {"two": tiny_model(0, ["foreground", "background"]), "three": tiny_model(1, ["voice", "drums", "rest"])}


@pytest.fixture(scope="module")
def url(models):
    app = build_app(models)
    _, url, _ = launch_app(app, prevent_thread_lock=True, quiet=True)
    yield url
    app.close()


@pytest.fixture(scope="module")
def client(url):
    return Client(url, verbose=False)


def tone(path: Path, frequency: float = 440.0, seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> Path:
    time = np.arange(int(seconds * rate)) / rate
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([0.3 * np.sin(2 * np.pi * frequency * time)] * channels, axis=1), rate)
    return path


def test_models_and_noises_are_listed(client):
    assert client.predict(api_name="/models") == [
        {"name": "two", "sampling_rate": RATE, "sources": ["foreground", "background"]},
        {"name": "three", "sampling_rate": RATE, "sources": ["voice", "drums", "rest"]},
    ]
    assert client.predict(api_name="/noise_types") == list(sounds.NOISE_TYPES)


@pytest.mark.parametrize("model", ["two", "three"])
def test_separate_gives_what_separate_file_gives(client, models, model, tmp_path):
    source = tone(tmp_path / "my tone.wav", rate=44100, channels=2)
    files, report = client.predict(audio=handle_file(source), model=model, api_name="/separate")
    expected = separate_file(models[model], source, tmp_path / "expected")
    assert report["sources"] == list(expected.outputs) == models[model].config.sources
    for name, file in zip(report["sources"], files):
        ours, _ = soundfile.read(file, dtype="int16")
        theirs, _ = soundfile.read(expected.outputs[name], dtype="int16")
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1)  # threads of the server may sum in another order
        assert report["levels_dbfs"][name] == pytest.approx(expected.levels[name])
        assert report["changes_db"][name] == pytest.approx(expected.levels[name] - report["levels_dbfs"]["input"])
    assert report["levels_dbfs"]["input"] == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.01)


@pytest.mark.parametrize("noise_type", sounds.NOISE_TYPES)
def test_mix_has_the_snr(client, noise_type, tmp_path):
    speech = tone(tmp_path / "speech.wav", seconds=2.0)
    own = handle_file(tone(tmp_path / "own.wav", 1000.0, 0.5, rate=8000)) if noise_type == sounds.OWN_NOISE else None
    mixture, rate = soundfile.read(
        client.predict(clean=handle_file(speech), noise_type=noise_type, noise=own, snr_db=0.0, api_name="/mix")
    )
    clean, _ = soundfile.read(speech)
    assert rate == RATE and mixture.shape == clean.shape
    # The mixture is scale · (clean + noise); what of it is in phase with the tone is nearly all speech.
    scale = mixture @ clean / (clean @ clean)
    snr = 10 * np.log10(np.sum((scale * clean) ** 2) / np.sum((mixture - scale * clean) ** 2))
    assert snr == pytest.approx(0.0, abs=0.5)


BAD_FILES = {
    "silent.wav": "silent",
    "empty.wav": "empty",
    "long.wav": "limit here is 120 s",
    "text.wav": "text.wav",
    "broken.flac": "broken.flac",
    "channels.wav": "9 channels",
}


def write_bad_files(folder: Path) -> None:
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    (folder / "empty.wav").touch()
    soundfile.write(folder / "long.wav", np.full(121 * 4000, 0.1), 4000)
    (folder / "text.wav").write_text("These are words.\n" * 100)
    content = tone(folder / "whole.flac").read_bytes()
    (folder / "broken.flac").write_bytes(content[: len(content) // 2])
    soundfile.write(folder / "channels.wav", np.full((100, 9), 0.1), RATE)


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_sound_that_cannot_be_used_is_told_so_and_the_server_goes_on(client, name, tmp_path):
    write_bad_files(tmp_path)
    with pytest.raises(AppError) as error:
        client.predict(audio=handle_file(tmp_path / name), model="two", api_name="/separate")
    message = str(error.value)
    assert BAD_FILES[name] in message
    assert "/" not in message and "Traceback" not in message
    files, _ = client.predict(audio=handle_file(tone(tmp_path / "good.wav")), model="two", api_name="/separate")
    assert len(files) == 2


def test_only_the_offered_models_can_be_named(client, tmp_path):
    for name in ("org/evil", "../two", str(tmp_path)):
        with pytest.raises(AppError):
            client.predict(audio=handle_file(tone(tmp_path / "a.wav")), model=name, api_name="/separate")


def test_a_defect_of_ours_tells_nothing_of_the_server(client, models, tmp_path, monkeypatch):
    def fail(*args):
        raise RuntimeError("secret /srv/place")

    monkeypatch.setattr(models["two"], "separation_stream", fail)
    with pytest.raises(AppError, match="here, not in your sound") as error:
        client.predict(audio=handle_file(tone(tmp_path / "a.wav")), model="two", api_name="/separate")
    assert "secret" not in str(error.value)


def test_a_mix_of_all_the_background_is_the_recording(tmp_path):
    samples = np.random.default_rng(0).integers(-(2**14), 2**14, (40_000, 2), dtype="int16")
    foreground, rest = samples // 3, samples - samples // 3
    for name, part in (("a.foreground.wav", foreground), ("a.background.wav", rest)):
        soundfile.write(tmp_path / name, part, RATE)
    files = [str(tmp_path / f"a.{source}.wav") for source in ("foreground", "background")]
    for gain, expected in ((0, foreground), (1, samples), (0.5, foreground + rest / 2)):
        sounds.mix_sources(files, gain, tmp_path / f"{gain}.wav")
        np.testing.assert_allclose(soundfile.read(tmp_path / f"{gain}.wav", dtype="int16")[0], expected, atol=1)
    with pytest.raises(ValueError, match=r"A background of 150 %: give 0 to 100"):
        sounds.mix_sources(files, 1.5, tmp_path / "loud.wav")


def call(url: str, name: str, data: list) -> str:
    """The events of a call over plain HTTP."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    address = f"{url}gradio_api/call/{name}"
    request = urllib.request.Request(address, json.dumps({"data": data}).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{address}/{event}", timeout=60) as answer:
        return answer.read().decode()


def test_no_file_of_the_server_can_be_had(url, tmp_path):
    secret = tmp_path / "secret.wav"
    tone(secret)
    for path in ("/etc/passwd", str(secret), str(ROOT / "pyproject.toml")):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{url}gradio_api/file={path}", timeout=30)
        assert error.value.code in (403, 404)
        text = call(url, "separate", [{"path": path, "meta": {"_type": "gradio.FileData"}}, "two"])
        assert "event: error" in text and "root:" not in text


def test_plain_http(url):
    text = call(url, "models", [])
    assert text.startswith("event: complete")
    assert [model["name"] for model in json.loads(text.split("data: ")[1])[0]] == ["two", "three"]


def test_the_api_is_documented_and_the_pages_own_events_are_not_in_it(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/separate", "/mix", "/models", "/noise_types"}
    named = {name: [p["parameter_name"] for p in endpoint["parameters"]] for name, endpoint in endpoints.items()}
    assert named["/separate"] == ["audio", "model"]
    assert named["/mix"] == ["clean", "noise_type", "noise", "snr_db"]


def test_an_mcp_client_gets_the_sources(url, tmp_path):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    source = tone(tmp_path / "tone.wav")
    sent = f"data:audio/wav;base64,{base64.b64encode(source.read_bytes()).decode()}"

    async def list_and_call():
        transport = streamablehttp_client(f"{url}gradio_api/mcp/")
        async with transport as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            separate = next(tool for tool in (await session.list_tools()).tools if tool.name.endswith("separate"))
            return separate, await session.call_tool(separate.name, {"audio": sent, "model": "two"})

    separate, result = asyncio.run(list_and_call())
    assert set(separate.inputSchema["properties"]) == {"audio", "model"}
    assert "Separates a sound" in separate.description
    assert not result.isError, result.content
    urls = re.findall(r"http://[^']+\.wav", result.content[0].text)
    separated = [soundfile.read(io.BytesIO(urllib.request.urlopen(url).read()), dtype="int16")[0] for url in urls]
    assert len(separated) == 2
    np.testing.assert_array_equal(sum(separated), soundfile.read(source, dtype="int16")[0])


@pytest.mark.parametrize("language", ["python", "bash"])
def test_the_readmes_lines_work(url, tmp_path, language):
    text = (ROOT / "spaces" / "source_separation" / "README.md").read_text()
    (code,) = [
        code
        for kind, code in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)
        if kind == language and "SPACE" in code
    ]
    code = code.replace("waveunet-speech-16khz", "two")
    tone(tmp_path / "noisy.wav")
    tone(tmp_path / "clean.wav")
    if language == "python":
        check = "\nassert len(files) == 2 and report and mixture and len(models) == 2 and 'train' in noises"
        command = [sys.executable, "-c", f"SPACE = {url!r}\n{code}{check}"]
    else:
        command = ["bash", "-euc", f"SPACE={url.rstrip('/')}\n{code}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert language == "python" or "event: complete" in result.stdout


def test_an_upload_beyond_the_limit_is_refused(url):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    body += bytes((sounds.MAX_MEGABYTES + 1) << 20) + b"\r\n--x--\r\n"
    request = urllib.request.Request(
        f"{url}gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with pytest.raises((urllib.error.HTTPError, urllib.error.URLError)) as error:
        urllib.request.urlopen(request)
    assert getattr(error.value, "code", 413) == 413


def test_parts_of_uploads_that_broke_off_are_deleted_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    parts = {"tmp_old": 2 * CACHE_SECONDS, "tmp_new": 0, "other": 2 * CACHE_SECONDS}
    (tmp_path / "uploads").mkdir()
    for name, age in parts.items():
        path = tmp_path / "uploads" / name
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    delete_broken_uploads()
    assert {path.name for path in (tmp_path / "uploads").iterdir()} == {"tmp_new", "other"}


def test_visitors_get_their_own_sounds(url, models, tmp_path):
    sources = [tone(tmp_path / "same name" / f"{k}" / "a.wav", 200 + 50 * k, 0.3 + 0.05 * k) for k in range(6)]

    def visit(source: Path) -> list[str]:
        visitor = Client(url, verbose=False, download_files=str(source.parent / "got"))
        return visitor.predict(audio=handle_file(source), model="two", api_name="/separate")[0]

    with ThreadPoolExecutor(len(sources)) as pool:
        answers = list(pool.map(visit, sources))
    for source, files in zip(sources, answers):
        total = sum(soundfile.read(file, dtype="int16")[0].astype(int) for file in files)
        np.testing.assert_array_equal(total, soundfile.read(source, dtype="int16")[0])


def test_no_folder_of_ours_is_left_behind(client, tmp_path, monkeypatch):
    # Only those that this process makes: tests that run beside this one make theirs in the same place.
    made, mkdtemp = [], tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *args, **kwargs: made.append(mkdtemp(*args, **kwargs)) or made[-1])
    client.predict(audio=handle_file(tone(tmp_path / "a.wav")), model="two", api_name="/separate")
    write_bad_files(tmp_path)
    with pytest.raises(AppError):
        client.predict(audio=handle_file(tmp_path / "silent.wav"), model="two", api_name="/separate")
    ours = [folder for folder in made if Path(folder).name.startswith("dse-hf-")]
    assert len(ours) == 2
    assert [folder for folder in ours if Path(folder).exists()] == []


def test_the_app_command_tells_what_to_install_without_gradio(tmp_path):
    (tmp_path / "gradio.py").write_text("raise ImportError('No module named gradio')\n")
    command = [sys.executable, "-m", "dse_hf", "app", "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path)
    assert result.returncode == 1
    assert "pip install 'dse-hf[space]'" in result.stderr and "Traceback" not in result.stderr
