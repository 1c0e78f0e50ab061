"""`dse-hf publish`: the command line of the package `hub`."""

import argparse
import sys

from .console import quiet_libraries


HELP = "push a model or a Space to the Hub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Checks the folder of a model, writes its card, reloads the model in a process without dse_hf, and pushes all "
        "files in one commit. Run again, it pushes what has changed."
    )
    add = parser.add_argument
    add(
        "folder",
        metavar="FOLDER",
        help="folder of a model, or name of an embedded one; with --space, folder of a Space",
    )
    add("repo_id", metavar="OWNER/NAME", help="repository on the Hub; it is made if it does not exist")
    add("--space", action="store_true", help="publish a Space instead of a model")
    add("--private", action="store_true", help="make a new repository private")
    add("--revision", metavar="BRANCH", help="branch to push to; it is made if it does not exist (default: main)")
    add("--dry-run", action="store_true", help="send nothing; print the list of files and the card")
    add("--quiet", action="store_true", help="print failures only")


def run(args: argparse.Namespace) -> int:
    from ..hub import publish_model, publish_space

    with quiet_libraries(bars=sys.stderr.isatty() and not args.quiet):
        publication = (publish_space if args.space else publish_model)(
            args.folder,
            args.repo_id,
            private=args.private,
            revision=args.revision,
            dry_run=args.dry_run,
            progress=None if args.quiet else _say,
        )
    if args.dry_run:
        _show(publication)
    elif not args.quiet:
        size = sum(publication.files.values())
        done = f"{len(publication.files)} files, {_megabytes(size)}" if publication.changed else "nothing has changed"
        print(f"{publication.repo_id}: {done}, commit {str(publication.commit)[:7]}\n  {publication.url}")
    return 0


def _show(publication) -> None:
    print(f"{publication.repo_id}: {_megabytes(sum(publication.files.values()))}, not sent (--dry-run)")
    for path, size in publication.files.items():
        print(f"{size:>12,}  {path}")
    print(f"\n{publication.card}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _say(doing: str) -> None:
    sys.stderr.write(f"{doing} …\n")
