"""The Space: separation in the browser. The page, the API and their limits are those of `dse-hf app`."""

import importlib.util


if importlib.util.find_spec("spaces"):  # ZeroGPU: before torch
    import spaces  # noqa: F401

from dse_hf.app.interface import build_app, launch_app


demo = build_app()

if __name__ == "__main__":
    launch_app(demo)
