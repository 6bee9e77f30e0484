"""The report on what was captured, and what two environments differ in, as columns of text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from imagesmith.cli.columns import columns
from imagesmith.resolve.report import GOOD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagesmith.diff import Change, Part
    from imagesmith.resolve.report import Entry, Report

_HEAD = ("package", "from", "wanted", "got", "linux-64 has", "needed by", "what to do")
_MOST_USERS = 2


def show(report: Report) -> None:
    """Write the report to stderr: what is needed, and what linux-64 lacks, that first."""
    entries = [e for e in report.entries if e.got or e.needed_by or e.status not in GOOD]
    entries.sort(key=lambda e: (e.status in GOOD, e.got is None))
    lines = columns([_HEAD, *map(_row, entries)])
    sys.stderr.write("".join(f"{line}\n" for line in (*lines, totals(report))))


def totals(report: Report) -> str:
    """Sum the report up in a line."""
    dropped = f"{len(report.dropped)} left out ({report.saved / 1e6:.1f} MB less)"
    return f"{len(report.kept)} packages kept, {dropped}, {len(report.added)} added for linux-64"


def changed(changes: Sequence[Change], sizes: Sequence[int]) -> str:
    """Put what two environments differ in on lines, and their sizes on the last."""
    lines = columns([(c.name, c.kind, _part(c.before), _part(c.after)) for c in changes])
    before, after = (f"{size / 1e6:,.1f} MB" for size in sizes)
    return "\n".join([*lines, f"{len(changes)} changes; {before} before, {after} after"])


def bases(described: Sequence[Mapping[str, Any]]) -> str:
    """Put bases on lines: the reference with its digest, Python, glibc, and what it takes."""
    rows = [
        (b["base"], f"Python {b['python']}", f"glibc {b['glibc']}", f"{b['size'] / 1e6:.1f} MB")
        for b in described
    ]
    return "\n".join(columns(rows)) if rows else ""


def _row(entry: Entry) -> tuple[str, ...]:
    users = ", ".join(entry.needed_by[:_MOST_USERS])
    more = len(entry.needed_by) - _MOST_USERS
    return (
        entry.name,
        entry.manager,
        entry.wanted,
        entry.got or "-",
        str(entry.status),
        f"{users} and {more} more" if more > 0 else users or "nothing",
        entry.remedy if entry.needed_by else "",
    )


def _part(part: Part | None) -> str:
    return f"{part.version} ({part.manager})" if part else "-"
