"""A lock as data: the exact wheels of an environment on linux-64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagesmith.resolve.platform import Target


@dataclass(frozen=True)
class LockedWheel:
    """One wheel of a lock.

    ``name`` is normalised (PEP 503), ``url`` http, https or file and without anything secret,
    ``digest`` ``sha256:<hex>``.
    """

    name: str
    version: str
    filename: str
    url: str
    digest: str


@dataclass(frozen=True)
class Lock:
    """The wheels of an environment, sorted by name."""

    target: Target
    wheels: tuple[LockedWheel, ...]
