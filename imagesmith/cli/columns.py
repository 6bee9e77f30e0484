"""Rows of text in columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


def columns(rows: Sequence[tuple[str, ...]], numbers: Collection[int] = ()) -> Iterator[str]:
    """Set rows in columns, those of ``numbers`` to the right.

    What was captured may hold anything, and a terminal must not obey it.
    """
    plain = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    for row in plain:
        cells = (
            text.rjust(width) if index in numbers else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def printable(text: str) -> str:
    """Give a text as it may be shown on a terminal, in one line."""
    return text if text.isprintable() else ascii(text)[1:-1]
