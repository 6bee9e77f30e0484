"""Runs the benchmarks and prints one table: ``python -m benchmarks [NAME]…``.

Every figure is a median of five, taken in turn with what it stands beside, so that a machine that
is busy is busy for both. Compare the ratios, not the figures: those belong to the machine.
"""

import importlib
import sys

from benchmarks.measure import Row

NAMES = (
    *("start", "cold_build", "rebuild", "layer"),
    *("round_trip", "pip_lock", "conda_lock"),
)


def main(names: list[str]) -> None:
    """Run the benchmarks of these names, all of them if there is none."""
    print(f"{'what':<38}{'imagesmith':>12}  {'beside':<34}{'':>10}{'ratio':>7}  limit")
    for name in names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        for row in module.rows():
            print(_line(row), flush=True)


def _line(row: Row) -> str:
    beside = f"{row.beside:<34}{row.of_beside:>10.{row.digits}f}" if row.beside else " " * 44
    ratio = f"{row.ours / row.of_beside:>7.2f}" if row.beside else " " * 7
    return f"{row.what:<38}{row.ours:>9.{row.digits}f} {row.unit:<2}  {beside}{ratio}  {row.limit}"


main(sys.argv[1:])
