"""The report: every captured package, what linux-64 has of it, and what it came to.

It is data, for report.json and for whoever draws it: the terminal's table, the HTML page.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(StrEnum):
    """What linux-64 has of a captured package."""

    EXACT = "exact"
    OTHER_BUILD = "other build"
    OTHER_CHANNEL = "other channel"
    VERSION_MISSING = "version missing"
    PLATFORM_ONLY = "platform only"
    MISSING = "missing"
    WHEEL = "wheel"
    SDIST_ONLY = "sdist only"
    NO_LINUX_WHEEL = "no linux wheel"
    YANKED = "yanked"
    NOT_ON_INDEX = "not on an index"


GOOD = frozenset({Status.EXACT, Status.OTHER_BUILD, Status.OTHER_CHANNEL, Status.WHEEL})


@dataclass(frozen=True)
class Entry:
    """One captured package.

    ``manager`` is conda or pip; ``wanted`` the captured version, ``got`` the locked one (None: it
    is not in the lock); ``needed_by`` is empty for what nothing needs; ``remedy`` says what to type
    where something is the matter; ``size`` is in bytes, as it was installed.
    """

    manager: str
    name: str
    wanted: str
    got: str | None
    status: Status
    needed_by: tuple[str, ...]
    remedy: str
    size: int


@dataclass(frozen=True)
class Report:
    """All entries, sorted by name, and what is in the lock though it was not captured."""

    entries: tuple[Entry, ...]
    added: tuple[str, ...]

    @property
    def kept(self) -> tuple[Entry, ...]:
        """What is in the lock."""
        return tuple(entry for entry in self.entries if entry.got is not None)

    @property
    def dropped(self) -> tuple[Entry, ...]:
        """What is not."""
        return tuple(entry for entry in self.entries if entry.got is None)

    @property
    def saved(self) -> int:
        """The bytes that what was dropped had in the environment."""
        return sum(entry.size for entry in self.dropped)

    def locked(self, versions: Mapping[tuple[str, str], str]) -> Report:
        """Fill in what was locked: versions by manager and name."""
        entries = tuple(replace(e, got=versions.get((e.manager, e.name))) for e in self.entries)
        known = {(entry.manager, entry.name) for entry in entries}
        added = tuple(sorted(f"{name} {versions[m, name]}" for m, name in versions.keys() - known))
        return Report(entries, added)

    def as_json(self) -> dict[str, Any]:
        """Give the report as plain JSON data, totals included."""
        return {
            "entries": [dict(vars(entry)) for entry in self.entries],
            "added": self.added,
            "totals": {
                "kept": len(self.kept),
                "dropped": len(self.dropped),
                "saved_bytes": self.saved,
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """Read what as_json gave."""
        entries = (
            Entry(**{**e, "status": Status(e["status"]), "needed_by": tuple(e["needed_by"])})
            for e in data["entries"]
        )
        return cls(tuple(entries), tuple(data["added"]))
