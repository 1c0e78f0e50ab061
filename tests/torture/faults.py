"""Processes that are killed, disks that are full or read-only, and files that change while they are read."""

import atexit
import functools
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from dse_hf import DAEModel
from tests.data.clips import write_clips

from .children import run
from .files import model
from .trials import REFUSED, RIGHT, Case, Trial, check


RATE = 8000
SOUND = "a.wav"
OUTPUTS = ("a.background.wav", "a.foreground.wav")
SEPARATE = ["separate", SOUND, "-o", "out", "--model", "./tiny", "--quiet"]
EVALUATE = ["evaluate", "input", "./tiny", "--speech_dataset", "speech", "--noise_dataset", "noise", "-o", "out"]
EVALUATE += ["--snrs=0,10", "--limit", "4", "--quiet"]
AUTOENCODER = {"hidden_sizes": [24], "latent_dim": 12, "n_fft": 64, "hop_length": 32, "sampling_rate": RATE}


def temporary_folder() -> Path:
    """A folder that is deleted when the worker ends."""
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def desk() -> Path:
    """A folder with a model, a minute of sound, and two small datasets."""
    folder, rng = temporary_folder(), np.random.default_rng(0)
    model().save_pretrained(folder / "tiny")
    soundfile.write(folder / SOUND, rng.normal(0, 0.1, 60 * RATE), RATE)
    for kind in ("speech", "noise"):
        for split in ("train", "validation", "test"):
            write_clips(folder / kind / split, {f"{n}.wav": rng.normal(0, 0.1, RATE) for n in range(2)}, RATE)
    recipe = {
        "model_type": "dae", "model_config": AUTOENCODER, "losses": ["mse"], "speech_dataset": "speech",
        "noise_dataset": "noise", "window_seconds": 0.2, "validation_examples": 2, "eval_clips": 0, "max_steps": 12,
        "per_device_train_batch_size": 2, "per_device_eval_batch_size": 2, "use_cpu": True, "save_steps": 3,
        "save_total_limit": 2, "report_to": [], "disable_tqdm": True, "output_dir": "out",
    }  # fmt: skip
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder


@functools.cache
def undisturbed(*arguments: str) -> tuple[Path, float]:
    """A folder where a command ran to its end, and the seconds that it took."""
    folder = temporary_folder()
    fill(folder)
    ended = run(list(arguments), folder)
    check(ended.outcome() == RIGHT, f"fails undisturbed: {ended.errors[-1500:]}")
    return folder, ended.seconds


def fill(folder: Path) -> None:
    """Copies the files of `desk` into a folder."""
    shutil.copytree(desk(), folder, dirs_exist_ok=True)


def killed(case: Case, arguments: list[str]) -> Path:
    """Kills a command at a random moment. Returns the folder where the command ran undisturbed."""
    whole, seconds = undisturbed(*arguments)
    fill(case.folder)
    ended = run(arguments, case.folder, kill_after=case.rng.uniform(0, 1.1 * seconds))
    check(ended.status in (0, -signal.SIGKILL), f"exit status {ended.status}: {ended.errors[-1500:]}")
    return whole


def shown(folder: Path) -> list[str]:
    """The names of the files in a folder, without temporary files."""
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []


def run_killed_separate(case: Case) -> str:
    whole = killed(case, SEPARATE)
    for name in shown(case.folder / "out"):
        check(name in OUTPUTS, f"{name} was left behind")
        same = (case.folder / "out" / name).read_bytes() == (whole / "out" / name).read_bytes()
        check(same, f"{name} is incomplete")
    check(run([*SEPARATE, "--overwrite"], case.folder).outcome() == RIGHT, "cannot be run again")
    for name in OUTPUTS:
        check((case.folder / "out" / name).read_bytes() == (whole / "out" / name).read_bytes(), f"{name} differs")
    return RIGHT


def run_killed_train(case: Case) -> str:
    arguments = ["train", "recipe.json"]
    whole = killed(case, arguments)
    ended = run(arguments, case.folder)
    check(ended.status == 0, f"does not resume: {ended.errors[-1500:]}")
    first, second = (DAEModel.from_pretrained(folder / "out").state_dict() for folder in (whole, case.folder))
    for name, weight in first.items():
        difference = (weight - second[name]).abs().max().item()
        check(difference <= 1e-5, f"{name} differs by {difference:.1e} from a run that was not killed")
    return RIGHT


def check_run_again(arguments: list[str], whole: Path, case: Case) -> None:
    check(run(arguments, case.folder).outcome() == RIGHT, "cannot be run again")
    expected, given = (json.loads((at / "out" / "results.json").read_text())["models"] for at in (whole, case.folder))
    check(given == expected, "other scores than those of a run that was not disturbed")


def run_killed_evaluate(case: Case) -> str:
    arguments = [*EVALUATE, "--jobs", str(1 + case.number % 2)]
    whole = killed(case, arguments)
    results = case.folder / "out" / "results.json"
    if results.exists():
        json.loads(results.read_text())
    check_run_again(arguments, whole, case)
    return RIGHT


