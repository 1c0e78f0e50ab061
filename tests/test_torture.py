"""Some cases of each quick trial of `python -m tests.torture`, and the runner itself."""

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
