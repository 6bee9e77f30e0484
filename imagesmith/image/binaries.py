"""The compiled files of what goes into an image, and what each asks of the loader.

An archive is read once; what was found is remembered under its digest.
"""

from __future__ import annotations

import mmap
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from posixpath import basename
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from imagesmith.store import CHUNK, hex_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imagesmith.image.elf import Elf
    from imagesmith.image.oci import Layer
    from imagesmith.image.system import SystemPackage
    from imagesmith.resolve.lock import Artifact
    from imagesmith.store import Store

# Part of every kind of facts: raise it when archives are to be looked at again.
_RECIPE = 1
_LIBRARY = re.compile(r"[^/]+\.so(\.[^/]*)?")
_SITE = re.compile(r"(.*/site-packages/|[^/]+\.data/(pure|plat)lib/)?")
# Where the loader looks by itself (ld.so(8)); what lies deeper is found by those that know of it.
_SEARCHED = {"usr/lib", "usr/lib64", "usr/lib/x86_64-linux-gnu"}
_LARGE = 64 << 20  # bytes of a file from which on it is read on the disk

# A file's path, size and bytes; a link has none.
_Found = tuple[str, int, Iterable[bytes] | None]


@dataclass(frozen=True)
class Binary:
    """A compiled file: its path, what it needs, and the newest version of glibc's symbols in it.

    ``module`` is the dotted name of the Python module that it is, "" for a plain library.
    """

    path: str
    module: str
    needed: tuple[str, ...]
    glibc: tuple[int, int]


@dataclass(frozen=True)
class Binaries:
    """What an archive holds: its compiled files, and the names that a loader may find them by."""

    files: tuple[Binary, ...] = ()
    names: frozenset[str] = frozenset()


def in_artifact(artifact: Artifact, store: Store) -> Binaries:
    """Look into a wheel or a conda package in the store.

    A damaged one has none: whoever lays it out says what is wrong with it.
    """
    look = _wheel if artifact.filename.endswith(".whl") else _package
    path = store.path(artifact.digest)
    return _remembered(store, artifact.digest, lambda: look(path, artifact.filename))


def in_file(path: Path, digest: str, name: str, store: Store) -> Binaries:
    """Look at one file that has this digest, and this path in an image."""

    def look() -> Iterator[_Found]:
        with path.open("rb") as file:
            yield name, path.stat().st_size, iter(partial(file.read, CHUNK), b"")

    return _remembered(store, digest, look)


def in_base(layer: Layer, blob: Path, store: Store) -> frozenset[str]:
    """Give the names of the shared libraries of a base's layer, wherever they lie in it."""
    import tarfile

    from imagesmith.image.gunzip import gunzip

    def look() -> Iterator[str]:
        with gunzip(blob) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            yield from (basename(member.name) for member in tar)

    return _names(store, layer.diff_id, look)


def in_system(package: SystemPackage, store: Store) -> frozenset[str]:
    """Give the names of the shared libraries of a Debian package, where the loader looks."""
    from imagesmith.image.system import system_members

    def look() -> Iterator[str]:
        for member in system_members([package], store):
            folder, _, name = member.path.rpartition("/")
            if folder in _SEARCHED:
                yield name

    return _names(store, package.digest, look)


def _names(store: Store, digest: str, look: Callable[[], Iterator[str]]) -> frozenset[str]:
    kind, key = f"library-names-{_RECIPE}", hex_of(digest)
    known = store.recall(kind, key)
    if known is None:
        known = sorted({name for name in look() if _LIBRARY.fullmatch(name)})
        store.remember(kind, key, known)
    return frozenset(known)


def _remembered(store: Store, digest: str, look: Callable[[], Iterator[_Found]]) -> Binaries:
    kind, key = f"binaries-{_RECIPE}", hex_of(digest)
    known = store.recall(kind, key)
    if known is None:
        try:
            found = _read(look())
        except _damage():
            return Binaries()
        known = {"files": [asdict(file) for file in found.files], "names": sorted(found.names)}
        store.remember(kind, key, known)
    files = (
        Binary(file["path"], file["module"], tuple(file["needed"]), tuple(file["glibc"]))
        for file in known["files"]
    )
    return Binaries(tuple(files), frozenset(known["names"]))


def _damage() -> tuple[type[Exception], ...]:
    """Give what reading an archive raises where it is not whole or not one."""
    import tarfile

    from conda_package_streaming.package_streaming import zstd

    of_archives = (zipfile.BadZipFile, tarfile.TarError, zlib.error, zstd.ZstdError)
    return (*of_archives, ValueError, LookupError, RuntimeError, OSError, EOFError)


def _read(found: Iterator[_Found]) -> Binaries:
    from imagesmith.image.elf import ElfError

    files, names = [], set()
    for path, size, chunks in found:
        names.add(basename(path))
        if chunks is None:
            continue
        try:
            elf = _elf(size, chunks)
        except ElfError:
            continue  # for another machine, a script for the linker, or nothing that can be loaded
        names |= {elf.soname} - {""}
        module = _dotted(path) if elf.is_module else ""
        files.append(Binary(path, module, elf.needed, elf.glibc))
    return Binaries(tuple(files), frozenset(names))


def _elf(size: int, chunks: Iterable[bytes]) -> Elf:
    from imagesmith.image.elf import read

    if size < _LARGE:
        return read(b"".join(chunks))
    with TemporaryFile() as file:
        file.writelines(chunks)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return read(mapped)


def _dotted(path: str) -> str:
    """Give the import name of an extension module by its path in an archive."""
    below = path[len(match[0]) :] if (match := _SITE.match(path)) else path
    folder, _, name = below.rpartition("/")
    return ".".join([*filter(None, folder.split("/")), name.partition(".")[0]])


def _wheel(path: Path, _filename: str) -> Iterator[_Found]:
    from imagesmith.image.tar import contents
    from imagesmith.image.wheel import archives, entry_member

    opened = archives()
    for entry in opened(path).infolist():
        if _LIBRARY.fullmatch(basename(entry.filename)):
            member = entry_member(entry.filename, 0o644, path, entry, opened)
            yield entry.filename, entry.file_size, contents(member)


def _package(path: Path, filename: str) -> Iterator[_Found]:
    from conda_package_streaming.package_streaming import stream_conda_component

    with path.open("rb") as file:
        for tar, member in stream_conda_component(filename, file, "pkg"):
            if _LIBRARY.fullmatch(basename(member.name)):
                source = tar.extractfile(member) if member.isreg() else None
                yield member.name, member.size, source and iter(partial(source.read, CHUNK), b"")
