"""Resolving: what a capture needs becomes a lock for linux-64."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagesmith.resolve.locking import resolve
    from imagesmith.resolve.uv import UvSolver

__all__ = ["UvSolver", "resolve"]

_HOMES = {"UvSolver": "imagesmith.resolve.uv", "resolve": "imagesmith.resolve.locking"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
