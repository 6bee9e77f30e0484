"""What has no wheel to choose from: where its source is, and who makes a wheel of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from imagesmith.urls import redacted

if TYPE_CHECKING:
    from imagesmith.resolve.lock import LockedWheel


@dataclass(frozen=True)
class Origin:
    """A distribution and where it comes from, if not as a wheel from an index.

    ``reference`` is a URL as requirements have it (PEP 508, PEP 440's direct references): of a
    wheel, of a source archive, of a repository (``git+https://…@COMMIT#subdirectory=…``) or of a
    folder (``file:///…``), perhaps with credentials. ``digest`` (``sha256:<hex>``) is what an
    archive must have, None if nobody says. ``version`` is None where only a build would tell it.
    """

    name: str
    version: str | None
    reference: str = field(repr=False)
    digest: str | None = None

    @property
    def public(self) -> list[str | None]:
        """The same as JSON data without credentials."""
        return [self.name, self.version, redacted(self.reference), self.digest]

    @property
    def is_folder(self) -> bool:
        """Whether it may be another one the next time, though nothing of this changes."""
        return self.reference.startswith("file:") and self.digest is None


class Maker(Protocol):
    """Makes wheels of what has none."""

    def make(self, origin: Origin) -> LockedWheel:
        """Give the wheel; its bytes are in the store. Raises ImagesmithError: build.…, reach.…"""
