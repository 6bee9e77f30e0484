"""Resolving: what a capture needs becomes a lock for linux-64, and a report on what it has not."""

from imagesmith.resolve.asked import Sources
from imagesmith.resolve.locking import Resolved, resolve
from imagesmith.resolve.needed import Wanted, Wish
from imagesmith.resolve.platform import Target

__all__ = ["Resolved", "Sources", "Target", "Wanted", "Wish", "resolve"]
