"""The report as one HTML page, for whoever did not type the command."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imagesmith.pages import draw
from imagesmith.resolve.report import GOOD
from imagesmith.sizes import in_words

if TYPE_CHECKING:
    from imagesmith.resolve.locking import Resolved
    from imagesmith.resolve.report import Entry

_TEMPLATE = "report.html.j2"


def page(resolved: Resolved, title: str) -> bytes:
    """Draw the report; it needs no other file, and its texts may hold anything."""
    report = resolved.report
    return draw(
        _TEMPLATE,
        title=title,
        locked=resolved.lock is not None,
        kept=len(report.kept),
        dropped=len(report.dropped),
        saved=in_words(report.saved),
        added=report.added,
        findings=[finding.as_dict() for finding in resolved.findings],
        entries=[_row(e) for e in sorted(report.entries, key=_order)],
    )


def _row(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), "good": entry.status in GOOD, "size": in_words(entry.size)}


def _order(entry: Entry) -> tuple[bool, bool]:
    """Put what is wrong and needed first, then what is wrong, then what is kept."""
    return entry.status in GOOD or not entry.needed_by, entry.got is None
