"""One blob on its way into a registry, in parts: one that is cut short costs no more than itself.

Source: OCI distribution-spec 1.1, "Pushing a blob in chunks".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from imagesmith.registry.problems import DeniedError, RefusedError, StoppedError
from imagesmith.store import CHUNK, hex_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imagesmith.image.oci import Descriptor
    from imagesmith.registry.client import Repository

# Bytes of a part. A registry forgets what it got of a request that was cut; each costs a question.
_PART = 64 << 20


class Upload:
    """One blob on its way; ``attempt`` may be called again after whatever it raised."""

    def __init__(
        self,
        repository: Repository,
        blob: Descriptor,
        path: Path,
        sibling: str | None,
        advance: Callable[[int], None],
    ) -> None:
        self._repository = repository
        self._blob = blob
        self._source = _Source(path, blob)
        self._sibling = sibling
        self._advance = advance
        self._told = 0
        self._location: str | None = None
        self._in_parts = True
        self.sent = 0  # bytes, in all attempts
        self._reached = 0  # bytes that the registry has said it has
        self.mounted = False

    def attempt(self) -> None:
        """Bring the blob there unless it is; raises RegistryError, ValueError if it is damaged."""
        if self._repository.has(self._blob.digest):
            self._tell(self._blob.size)
            return
        begin = self._resumed()
        if begin is None:
            self._location = self._started()
        if self._location is None:
            self._tell(self._blob.size)
            self.mounted = True
            return
        parts = self._parts(begin or 0)
        try:
            for part in parts:
                self._append(part)
            self._repository.commit(self._location, self._blob.digest)
        except RefusedError as bad:
            if not bad.passing:
                self._location, self._in_parts = None, False
                # It would not have it in parts: so in one, from the start.
                bad.passing = begin is not None or len(parts) > 1
            raise

    def has_reached(self) -> int:
        """Give how many bytes the registry has had at most, by its own word."""
        return self._reached

    def _started(self) -> str | None:
        sibling, self._sibling = self._sibling, None  # it is tried once
        if sibling:
            try:
                return self._repository.start(self._blob.digest, sibling)
            except (DeniedError, RefusedError) as bad:
                if bad.passing:
                    raise
        return self._repository.start(None, None)

    def _resumed(self) -> int | None:
        """Ask how many bytes of an earlier attempt are there; None if it is to begin anew."""
        known = self._repository.standing(self._location) if self._location else None
        if known is None:
            return None
        self._location, offset = known
        self._reached = max(self._reached, offset)
        return offset if offset <= self._blob.size else None

    def _parts(self, begin: int) -> list[range]:
        """Divide what is still to be sent."""
        end = self._blob.size
        step = _PART if self._in_parts else max(1, end)
        return [range(at, min(at + step, end)) for at in range(begin, end, step)]

    def _append(self, part: range) -> None:
        assert self._location
        is_all = len(part) == self._blob.size
        self._location = self._repository.append(
            self._location, part, lambda: self._body(part), is_all=is_all
        )
        self._reached = max(self._reached, part.stop)

    def _body(self, part: range) -> Iterator[bytes]:
        self._tell(part.start)
        for piece in self._source.pieces(part):
            if self._repository.stopping.is_set():
                raise StoppedError
            yield piece
            self.sent += len(piece)
            self._tell(self._told + len(piece))

    def _tell(self, position: int) -> None:
        self._advance(position - self._told)
        self._told = position


class _Source:
    """A blob's file, read part after part, and proved on the way without being read twice."""

    def __init__(self, path: Path, blob: Descriptor) -> None:
        self._path = path
        self._blob = blob
        self._proof = hashlib.sha256()  # of the first so many bytes
        self._proved = 0

    def pieces(self, part: range) -> Iterator[bytes]:
        """Give a part in pieces; ValueError before the blob's last one if the file is another."""
        if part.start < self._proved:
            self._proof, self._proved = hashlib.sha256(), 0
        proof, place = self._proof.copy(), self._proved
        with self._path.open("rb") as file:
            file.seek(place)
            while place < part.stop:
                # What comes before the part is read for the proof alone.
                end = part.start if place < part.start else part.stop
                piece = file.read(min(CHUNK, end - place))
                proof.update(piece)
                place += len(piece)
                is_last = place == self._blob.size
                wrong = is_last and (proof.hexdigest() != hex_of(self._blob.digest) or file.read(1))
                if not piece or wrong:
                    raise ValueError(f"the blob {self._blob.digest} is damaged")
                if place == part.start:  # the part may be sent once more
                    self._proof, self._proved = proof.copy(), place
                elif place > part.start:
                    yield piece
            self._proof, self._proved = proof, place
