"""Fetching: the wheels and packages of a lock come into the store, each proved by its digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagesmith.fetch.download import fetch

__all__ = ["fetch"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from imagesmith.fetch import download

        return getattr(download, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
