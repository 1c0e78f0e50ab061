"""Serves the page of `spaces/in_browser`, whose model runs in the visitor's browser."""

import contextlib
import functools
import http.server
import shutil
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path

from ..hub.spaces import build_space
from ..loading import DEFAULT_MODEL


PACKAGE = Path(__file__).parents[1]
SPACE = PACKAGE.parent / "spaces" / "in_browser"
PORTS = range(7860, 7960)
# Browsers start threads only in a page that no other page can reach.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # a page that was built anew is fetched anew
}


def built_page(space: Path = SPACE, say: Callable[[str], None] = lambda doing: None) -> Path:
    """Builds the page in the Space's folder `build`, if a file that it is made of is newer. Returns its folder.

    `say` is called with what takes a while.

    Raises a ValueError if the Space is not there, or cannot be built.
    """
    if not (space / "build.py").is_file():
        raise ValueError(f"{space}: no such Space; --in-browser needs a clone of the repository, see its README.md")
    page = space / "build" / "page"
    files = [*space.glob("*.*"), *space.glob("js/*"), *(PACKAGE / "pretrained" / DEFAULT_MODEL).iterdir()]
    newest = max(path.stat().st_mtime for path in files)
    done = page / "files.json"
    if not done.is_file() or done.stat().st_mtime < newest:
        say("building the page")
        page.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=page.parent) as part:
            build_space(space, Path(part, "page"))
            shutil.rmtree(page, ignore_errors=True)
            Path(part, "page").rename(page)
    return page


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args) -> None:
        pass


def page_server(page: Path, host: str, port: int | None) -> http.server.ThreadingHTTPServer:
    """A server of a folder, by default on the first free port from 7860. An OSError tells that no port can be had."""
    handler = functools.partial(_Handler, directory=str(page))
    for candidate in PORTS if port is None else [port]:
        with contextlib.suppress(OSError):
            return http.server.ThreadingHTTPServer((host, candidate), handler)
    raise OSError("port in use or not available")


def serve_page(server: http.server.ThreadingHTTPServer, open_browser: bool) -> None:
    """Serves until the user interrupts."""
    host = "127.0.0.1" if server.server_address[0] == "0.0.0.0" else server.server_address[0]
    if open_browser:
        webbrowser.open(f"http://{host}:{server.server_port}/")
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
