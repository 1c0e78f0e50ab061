"""`dse-hf app`: the Space on your own machine."""

import argparse
import os

from .console import FAILURE, complain


HELP = "open the app in the browser"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Opens the app in the browser: separation and noise mix, with the embedded models."
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 for all (default: %(default)s)")
    add("--port", type=int, help="(default: the first free one from 7860)")
    add("--no-browser", action="store_true", help="only print the address")


def run(args: argparse.Namespace) -> int:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the embedded models need no network
    try:
        from ..app.interface import build_app, launch_app
    except ImportError as error:
        complain(f"app: {error}; run: pip install 'dse-hf[space]'")
        return FAILURE
    try:
        launch_app(build_app(), server_name=args.host, server_port=args.port, inbrowser=not args.no_browser)
    except (OSError, ValueError) as error:
        complain(error)
        return FAILURE
    return 0
