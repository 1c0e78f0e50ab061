"""`python -m tests.torture --minutes 10` runs the trials and prints a table. The exit status is 1 if a case failed."""

import argparse
import secrets
import sys
from pathlib import Path

from . import all_trials
from .runner import run_trials, table


def main(arguments: list[str] | None = None) -> int:
    trials = all_trials()
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description="Tries to break dse-hf.")
    parser.add_argument("--minutes", type=float, default=10.0, help="time for all trials together (default: 10)")
    parser.add_argument("--only", metavar="NAME,…", help=f"run only some of {', '.join(trials)}")
    parser.add_argument("--seed", type=int, help="seed of all random numbers (default: a new one in each run)")
    parser.add_argument("--case", type=int, help="run only this case of the trials in --only")
    parser.add_argument("--kept", type=Path, default=Path("torture-failures"), help="folder for failed cases")
    options = parser.parse_args(arguments)
    names = options.only.split(",") if options.only else list(trials)
    for name in names:
        if name not in trials:
            parser.error(f"no trial {name!r}; choose among {', '.join(trials)}")
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    tallies = run_trials(
        [trials[name] for name in names],
        seed,
        options.kept,
        minutes=options.minutes if options.case is None else float("inf"),
        limit=lambda trial: trial.most if options.case is None else 1,
        first=options.case or 0,
        tell=lambda line: print(line, flush=True),
    )
    print(table(tallies))
    failed = any(tally.failed for tally in tallies.values())
    if failed:
        print(f"The failed cases are in {options.kept}, each with its error and the command that runs it again.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
