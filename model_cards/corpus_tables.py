"""Prints the numbers of a corpus: minutes by split, package, kind and bandwidth."""

SPLITS = ("train", "validation", "test")
FULL_BAND = 15  # kHz


def print_table(summary: dict) -> None:
    for dataset in ("speech", "noise"):
        minutes, clips = summary[dataset]["minutes"], summary[dataset]["clips"]
        print(f"{dataset:32}{''.join(f'{split:>12}' for split in SPLITS)}   (minutes)")
        for key in sorted({key for split in SPLITS for key in minutes[split]}):
            print(f"  {key:30}{''.join(f'{minutes[split].get(key, 0):12.1f}' for split in SPLITS)}")
        print(f"  {'clips':30}{''.join(f'{clips[split]:12}' for split in SPLITS)}")


def print_markdown(summary: dict) -> None:
    """Prints the table of a `CORPUS.md`: minutes by package and split, and how many of them are full band."""
    print("| | package | licence |", " | ".join(SPLITS), "|")
    print("|---|---|---|---|---|---|")
    for dataset in ("speech", "noise"):
        by_khz = summary[dataset]["minutes_by_bandwidth"]
        for package in sorted({package for split in SPLITS for package in by_khz[split]}):
            cells = [_cell([by_khz[split].get(package, {})]) for split in SPLITS]
            print(f"| {dataset} | {package} | {summary['licences'][package]} |", " | ".join(cells), "|")
        clips = " + ".join(f"{summary[dataset]['clips'][split]:,}" for split in SPLITS)
        cells = [f"**{_cell(list(by_khz[split].values()))}**" for split in SPLITS]
        print(f"| **{dataset}** | {clips} clips | |", " | ".join(cells), "|")
    packages = set(summary["licences"])
    minutes = summary["noise"]["minutes"]
    kinds = sorted({kind for split in SPLITS for kind in minutes[split]} - packages)
    by_kind = [" ".join([kind, *(str(minutes[split].get(kind, 0)) for split in SPLITS)]) for kind in kinds]
    print(f"\nNoise by kind ({', '.join(SPLITS)}):", "; ".join(by_kind) + ".")
    print("\nMinutes by bandwidth (below 9 kHz, 9 to 15 kHz, 15 kHz or more):\n")
    for dataset in ("speech", "noise"):
        for split in SPLITS:
            found = list(summary[dataset]["minutes_by_bandwidth"][split].values())
            parts = [_minutes_between(found, *ends) for ends in ((0, 9), (9, FULL_BAND), (FULL_BAND, 25))]
            print(f"- {dataset}, {split}:", ", ".join(f"{part:.1f}" for part in parts))


def _cell(counts: list[dict[str, float]]) -> str:
    """Returns the minutes, and in brackets those that are full band."""
    total, full = _minutes_between(counts, 0, 25), _minutes_between(counts, FULL_BAND, 25)
    return f"{total:.1f} ({full:.1f})" if total else "–"


def _minutes_between(counts: list[dict[str, float]], low: int, high: int) -> float:
    return sum(value for count in counts for key, value in count.items() if low <= int(key) < high)
