"""What a planned layer holds, as tar members: the same for every executor of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from imagesmith.image.plan import FilesLayer, PlannedLayer, PrefixLayer, WheelsLayer
from imagesmith.image.tar import Member, disk_member, file_member, link_member
from imagesmith.image.wheel import ENVIRONMENT, Site, wheel_members

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagesmith.resolve.lock import LockedWheel
    from imagesmith.store import Store


class Compiler(Protocol):
    """Gives the byte code of a wheel: a zip of .pyc files by their path in site-packages."""

    def __call__(self, wheel: LockedWheel, prefix: str) -> Path:
        """Compile a wheel's sources as they will lie below ``prefix``, an absolute path."""


def members(layer: PlannedLayer, store: Store, compiler: Compiler) -> Iterator[Member]:
    """Give a layer's members.

    Raises ValueError for a wheel or a file that may not go into an image.
    """
    match layer:
        case PrefixLayer():
            return _prefix(layer)
        case WheelsLayer():
            return _wheels(layer, store, compiler)
        case FilesLayer():
            return _files(layer)


def _prefix(layer: PrefixLayer) -> Iterator[Member]:
    """Give the frame of a venv (PEP 405) whose home is the base's Python."""
    home = layer.executable.rpartition("/")[0]
    config = f"home = {home}\ninclude-system-site-packages = false\nversion = {layer.python}\n"
    yield file_member(f"{ENVIRONMENT}/pyvenv.cfg", config.encode())
    yield link_member(f"{ENVIRONMENT}/bin/python", layer.executable)
    yield link_member(f"{ENVIRONMENT}/bin/python3", "python")
    yield link_member(f"{ENVIRONMENT}/bin/python{layer.python}", "python")


def _wheels(layer: WheelsLayer, store: Store, compiler: Compiler) -> Iterator[Member]:
    site = Site(layer.python)
    merged: dict[str, Member] = {}
    for wheel in layer.wheels:
        bytecode = compiler(wheel, f"/{site.packages}")
        # Where two wheels bring one path, the later by name wins, as with one installed after
        # the other.
        for member in wheel_members(store.path(wheel.digest), wheel.filename, site, bytecode):
            merged[member.path] = member
    return iter(merged.values())


def _files(layer: FilesLayer) -> Iterator[Member]:
    for path, file in layer.files.items():
        yield disk_member(path, file.path)
    for path, text in layer.texts.items():
        yield file_member(path, text)
    for path, target in layer.links.items():
        yield link_member(path, target)
