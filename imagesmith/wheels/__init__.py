"""Wheels: what an index has as source only, a project's folder or a repository becomes a wheel."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagesmith.wheels.build import BuiltWheel, WheelBuilder
    from imagesmith.wheels.git import checkout
    from imagesmith.wheels.source import Source, of_folder

__all__ = ["BuiltWheel", "Source", "WheelBuilder", "checkout", "of_folder"]

_HOMES = {
    "BuiltWheel": "imagesmith.wheels.build",
    "Source": "imagesmith.wheels.source",
    "WheelBuilder": "imagesmith.wheels.build",
    "checkout": "imagesmith.wheels.git",
    "of_folder": "imagesmith.wheels.source",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
