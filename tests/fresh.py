"""Runs code in interpreters that have not imported dse_hf, in a fraction of the time that a new process takes.

Most of that time goes into importing PyTorch and transformers. A server process imports them once and forks itself for
every run. Each run has its own environment, folder, arguments, output and further imports.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


# What the server imports before it forks. Hugging Face clients read their settings from the environment when they are
# imported, so that a run that sets them starts from TORCH.
TORCH = "numpy sympy torch torch._dynamo torch.distributed.tensor torch.export"
TRANSFORMERS = (
    TORCH + " transformers.pipelines transformers.trainer datasets scipy.signal torchmetrics.functional.audio"
)

SERVER = """
import contextlib, importlib, json, os, signal, sys, torch
for name in "%s".split():
    with contextlib.suppress(ImportError):  # some need extras that may not be installed
        importlib.import_module(name)

def run(code, arguments, cwd, environment, output, error):
    signal.alarm(600)  # ends a run that hangs
    for path, number in ((os.devnull, 0), (output, 1), (error, 2)):
        os.dup2(os.open(path, os.O_RDWR), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS") or os.cpu_count()))
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})

for line in sys.stdin:
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{status}\\n")
        sys.stdout.flush()
    else:
        run(**json.loads(line))
        sys.exit()
"""
_servers: dict[str, subprocess.Popen] = {}


def run_fresh(code: str, *arguments: str, cwd=None, env=None, imported: str = TORCH) -> subprocess.CompletedProcess:
    """Does what `subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)` does.

    Args:
        imported: what the server imports before it forks, `TORCH` or `TRANSFORMERS`.
    """
    if sys.platform != "linux":  # forking a process that has imported PyTorch is not safe elsewhere
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    with tempfile.TemporaryDirectory() as folder:
        output, error = Path(folder, "stdout"), Path(folder, "stderr")
        output.touch()
        error.touch()
        environment = dict(os.environ if env is None else env)
        request = {"code": code, "arguments": arguments, "cwd": str(cwd or os.getcwd()), "environment": environment}
        server = _server(imported)
        server.stdin.write(json.dumps({**request, "output": str(output), "error": str(error)}) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(["-c", code], status, output.read_text(), error.read_text())


def run_script(path, *arguments: str, **options) -> subprocess.CompletedProcess:
    """Does what `python path …` does, with `run_fresh`."""
    code = "import os, runpy, sys; sys.argv = sys.argv[1:]; sys.path[0] = os.path.dirname(sys.argv[0]); "
    return run_fresh(code + "runpy.run_path(sys.argv[0], run_name='__main__')", str(path), *arguments, **options)


def run_dse_hf(*arguments: str, **options) -> subprocess.CompletedProcess:
    """Does what `dse-hf …` does, with `run_fresh`."""
    return run_fresh("import sys; from dse_hf.cli import main; sys.exit(main())", *arguments, **options)


def _server(imported: str) -> subprocess.Popen:
    """The process that forks itself. It ends when this process ends."""
    if imported not in _servers:
        command = [sys.executable, "-c", SERVER % imported]
        environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}  # its thread would not survive the fork
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        atexit.register(server.stdin.close)
        _servers[imported] = server
    return _servers[imported]
