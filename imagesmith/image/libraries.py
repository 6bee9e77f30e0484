"""Whether the loader will find what an image's compiled files ask for: libraries, and a glibc.

A library counts as there if the base, the system packages or anything in the environment has one
of its name: where exactly a file looks is the loader's matter, and verifying tries it. What an
image is sure to load must have all it needs; else it is only told, since wheels have parts for
machines and libraries that most users have not.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, error, warning
from imagesmith.image import oci
from imagesmith.image.binaries import Binaries, in_artifact, in_base, in_file, in_system
from imagesmith.image.sonames import is_the_hosts, mend

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from imagesmith.capture.bundle import Capture
    from imagesmith.image.binaries import Binary
    from imagesmith.image.system import SystemPackage
    from imagesmith.resolve.lock import Lock
    from imagesmith.store import Store

_SHOWN = 3
_LEVEL = re.compile(r"manylinux(?:_2_(\d+)|(1|2010|2014))_x86_64")
_LEGACY = {"1": 5, "2010": 12, "2014": 17}
_AT_A_TIME = min(8, os.cpu_count() or 1)
_LOCAL = "modules/"  # where a capture has the user's own


@dataclass(frozen=True)
class _Part:
    """A compiled file, whose it is, and whether the image is sure to load it."""

    owner: str
    file: Binary
    is_loaded: bool


def check(
    capture: Capture,
    lock: Lock,
    base: oci.Image,
    packages: Iterable[SystemPackage],
    store: Store,
    allowed: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Find what the compiled files of an image need and will not have there.

    What the lock names and the ``packages`` are in the store; ``allowed`` are sonames that may be
    missing. Errors are build.library and build.glibc, of what is sure to be loaded: the plain
    libraries of distributions that the function imports, and extension modules that it imports
    itself. Of the rest they are warnings.
    """
    found = _found(capture, lock, store)
    there = {name for binaries in found.values() for name in binaries.names}
    there |= set(allowed).union(*(in_system(package, store) for package in packages))
    for layer in base.layers:
        there |= in_base(layer, base.blob(layer.blob.digest), store)
    parts = [*_parts(capture, found)]
    lacking = [
        (part, soname)
        for part in parts
        for soname in part.file.needed
        if soname not in there and not is_the_hosts(soname)
    ]
    return (*_missing(lacking, base), *_glibc(parts, lock, base))


def _found(capture: Capture, lock: Lock, store: Store) -> dict[str, Binaries]:
    """Look into everything that an image gets; whose it is, and what is in it."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        looked = pool.map(partial(in_artifact, store=store), lock.artifacts)
        found = {one.name: binaries for one, binaries in zip(lock.artifacts, looked, strict=True)}
    for name, digest in capture.files.items():
        if name.startswith(_LOCAL) and ".so" in name.rpartition("/")[2]:
            place = name.removeprefix(_LOCAL)
            found[name] = in_file(capture.folder / name, digest, place, store)
    return found


def _parts(capture: Capture, found: dict[str, Binaries]) -> Iterator[_Part]:
    imported, environment = set(capture.modules), capture.environment
    owners = {d.name for module in imported for d in environment.providers(module)}
    owners |= {package.name for package in environment.packages if imported & {*package.modules}}
    for owner, binaries in found.items():
        for file in binaries.files:
            if file.module:
                loaded = bool({file.module, _package_of(file.module)} & imported)
            else:
                loaded = owner in owners
            yield _Part(owner, file, loaded)


def _package_of(module: str) -> str:
    """Give the package that is nothing but this extension module (``cv2`` for ``cv2.cv2``)."""
    package, _, name = module.rpartition(".")
    return package if package.rpartition(".")[2] == name.lstrip("_") else module


def _missing(lacking: list[tuple[_Part, str]], base: oci.Image) -> Iterator[Finding]:
    fatal = {soname: part for part, soname in reversed(lacking) if part.is_loaded}
    for soname, part in sorted(fatal.items()):
        yield error(
            "build.library",
            soname,
            f"{soname} is in neither the base nor the environment, and {part.owner} needs it"
            f" ({part.file.path})",
            f"{mend(soname, base.config)}; --allow-missing {soname} builds without it",
        )
    others = defaultdict(list)
    for part, soname in lacking:
        if soname not in fatal:
            others[part.owner].append(f"{part.file.path} ({soname})")
    for owner, files in sorted(others.items()):
        yield warning(
            "build.library",
            owner,
            f"{owner} has parts that cannot be loaded, since a library is missing: {_some(files)}",
            "if the function uses them, add what brings the library with --apt",
        )


def _glibc(parts: list[_Part], lock: Lock, base: oci.Image) -> Iterator[Finding]:
    """Find what is made for a newer glibc than the base's: by its symbols, or by its tags."""
    label = base.config.labels[oci.LABEL_GLIBC]
    has = _version(label)
    newer = defaultdict(list)
    for part in parts:
        if part.file.glibc > has:
            newer[part.owner].append(part)
    tagged = {wheel.name for wheel in lock.wheels if _tagged(wheel.filename) > has}
    for owner in sorted({*newer, *tagged}):
        asked = [f"{part.file.path} ({_text(part.file.glibc)})" for part in newer[owner]]
        says = f": {_some(asked)}" if asked else ", as its tags say"
        fatal = owner in tagged or any(part.is_loaded for part in newer[owner])
        yield (error if fatal else warning)(
            "build.glibc",
            owner,
            f"the base has glibc {label}, and {owner} is made for a newer one{says}",
            f"lock another version of it (--update {owner}), or name a newer base with --base",
        )


def _tagged(filename: str) -> tuple[int, int]:
    """Give the oldest glibc that a wheel is said to run on (PEP 600); (0, 0) if it says none."""
    found = _LEVEL.findall(filename)
    return min(((2, int(minor or _LEGACY[legacy])) for minor, legacy in found), default=(0, 0))


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor.partition(".")[0] or 0)


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
