"""Resolving: what a capture needs becomes a lock for linux-64, and a report on what it has not."""

from imagesmith.resolve.locking import Resolved, Sources, resolve
from imagesmith.resolve.needed import Wanted, Wish
from imagesmith.resolve.pip_tools import PipToolsSolver
from imagesmith.resolve.platform import Target
from imagesmith.resolve.uv import UvSolver

__all__ = [
    "PipToolsSolver",
    "Resolved",
    "Sources",
    "Target",
    "UvSolver",
    "Wanted",
    "Wish",
    "resolve",
]
