"""`python -m tests.torture --minutes 10`: runs the trials and prints a table; exit status 1 if any case failed."""

import argparse
import secrets
import sys
from pathlib import Path

from . import all_trials
from .runner import run_trials, table


def main(arguments: list[str] | None = None) -> int:
    trials = all_trials()
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description="Tries hard to break dse-hf.")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all trials together (default: 10)")
    parser.add_argument("--only", metavar="NAME,…", help=f"some of the trials: {', '.join(trials)}")
    parser.add_argument("--seed", type=int, help="of all chance; by default another one in each run")
    parser.add_argument("--case", type=int, help="run this one case of the trials in --only")
    parser.add_argument("--kept", type=Path, default=Path("torture-failures"), help="folder for cases that fail")
    options = parser.parse_args(arguments)
    names = options.only.split(",") if options.only else list(trials)
    for name in names:
        if name not in trials:
            parser.error(f"no trial {name!r}; there are {', '.join(trials)}")
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
        print(f"Cases that failed are in {options.kept}, each with its error and the command that runs it again.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
