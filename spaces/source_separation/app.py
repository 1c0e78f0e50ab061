"""The Space: separation in the browser. The page, the API and their limits are those of `dse-hf app`."""

import dse_hf.app.zero_gpu  # noqa: F401, ZeroGPU needs to be set up before PyTorch is imported
from dse_hf.app.interface import build_app, launch_app


demo = build_app()

if __name__ == "__main__":
    launch_app(demo)
