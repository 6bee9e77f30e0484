"""A stream that is checked while it is read."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from imagesmith.store import CHUNK

if TYPE_CHECKING:
    from typing import BinaryIO


class Hashed(io.BufferedIOBase):
    """A readable stream that knows the digest and the size of what was read from it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Read on."""
        data = self._source.read(-1 if size is None else size)
        self._hash.update(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        """Read what is left."""
        while self.read(CHUNK):
            pass

    @property
    def digest(self) -> str:
        """The digest of what was read so far, ``sha256:<hex>``."""
        return f"sha256:{self._hash.hexdigest()}"
