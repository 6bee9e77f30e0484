"""Gzip files of any number of members (RFC 1952), read by ISA-L: it takes half of zlib's time."""

from __future__ import annotations

import gzip
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def gunzip(packed: Path | BinaryIO) -> BinaryIO:
    """Open a gzip file for reading what it says; ValueError is raised where it is damaged."""
    return cast("BinaryIO", _Gunzip(packed))


class _Gunzip(io.BufferedIOBase):
    def __init__(self, packed: Path | BinaryIO) -> None:
        from isal import igzip

        self._plain = igzip.open(packed, "rb")

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        with _sound():
            return bytes(self._plain.read(-1 if size is None else size))

    def close(self) -> None:
        self._plain.close()
        super().close()


@contextmanager
def _sound() -> Iterator[None]:
    from isal.isal_zlib import IsalError

    try:
        yield
    except (gzip.BadGzipFile, IsalError, EOFError) as bad:
        raise ValueError(f"it is damaged: {bad}") from bad
