"""A Hub that answers 503 or 429, breaks off, stalls or is away while a model is fetched or published."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import soundfile

from tests.hub.local import LocalHub

from .children import Ended
from .faults import OUTPUTS, RATE, SOUND, desk
from .trials import RIGHT, Case, Trial, check


ANSWERS = ({"status": 503}, {"status": 429}, {"status": 500}, {"status": 404}, {"break_after": 1000}, {"delay": 4})
FETCHED = (r"(GET|HEAD) /org/tiny/resolve", r"(GET|HEAD) /org/tiny/resolve.*safetensors", r"GET /api/models/org/tiny")
PUBLISHED = (r"POST /api/models/org/new/(preupload|commit)", r"\.git/info/lfs", r"PUT /lfs-upload", r"GET /api/models")
SECONDS = 180  # time for a command, however the Hub behaves


def run(hub: LocalHub, arguments: list, case: Case, kill_after: float | None = None) -> Ended:
    """Runs `dse-hf` in a process of its own that uses this Hub."""
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "dse_hf", *map(str, arguments)],
        cwd=case.folder,
        env={**hub.environment(), "PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(timeout=kill_after or SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, errors = process.communicate()
        check(kill_after is not None, f"still running after {SECONDS} seconds")
    return Ended(process.returncode, out, errors, time.monotonic() - start)


def fail(hub: LocalHub, patterns: tuple, case: Case) -> None:
    """Makes the first requests of a kind, or all of them, fail."""
    fault = dict(case.pick(ANSWERS))
    times = [1, 3, float("inf")][case.rng.integers(3)]
    status = fault.pop("status", None)
    hub.fail(patterns[case.rng.integers(len(patterns))], status, after=int(case.rng.integers(2)), times=times, **fault)


def run_fetching(case: Case) -> str:
    soundfile.write(case.folder / SOUND, case.rng.normal(0, 0.1, RATE), RATE, subtype="PCM_16")
    arguments = ["separate", SOUND, "-o", "out", "--model", "org/tiny", "--quiet", "--overwrite"]
    with LocalHub(case.folder / "hub") as hub:
        hub.create_repo("org/tiny", files={path.name: path for path in (desk() / "tiny").iterdir()})
        fail(hub, FETCHED, case)
        outcome = run(hub, arguments, case).outcome()
        check(outcome == RIGHT or not (case.folder / "out").exists(), "refused, but the output folder exists")
        hub.heal()
        check(run(hub, arguments, case).outcome() == RIGHT, "does not work once the Hub is back")
    total = sum(soundfile.read(case.folder / "out" / name, dtype="int16")[0].astype(int) for name in OUTPUTS)
    np.testing.assert_array_equal(total, soundfile.read(case.folder / SOUND, dtype="int16")[0])
    return outcome


def run_publishing(case: Case) -> str:
    """A push that meets a fault changes nothing, and succeeds when it is run again."""
    return _publish(case, lambda hub, arguments: (fail(hub, PUBLISHED, case), run(hub, arguments, case).outcome())[1])


def run_killed_publish(case: Case) -> str:
    def kill(hub: LocalHub, arguments: list) -> str:
        ended = run(hub, arguments, case, kill_after=case.rng.uniform(2, 40))
        check(ended.status in (0, -signal.SIGKILL), f"exit status {ended.status}: {ended.errors[-1500:]}")
        return RIGHT

    return _publish(case, kill)


def _publish(case: Case, disturbed) -> str:
    shutil.copytree(desk() / "tiny", case.folder / "tiny")
    arguments = ["publish", "./tiny", "org/new", "--quiet"]
    with LocalHub(case.folder / "hub") as hub:
        hub.create_repo("org/new", files={"model.safetensors": "old"})
        outcome = disturbed(hub, arguments)
        there = hub.files("org/new")
        check(there == {"model.safetensors": b"old"} or len(there) > 5, f"half a commit: {', '.join(there)}")
        hub.heal()
        check(run(hub, arguments, case).outcome() == RIGHT, "does not work once the Hub is back")
        weights = (desk() / "tiny" / "model.safetensors").stat().st_size
        check(abs(len(hub.files("org/new")["model.safetensors"]) - weights) < 1000, "other weights were published")
    return outcome


TRIALS = [
    Trial("fetching", run_fetching, seconds=500, megabytes=None),
    Trial("publishing", run_publishing, seconds=500, megabytes=None),
    Trial("killed-publish", run_killed_publish, seconds=500, megabytes=None),
]
