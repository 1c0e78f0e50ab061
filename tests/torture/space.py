"""The Space in a process of its own: hostile parameters, files, names and requests, slow clients, many visitors."""

import atexit
import functools
import io
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import soundfile

from dse_hf.app.sounds import MAX_MEGABYTES

from .faults import desk, temporary_folder
from .files import damaged_file
from .trials import REFUSED, RIGHT, Case, Trial, check


RATE = 8000
SECRET = "the-servers-secret"
MOST_MEGABYTES = 700  # by how much the server may grow after its first answers: Gradio keeps 2,000 sessions
CHILD = """
import sys
from dse_hf import load_model
from dse_hf.app.interface import build_app, launch_app
launch_app(build_app({"tiny": load_model(sys.argv[1])}), server_port=int(sys.argv[2]), quiet=True)
"""


@dataclass
class Server:
    """The process of the Space, its address, its folder for uploads, and its memory in MB after the first answers."""

    process: subprocess.Popen
    url: str
    uploads: Path
    memory: float = 0.0

    def grown(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 2**20 - self.memory


@functools.cache
def server() -> Server:
    folder = temporary_folder()
    (folder / "secret.txt").write_text(SECRET)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder / "uploads"), "SECRET": SECRET}
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(desk() / "tiny"), str(port)],
        env={**environment, "PYTHONPATH": os.getcwd()},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
    )
    atexit.register(process.kill)
    found = Server(process, f"http://127.0.0.1:{port}/", folder / "uploads")
    deadline = time.monotonic() + 200
    while True:
        try:
            urllib.request.urlopen(found.url, timeout=5).close()
            break
        except OSError:
            check(time.monotonic() < deadline, "the server does not start")
            time.sleep(0.3)
    for number in range(8):  # then it has everything that it loads once
        separate_own_sound(found, np.random.default_rng(number))
    found.memory = psutil.Process(process.pid).memory_info().rss / 2**20
    return found


# ── Requests ──


