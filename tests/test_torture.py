"""Some cases of each quick trial of `python -m tests.torture`, and the runner itself."""

import os
import subprocess
import sys

import pytest

from tests.torture import all_trials
from tests.torture.runner import run_trials
from tests.torture.trials import REFUSED, Failure, refusal


def test_some_cases_of_each_quick_trial(tmp_path):
    quick = [trial for trial in all_trials().values() if trial.quick]
    told = []
    tallies = run_trials(quick, seed=8, kept=tmp_path / "kept", limit=lambda trial: trial.quick, tell=told.append)
    assert not told, "\n".join(told)
    assert {name: tally.cases for name, tally in tallies.items()} == {trial.name: trial.quick for trial in quick}


def test_refusal_is_one_readable_line():
    assert refusal(ValueError("a.wav: empty, 0 bytes; record it again")) == REFUSED
    for message in ("", "two\nlines", "x" * 2000, "bell \a", "<object at 0x7f00>"):
        with pytest.raises(Failure):
            refusal(ValueError(message))
    with pytest.raises(KeyError):
        refusal(KeyError("foreground"))


KILLED_WITH_THE_LOCK = """
import os, signal
from tqdm.auto import tqdm
from tests.torture.worker import unshare_progress_lock

unshare_progress_lock()
list(tqdm(range(2)))
child = os.fork()
if child == 0:
    tqdm.get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
list(tqdm(range(2)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the trials that kill processes fork them")
def test_a_process_killed_while_it_prints_progress_blocks_no_other():
    subprocess.run([sys.executable, "-c", KILLED_WITH_THE_LOCK], timeout=120, check=True, capture_output=True)
