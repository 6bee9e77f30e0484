"""The report on what was captured, as a table for a terminal and as lines for a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from imagesmith.resolve.report import GOOD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagesmith.diff import Change, Part
    from imagesmith.resolve.report import Entry, Report

_HEAD = ("package", "wanted", "got", "linux-64 has", "needed by", "what to do")
_MOST_USERS = 2


def show(report: Report) -> None:
    """Write the table to stderr: what is needed, and what linux-64 lacks, that first."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*_HEAD, box=None, pad_edge=False)
    shown = [e for e in report.entries if e.got or e.needed_by or e.status not in GOOD]
    for entry in sorted(shown, key=lambda e: (e.status in GOOD, e.got is None)):
        table.add_row(*_row(entry))
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 160, highlight=False)
    console.print(table, markup=False)
    console.print(totals(report), markup=False)


def totals(report: Report) -> str:
    """Sum the report up in a line."""
    dropped = f"{len(report.dropped)} left out ({report.saved / 1e6:.1f} MB less)"
    return f"{len(report.kept)} packages kept, {dropped}, {len(report.added)} added for linux-64"


def changed(changes: Sequence[Change], sizes: Sequence[int]) -> str:
    """Put what two environments differ in on lines, and their sizes on the last."""
    rows = [(c.name, c.kind, _part(c.before), _part(c.after)) for c in changes]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    before, after = (f"{size / 1e6:,.1f} MB" for size in sizes)
    return "\n".join([*lines, f"{len(changes)} changes; {before} before, {after} after"])


def _part(part: Part | None) -> str:
    return f"{part.version} ({part.manager})" if part else "-"


def _row(entry: Entry) -> tuple[str, ...]:
    users = ", ".join(entry.needed_by[:_MOST_USERS])
    more = len(entry.needed_by) - _MOST_USERS
    return (
        f"{entry.name} ({entry.manager})",
        entry.wanted,
        entry.got or "-",
        str(entry.status),
        f"{users} and {more} more" if more > 0 else users or "nothing",
        entry.remedy if entry.needed_by else "",
    )