def request(found: Server, path, body=None, kind="application/json", seconds=60.0, known=None) -> tuple[int, str]:
    """Status and text of an answer, which must reveal nothing of the server except what is `known` to the visitor."""
    asked = urllib.request.Request(found.url + path, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(asked, timeout=seconds) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    text = content.decode(errors="replace")
    check_discreet(text.replace(known, "") if known else text)
    return status, text


def check_discreet(text: str) -> None:
    for word in (SECRET, "Traceback", "root:x:", 'File "', str(desk()), os.getcwd()):
        check(word not in text, f"the answer has {word!r}: {text[:500]!r}")


def call(found: Server, name: str, data, seconds: float = 60, known: str | None = None) -> tuple[str, object]:
    """Calls an endpoint. Returns its last event (`"complete"`, `"error"`, or `"refused"` without one) and its data."""
    body = json.dumps({"data": data}).encode()
    status, text = request(found, f"gradio_api/call/{name}", body, seconds=seconds, known=known)
    if status != 200:
        # 503: the queue is full. Gradio answers some malformed requests with a bare 500.
        told = 400 <= status < 500 or status == 503 or text == "Internal Server Error"
        check(told, f"status {status}: {text[:300]}")
        return "refused", text
    event = json.loads(text)["event_id"]
    status, text = request(found, f"gradio_api/call/{name}/{event}", seconds=seconds, known=known)
    check(status == 200, f"status {status}: {text[:300]}")
    events = [event.split("\n", 1) for event in text.strip().split("\n\n")]
    kind, values = events[-1][0].removeprefix("event: "), events[-1][1].removeprefix("data: ")
    check(kind in ("complete", "error"), f"the last event is {kind!r}")
    return kind, json.loads(values)


def upload(found: Server, content: bytes, name: str, seconds: float = 60) -> tuple[int, str]:
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode(errors="replace") + content + b"\r\n--x--\r\n"
    return request(found, "gradio_api/upload", body, "multipart/form-data; boundary=x", seconds)


def sent_file(path: str) -> dict:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def separate_own_sound(found: Server, rng: np.random.Generator, seconds: float = 60) -> str:
    """Separates a sound as a visitor does: RIGHT if the sources sum to the sound, REFUSED if the queue is full."""
    samples = rng.integers(-8000, 8000, int(rng.integers(100, RATE)), dtype=np.int16)
    sound = io.BytesIO()
    soundfile.write(sound, samples, RATE, format="WAV")
    status, text = upload(found, sound.getvalue(), "own.wav", seconds)
    check(status == 200, f"status {status} for an upload: {text[:300]}")
    kind, values = call(found, "separate", [sent_file(json.loads(text)[0]), "tiny"], seconds)
    if kind != "complete":
        check("full" in str(values), f"lost: {str(values)[:300]}")
        return REFUSED
    paths = [Path(file["path"]) for file in values[0]]
    check(all(path.is_relative_to(found.uploads) for path in paths), f"served: {paths}")
    total = sum(soundfile.read(path, dtype="int16")[0].astype(int) for path in paths)
    np.testing.assert_array_equal(total, samples)
    return RIGHT


# ── Trials ──


PATHS = (
    "/etc/passwd", "../../../../etc/passwd", "file:///etc/passwd", "~/.bashrc", "/proc/self/environ", "/dev/zero",
    "..", "../secret.txt", "secret.txt", "", ".", "\x00", "a" * 5000, "C:\\Windows\\win.ini", "\\\\host\\share",
    "uploads", "/etc/passwd\x00.wav", "....//....//secret.txt", "%2e%2e/secret.txt", "|id", "$(id)", "`id`",
    "; sleep 9", "-y",
)  # fmt: skip
VALUES = (
    *(None, True, 0, -1, 1e308, 2**70, "", "x", [], {}, [[[]]]),
    *({"path": None}, {"path": 5}, {"path": ["a"]}, "\ud800"),
)
PLACES = (
    "", "gradio_api/file=", "file=", "gradio_api/call/separate/", "gradio_api/", "theme.css/", "assets/", "static/",
    "custom_component/", "gradio_api/stream/", "gradio_api/component_server?x=", "svelte/",
)  # fmt: skip
POSTS = (
    "gradio_api/call/separate", "gradio_api/queue/join", "gradio_api/upload", "gradio_api/run/predict", "login",
    "gradio_api/api/separate", "gradio_api/component_server", "gradio_api/reset", "gradio_api/mcp/",
)  # fmt: skip


def run_hostile_parameters(case: Case) -> str:
    """Paths, types and numbers that the page never sends."""
    rng, found = case.rng, server()
    paths = [*PATHS, str(found.uploads.parent / "secret.txt"), str(desk() / "tiny" / "model.safetensors")]
    path = paths[rng.integers(len(paths))]
    value = VALUES[rng.integers(len(VALUES))]
    name, data = case.pick(
        [
            ("separate", [sent_file(path), "tiny"]),
            ("separate", [path, "tiny"]),
            ("separate", [{**sent_file("a.wav"), "url": path, "orig_name": path}, "tiny"]),
            ("separate", [value, "tiny"]),
            ("separate", [None, path]),
            ("separate", [sent_file(path), value]),
            ("separate", [value] * int(rng.integers(0, 5))),
            ("mix", [sent_file(path), "train", None, 5]),
            ("mix", [value, path, sent_file(path), value]),
            ("mix", [None, "your own file", sent_file(path), [float("nan"), float("inf"), "5; id"][rng.integers(3)]]),
            ("models", value),
            (urllib.parse.quote(path.replace("\x00", "") or "x", safe=""), [value]),
        ]
    )
    kind, _ = call(found, name, data, known=f"Value: {path} is not in the list of choices")
    check(kind != "complete" or name == "models", f"{name} took {data!r}")
    return _and_others_are_served(case)


def run_forged_addresses(case: Case) -> str:
    """Addresses in place of files: the server must not fetch them from its own network."""
    rng, asked = case.rng, []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                asked.append(connection.recv(1000))
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        hosts = ("127.0.0.1", "localhost", "0.0.0.0", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]")
        address = f"http://{hosts[rng.integers(len(hosts))]}:{port}/a.wav"
        try:
            files = ({**sent_file(address)}, {**sent_file("a.wav"), "url": address}, {"url": address}, address)
            kind, _ = call(server(), "separate", [case.pick(files), "tiny"])
        finally:
            stop.set()
            thread.join()
    check(kind != "complete", f"took {address}")
    check(not asked, f"the server asked for {address}")
    return _and_others_are_served(case)


def run_forged_uploads(case: Case) -> str:
    """Damaged files with names that lead out of the folder."""
    rng, found = case.rng, server()
    names = [name.replace("\x00", "%00").replace('"', "") for name in PATHS if name]
    name = case.pick(names) + ("" if rng.random() < 0.5 else ".wav")
    status, text = upload(found, damaged_file(case).read_bytes(), name)
    if status != 200:
        check(400 <= status < 500, f"status {status} for {name!r}")
        return _and_others_are_served(case)
    (path,) = map(Path, json.loads(text))
    check(path.resolve().is_relative_to(found.uploads.resolve()), f"{name!r} became {path}")
    kind, values = call(found, "separate", [sent_file(str(path)), "tiny"])
    outcome = RIGHT if kind == "complete" else REFUSED
    if kind == "complete":
        check(len(values[0]) == 2, f"{len(values[0])} files")
    _and_others_are_served(case)
    return outcome


def run_forged_requests(case: Case) -> str:
    """Requests that no browser sends, to all addresses of the server."""
    rng, found = case.rng, server()
    path = urllib.parse.quote(PATHS[rng.integers(len(PATHS))], safe="/%")
    bodies = (b"", b"{", b"null", b"[" * 100_000, b'{"data":' * 5000, rng.bytes(2000), b'{"data": [1], "fn": -1}')
    if case.number % 2:
        target, body = POSTS[rng.integers(len(POSTS))], bodies[rng.integers(len(bodies))]
    else:
        target, body = PLACES[rng.integers(len(PLACES))] + path, None
    status, text = _raw(found, target, body)
    check(status < 600, f"status {status}")
    check_discreet(text)
    return _and_others_are_served(case)


def _raw(found: Server, target: str, body: bytes | None) -> tuple[int, str]:
    """Sends a request without a library, which would correct it."""
    host = urllib.parse.urlsplit(found.url)
    lines = f"{'GET' if body is None else 'POST'} /{target} HTTP/1.1\r\nHost: {host.netloc}\r\nConnection: close\r\n"
    lines += "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection((host.hostname, host.port), timeout=60) as connection:
        connection.sendall(lines.encode() + b"\r\n" + (body or b""))
        connection.settimeout(5)
        answer = b""
        try:
            while len(answer) < 2**20 and (part := connection.recv(65536)):
                answer += part
        except (TimeoutError, ConnectionError):  # a stream of events does not end
            pass
    check(answer.startswith(b"HTTP/1.1 "), f"no answer to {target[:200]}: {answer[:100]!r}")
    return int(answer.split()[1]), answer.decode(errors="replace")


def run_too_much(case: Case) -> str:
    """An endless upload, or one that announces a huge size, must be stopped near the limit."""
    found, limit, chunked = server(), MAX_MEGABYTES << 20, bool(case.number % 2)
    host, sent, answer = urllib.parse.urlsplit(found.url), 0, b""
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n" if chunked else f"Content-Length: {20 * limit}\r\n\r\n"
    start = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    block = case.rng.bytes(1 << 20)
    with socket.create_connection((host.hostname, host.port), timeout=30) as connection:
        connection.sendall(head.encode())
        for part in (start, *[block] * (4 * MAX_MEGABYTES)):
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
            sent += len(part)
            if select.select([connection], [], [], 0)[0]:
                answer = connection.recv(100)
                break
    check(b" 413 " in answer, f"answered by {answer!r} after {sent >> 20} MB")
    check(sent < limit + (32 << 20), f"took {sent >> 20} MB; the limit is {MAX_MEGABYTES}")
    return _and_others_are_served(case)


def run_slow_clients(case: Case) -> str:
    """Clients that do not finish their requests must not keep others waiting."""
    found, connections = server(), []
    host = urllib.parse.urlsplit(found.url)
    try:
        for _ in range(60):
            connection = socket.create_connection((host.hostname, host.port), timeout=30)
            connection.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n")
            connections.append(connection)
        for connection in connections[::2]:
            connection.sendall(b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
        return _and_others_are_served(case)
    finally:
        for connection in connections:
            connection.close()


def run_burst(case: Case) -> str:
    """200 visitors at once: each gets a correct answer, or is told to wait."""
    found, generators = server(), [np.random.default_rng([case.number, visitor]) for visitor in range(200)]
    with ThreadPoolExecutor(200) as pool:
        outcomes = list(pool.map(lambda rng: separate_own_sound(found, rng, 240), generators))
    check(outcomes.count(RIGHT) >= 20, f"{outcomes.count(RIGHT)} of 200 were served")
    return _and_others_are_served(case)


def _and_others_are_served(case: Case) -> str:
    """Checks that the server still works and has not grown. Returns `REFUSED` for what was tried before."""
    found = server()
    check(found.process.poll() is None, "the server ended")
    check(separate_own_sound(found, case.rng) == RIGHT, "the next visitor gets no answer")
    check(found.grown() < MOST_MEGABYTES, f"the server grew by {found.grown():.0f} MB")
    return REFUSED


TRIALS = [
    Trial("space-parameters", run_hostile_parameters, megabytes=None, seconds=150),
    Trial("space-addresses", run_forged_addresses, megabytes=None, seconds=150),
    Trial("space-uploads", run_forged_uploads, megabytes=None, seconds=150),
    Trial("space-requests", run_forged_requests, megabytes=None, seconds=150),
    Trial("space-too-much", run_too_much, megabytes=None, seconds=150, share=0.3),
    Trial("space-slow-clients", run_slow_clients, megabytes=None, seconds=150, share=0.3),
    Trial("space-burst", run_burst, megabytes=None, seconds=400),
]
