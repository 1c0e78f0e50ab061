"""A Hub of one's own: a server on a free loopback port that the real clients cannot tell from the Hub.

    with LocalHub(tmp_path / "hub") as hub:
        hub.create_repo("org/data", "dataset", {"README.md": "…", "clip.wav": content})
        print(hub.run("from datasets import load_dataset; print(load_dataset('org/data'))"))
        assert hub.commits("org/data", "dataset")[0].title == "…"

Clients read `HF_ENDPOINT` when they are imported: they run in processes of their own, by `run` or with `environment`.
The user behind `hub.token` is `alice`, who may write to `org`; who has `hub.guest_token` may read what is public.
"""

import contextlib
import logging
import os
import re
import socket
import textwrap
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import uvicorn

from ..fresh import run_fresh
from .server import make_app
from .store import Commit, Store


@dataclass
class Fault:
    """What happens to the requests (`"GET /path"`) that `pattern` is found in, but for the first `after` of them."""

    pattern: str
    status: int | None
    after: int
    times: float
    delay: float
    break_after: int | None
    requests: list[str] = field(default_factory=list)  # those it hit


class LocalHub:
    """Keeps everything in the folder `root`. `HF_ENDPOINT` must be `url`; `HF_TOKEN` may be `token` or `guest_token`.

    `requests` lists all requests so far as `(method, path, status)`. The status is None if the answer broke off.
    """

    def __init__(self, root: Path):
        self.root = Path(root)
        self.token, self.guest_token = "hf_alice", "hf_guest"
        tokens = {
            self.token: {"name": "alice", "orgs": ["org"], "role": "write"},
            self.guest_token: {"name": "guest", "orgs": [], "role": "read"},
        }
        self.store = Store(self.root, tokens)
        self.requests: list[tuple[str, str, int | None]] = []
        self._faults: list[Fault] = []

    def __enter__(self) -> "LocalHub":
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        app = make_app(self.store, self.url, cdn_url=f"http://localhost:{port}")
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # answers that break off are wanted
        # Few seconds: a client may hold its connection open when the test is over.
        config = uvicorn.Config(
            self._watched(app), lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the local Hub did not start")
            time.sleep(0.005)
        return self

    def __exit__(self, *exception) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)

    # ── Repositories, past the protocol ──

    def create_repo(
        self, repo_id: str, repo_type: str = "model", files: dict | None = None, *, private=False, gated=False
    ) -> None:
        """A repository with `files`, as in `commit`."""
        self.store.create(repo_id, repo_type, private=private, gated=gated)
        if files:
            self.commit(repo_id, files, repo_type)

    def commit(self, repo_id: str, files: dict, repo_type: str = "model", title="files", branch="main") -> str:
        """Adds `files` (path → `str`, `bytes` or the `Path` of a local file); returns the commit's id."""
        repo = self.store.repos[repo_type, repo_id]
        repo.branches.setdefault(branch, repo.branches["main"])
        added = dict(repo.at(branch).files)
        for path, content in files.items():
            content = content.read_bytes() if isinstance(content, Path) else content
            added[path] = self.store.add_blob(path, content.encode() if isinstance(content, str) else content)
        return self.store.commit(repo, branch, title, added).id

    def files(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> dict[str, bytes]:
        """Path → content, without the `.gitattributes` that every repository has."""
        files = self.store.repos[repo_type, repo_id].at(revision).files
        return {
            path: (self.store.blobs / file.key).read_bytes()
            for path, file in sorted(files.items())
            if path != ".gitattributes"
        }

    def commits(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> list[Commit]:
        """The last one first. The last in the list is the initial commit, which every repository has."""
        repo = self.store.repos[repo_type, repo_id]
        commits = [repo.at(revision)]
        while commits[-1].parent:
            commits.append(repo.commits[commits[-1].parent])
        return commits

    def is_private(self, repo_id: str, repo_type: str = "model") -> bool:
        return self.store.repos[repo_type, repo_id].private

    def exists(self, repo_id: str, repo_type: str = "model") -> bool:
        return (repo_type, repo_id) in self.store.repos

    # ── Faults on demand ──

    def fail(
        self,
        pattern: str,
        status: int | None = 503,
        *,
        after: int = 0,
        times: float = 1,
        delay: float = 0,
        break_after: int | None = None,
    ) -> Fault:
        """Requests (`"POST /api/models/org/x/commit/main"`) in which the regular expression `pattern` is found, but
        for the first `after` of them, get `status` as an answer, `times` times (`float("inf")`: always).

        With `delay`, they wait that many seconds; alone (`status=None`), they are answered well then. With
        `break_after`, the connection breaks after so many bytes of the upload, or of the download.
        """
        fault = Fault(pattern, status, after, times, delay, break_after)
        self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Forgets all faults."""
        self._faults.clear()

    def _fault_for(self, request: str) -> Fault | None:
        for fault in self._faults:
            if re.search(fault.pattern, request):
                fault.after -= 1
                if fault.after < 0 and len(fault.requests) < fault.times:
                    fault.requests.append(request)
                    return fault
        return None

    def _watched(self, app):
        """`app` with faults and a record of its requests."""

        async def watched(scope, receive, send):
            import asyncio

            method, path = scope["method"], scope["path"]
            # An encoded slash belongs to the name of a revision (refs%2Fpr%2F1), and does not part the path.
            scope["path"] = unquote(scope["raw_path"].decode().replace("%2F", "%252F"))
            record = [method, path, None]
            self.requests.append(record)
            fault = self._fault_for(f"{method} {path}")

            async def noting_send(message):
                if message["type"] == "http.response.start":
                    record[2] = message["status"]
                await send(message)

            if fault is None:
                return await app(scope, receive, noting_send)
            await asyncio.sleep(fault.delay)
            if fault.break_after is not None:
                record[2] = None
                return await break_off(app, scope, receive, send, fault.break_after)
            if fault.status is None:
                return await app(scope, receive, noting_send)
            headers = [(b"content-type", b"application/json")]
            await noting_send({"type": "http.response.start", "status": fault.status, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error": "as the test demands"}'})

        return watched

    # ── Clients, in processes of their own ──

    def environment(self, *, token: str | bool = True, offline: bool = False, home: str = "home") -> dict[str, str]:
        """The environment for a client: this Hub, a token (True: `hub.token`), a cache of its own (per `home`)."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "COVERAGE"))
            and not name.upper().endswith("_PROXY")
        }
        client = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(self.root / home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
        }
        if token:
            client["HF_TOKEN"] = self.token if token is True else token
        if offline:
            client["HF_HUB_OFFLINE"] = "1"
        return {**kept, **client}

    def run(
        self, code: str, *arguments, without: tuple[str, ...] = (), impatient: bool = False, cwd=None, **environment
    ) -> str:
        """Returns what a fresh interpreter prints that runs `code`, whose error stops the test if it fails.

        `arguments` are its `sys.argv[1:]`. It cannot import the packages in `without`. With `impatient`, it does not
        wait before it tries again. `environment` has the other options.
        """
        prelude = f"import sys\nfor name in {without!r}: sys.modules[name] = None\n"
        if impatient:
            prelude += "import time\ntime.sleep = lambda seconds: None\n"
        code = prelude + textwrap.dedent(code)
        result = run_fresh(code, *map(str, arguments), cwd=cwd or self.root, env=self.environment(**environment))
        assert result.returncode == 0, result.stderr[-4000:]
        return result.stdout


async def break_off(app, scope, receive, send, limit: int) -> None:
    """Answers with a connection that breaks after `limit` bytes of the request's body, or of the answer's."""
    if scope["method"] in ("PUT", "POST"):
        while limit > 0:
            message = await receive()
            limit -= len(message.get("body", b""))
            if not message.get("more_body"):
                break
        headers = [(b"content-length", b"1")]  # which never comes
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        raise ConnectionAbortedError("as the test demands")

    async def limited_send(message):
        nonlocal limit
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            await send({**message, "body": body[:limit], "more_body": True})
            limit -= len(body)
            if limit <= 0:
                raise ConnectionAbortedError("as the test demands")
        else:
            await send(message)

    with contextlib.suppress(ConnectionAbortedError):
        await app(scope, receive, limited_send)
    raise ConnectionAbortedError("as the test demands")
