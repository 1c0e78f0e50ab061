"""`dse-hf app`: runs the Space on the user's own machine."""

import argparse
import os
import sys

from .console import requiring


HELP = "open the app in the browser"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Opens the app in the browser. It separates sounds and mixes noise, with the embedded models."
    add = parser.add_argument
    add(
        "--in-browser",
        action="store_true",
        help="run the model in the browser instead, as the Space spaces/in_browser; built at the first start, by npm",
    )
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all (default: %(default)s)")
    add("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    add("--no-browser", action="store_true", help="print the address and open no browser")


def run(args: argparse.Namespace) -> int:
    try:
        (_run_in_browser if args.in_browser else _run_gradio)(args)
    except (OSError, OverflowError) as error:  # Gradio tells of ranges of ports, and an option it does not have here
        if "port" not in str(error):
            raise
        place = f"--host {args.host}" if args.port is None else f"--host {args.host} --port {args.port}"
        raise ValueError(f"{place}: in use or not available; give another port with --port, such as 8000") from error
    return 0


def _run_gradio(args: argparse.Namespace) -> None:
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the embedded models need no network
    with requiring("space"):
        from ..app.interface import build_app, launch_app

    launch_app(build_app(), server_name=args.host, server_port=args.port, inbrowser=not args.no_browser)


def _run_in_browser(args: argparse.Namespace) -> None:
    with requiring("export"):  # which the build needs
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    from ..app.in_browser import built_page, page_server, serve_page

    page = built_page(say=lambda doing: print(f"{doing} …", file=sys.stderr))
    server = page_server(page, args.host, args.port)
    print(f"http://{args.host}:{server.server_port}/ (stop it with Ctrl+C)", flush=True)
    serve_page(server, open_browser=not args.no_browser)
