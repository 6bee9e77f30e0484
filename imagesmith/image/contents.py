"""What a planned layer holds, as tar members: the same for every executor of a plan."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.image.conda import conda_members
from imagesmith.image.plan import (
    CondaLayer,
    FilesLayer,
    PlannedLayer,
    PrefixLayer,
    WheelsLayer,
)
from imagesmith.image.sources import byte_code
from imagesmith.image.system import SystemLayer, system_members
from imagesmith.image.tar import Member, disk_member, file_member, link_member
from imagesmith.image.wheel import ENVIRONMENT, Site, archives, check_wheel, wheel_members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.image.bytecode import ByteCode
    from imagesmith.image.sources import Compiler
    from imagesmith.resolve.lock import LockedWheel
    from imagesmith.store import Store

# Wheels compiled at a time.
_AT_A_TIME = min(8, os.cpu_count() or 1)


def members(layer: PlannedLayer, store: Store, compiler: Compiler) -> Iterator[Member]:
    """Give a layer's members.

    Raises ValueError for a wheel or a file that may not go into an image, ImagesmithError
    (build.package) for conda packages that may not, and DamagedError for what the store damaged.
    """
    match layer:
        case SystemLayer():
            return system_members(layer.packages, store)
        case PrefixLayer():
            return _prefix(layer)
        case CondaLayer():
            return conda_members(layer.packages, layer.python, store, compiler)
        case WheelsLayer():
            return _wheels(layer, store, compiler)
        case FilesLayer():
            return _files(layer, compiler)


def refused(layer: PlannedLayer, bad: Exception) -> Finding:
    """Say of what a layer's members could not be made."""
    if isinstance(layer, WheelsLayer):
        code, remedy = "build.wheel", "the wheel is not well-formed: lock another version of it"
    elif isinstance(layer, CondaLayer):
        code, remedy = "build.package", "a package is not well-formed: lock another build of it"
    elif isinstance(layer, SystemLayer):
        code, remedy = "build.package", "name another package with --apt"
    else:
        code, remedy = "build.file", "capture again, and leave the bundle alone while it is built"
    message = f"the layer of {layer.comment} cannot be made: {bad}"
    return error(code, layer.comment, message, remedy)


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
    opened = archives()
    merged: dict[str, Member] = {}
    compiling = partial(_compiled, site=site, store=store, compiler=compiler)
    # Side by side, since the work is another process's: light wheels are many.
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for wheel, bytecode in zip(layer.wheels, pool.map(compiling, layer.wheels), strict=True):
            path = store.path(wheel.digest)
            # Where two wheels bring one path, the later by name wins, as with one installed after
            # the other.
            with _told_of(wheel):
                for member in wheel_members(path, wheel.filename, site, bytecode, opened):
                    merged[member.path] = member
    return iter(merged.values())


def _compiled(wheel: LockedWheel, site: Site, store: Store, compiler: Compiler) -> ByteCode:
    store.prove(wheel.digest, wheel.filename)
    path = store.path(wheel.digest)
    with _told_of(wheel):
        try:
            return compiler(path, wheel.digest, f"/{site.packages}")
        except ImagesmithError:
            check_wheel(path)  # the interpreter is not to blame for a damaged wheel
            raise


@contextmanager
def _told_of(wheel: LockedWheel) -> Iterator[None]:
    """Name the wheel in a ValueError."""
    try:
        yield
    except ValueError as bad:
        raise ValueError(f"{wheel.filename}: {bad}") from bad


def _files(layer: FilesLayer, compiler: Compiler) -> Iterator[Member]:
    for path, file in layer.files.items():
        yield disk_member(path, file.path, digest=file.digest)
    for path, text in layer.texts.items():
        yield file_member(path, text)
    for path, target in layer.links.items():
        yield link_member(path, target)
    if layer.sources:
        sources = {path: file.path for path, file in layer.sources.items()}
        yield from byte_code(sources, compiler)
