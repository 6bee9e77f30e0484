"""Runs the benchmarks and prints one table: ``python -m benchmarks [NAME]…``.

Every figure is a median of five, taken in turn with what it stands beside, so that a machine that
is busy is busy for both. Compare the ratios, not the figures: those belong to the machine.
"""

import importlib
import sys
from collections.abc import Iterable

from benchmarks.measure import Row

NAMES = (
    *("start", "cold_build", "peers", "rebuild", "push", "growth", "layer"),
    *("round_trip", "pip_lock", "conda_lock"),
)
_HEAD = ("what", "imagesmith", "beside", "", "ratio", "limit")
_WIDTHS = (40, 10, 42, 10, 6, 12)


def main(names: list[str]) -> None:
    """Run the benchmarks of these names, all of them if there is none."""
    print(_cells(_HEAD), _cells(["-" * width for width in _WIDTHS]), sep="\n", flush=True)
    for name in names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        for row in module.rows():
            print(_line(row), flush=True)


def _line(row: Row) -> str:
    ours, beside = (f"{value:.{row.digits}f} {row.unit}" for value in (row.ours, row.of_beside))
    ratio = f"{row.ours / row.of_beside:.2f}" if row.of_beside else ""
    return _cells((row.what, ours, row.beside, beside if ratio else "", ratio, row.limit))


def _cells(texts: Iterable[str]) -> str:
    """Give a line of a table, as it reads in a terminal and in Markdown."""
    padded = (text.ljust(width) for text, width in zip(texts, _WIDTHS, strict=True))
    return f"| {' | '.join(padded)} |"


main(sys.argv[1:])