def run_dead_worker(case: Case) -> str:
    """One of the processes of an evaluation dies. The command reports it, and resumes when it is run again."""
    arguments = [*EVALUATE, "--jobs", "2"]
    whole, seconds = undisturbed(*arguments)
    fill(case.folder)

    def kill_a_worker(process: int) -> None:
        time.sleep(case.rng.uniform(0, seconds))
        children = Path(f"/proc/{process}/task/{process}/children")
        workers = children.read_text().split() if children.exists() else []
        if workers:
            os.kill(int(workers[-1]), signal.SIGKILL)

    outcome = run(arguments, case.folder, meanwhile=kill_a_worker).outcome()
    check_run_again(arguments, whole, case)
    return outcome


# ── Disks ──


class SmallDisk:
    """A folder on a small disk of its own, if the process may mount one."""

    def __init__(self, folder: Path, kilobytes: int):
        self.folder, self.options = folder, f"size={kilobytes}k"

    def __enter__(self) -> bool:
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", self.options, "tmpfs", self.folder]
        self.mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
        return self.mounted

    def __exit__(self, *error) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=True)


def run_full_disk(case: Case) -> str:
    whole, _ = undisturbed(*SEPARATE)
    size = (whole / "out" / OUTPUTS[0]).stat().st_size
    room = int(case.rng.uniform(0, 2.5 * size))
    fill(case.folder)
    out = case.folder / "out"
    with SmallDisk(out, max(4, room // 1024)) as is_small:

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing fails, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (room // 2, room // 2))

        outcome = run(SEPARATE, case.folder, inside=None if is_small else limit).outcome()
        expected = sorted(OUTPUTS) if outcome == RIGHT else []
        left = sorted(path.name for path in out.iterdir())
        check(left == expected, f"{outcome}, but the folder has {left}")
        for name in expected:
            check((out / name).read_bytes() == (whole / "out" / name).read_bytes(), f"{name} is incomplete")
    return outcome


def run_read_only(case: Case) -> str:
    fill(case.folder)
    out = case.folder / "out"
    with SmallDisk(out, 4096) as is_own:
        if is_own:
            subprocess.run(["mount", "-o", "remount,ro", out], check=True)
        elif os.geteuid() == 0:  # permissions do not stop root
            out.rmdir()
            out.write_bytes(b"")
        else:
            out.chmod(0o555)
        outcome = run(SEPARATE, case.folder).outcome()
        check(outcome == REFUSED, "it succeeded, but it cannot have written there")
        check(out.is_file() or not list(out.iterdir()), "the folder is not empty")
    return outcome


# ── Files that change ──


def truncate(path: Path, rng: np.random.Generator) -> None:
    os.truncate(path, int(rng.integers(path.stat().st_size)))


def grow(path: Path, rng: np.random.Generator) -> None:
    with path.open("ab") as file:
        file.write(rng.bytes(int(2 ** rng.uniform(0, 20))))


def vanish(path: Path, rng: np.random.Generator) -> None:
    path.unlink()


def become_text(path: Path, rng: np.random.Generator) -> None:
    path.write_text("no sound any more\n" * int(rng.integers(1, 10000)))


def run_changing_input(case: Case) -> str:
    change = case.pick([truncate, grow, vanish, become_text])
    _, seconds = undisturbed(*SEPARATE)
    fill(case.folder)
    sound = case.folder / SOUND
    original, _ = soundfile.read(sound, dtype="int16")

    def disturb(process: int) -> None:
        time.sleep(case.rng.uniform(0, seconds))
        change(sound, case.rng)

    outcome = run(SEPARATE, case.folder, meanwhile=disturb).outcome()
    out = case.folder / "out"
    left = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if outcome == REFUSED:
        check(not left, f"refused, but the folder has {left}")
        return REFUSED
    sources = [soundfile.read(out / name, dtype="int16")[0] for name in OUTPUTS]
    total = sum(source.astype(np.int64) for source in sources)
    if change in (vanish, grow):
        kept = min(len(total), len(original))
        np.testing.assert_array_equal(total[:kept], original[:kept])
    return RIGHT


TRIALS = [
    Trial("killed-separate", run_killed_separate, quick=2, seconds=240, megabytes=None),
    Trial("killed-train", run_killed_train, seconds=400, megabytes=None),
    Trial("killed-evaluate", run_killed_evaluate, seconds=400, megabytes=None),
    Trial("dead-worker", run_dead_worker, most=50, seconds=400, megabytes=None),
    Trial("full-disk", run_full_disk, quick=2, seconds=240, megabytes=None),
    Trial("read-only", run_read_only, quick=1, most=3, seconds=240, megabytes=None),
    Trial("changing-input", run_changing_input, quick=4, seconds=240, megabytes=None),
]
