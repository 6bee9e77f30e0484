"""Tar members as data, and one way to write them: the same members give the same bytes.

Members are sorted by path, times are zero, owners are 0:0, and every parent folder has an entry of
its own (an unpacker would invent modes for those that are missing). Format: POSIX.1-2001 (pax),
whose extended headers appear only where a name is too long for ustar.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_COPY = 1 << 20


class Kind(Enum):
    """The kinds of members that an image of ours may hold."""

    FILE = tarfile.REGTYPE
    FOLDER = tarfile.DIRTYPE
    SYMLINK = tarfile.SYMTYPE


@dataclass(frozen=True)
class Member:
    """One member; ``path`` is relative, with ``/``. ``open`` gives a file's ``size`` bytes.

    Where ``digest`` (``sha256:<hex>``) is known, other bytes are refused when it is written.
    Raises ValueError for a path that could leave the folder that it is unpacked in.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    size: int = 0
    open: Callable[[], BinaryIO] | None = None
    target: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        check_path(self.path)


def check_path(path: str) -> None:
    """Raise ValueError unless a path is relative, normal, and of printable Unicode."""
    parts = path.split("/")
    outside = any(part in ("", ".", "..") for part in parts)
    if outside or any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in path):
        raise ValueError(f"not a path that may go into an image: {path!r}")


def file_member(path: str, data: bytes, mode: int = 0o644) -> Member:
    """Make a file of these bytes."""
    return Member(path, Kind.FILE, mode, len(data), lambda: io.BytesIO(data))


def disk_member(path: str, source: Path, mode: int = 0o644, digest: str = "") -> Member:
    """Make a file of what a file on the disk holds, or has to hold if its digest is given."""
    size = source.stat().st_size
    return Member(path, Kind.FILE, mode, size, lambda: source.open("rb"), digest=digest)


def folder_member(path: str, mode: int = 0o755) -> Member:
    """Make a folder."""
    return Member(path, Kind.FOLDER, mode)


def link_member(path: str, target: str) -> Member:
    """Make a symbolic link."""
    return Member(path, Kind.SYMLINK, 0o777, target=target)


def write_tar(members: Iterable[Member], out: io.BufferedIOBase) -> None:
    """Write the members, sorted and with their parent folders.

    Raises ValueError if two share a path, or the bytes of one are not those that it announced.
    """
    with tarfile.TarFile(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT, copybufsize=_COPY
    ) as tar:
        for member in _ordered(members):
            if member.open is None:
                tar.addfile(_header(member))
            else:
                _add_file(tar, member, member.open)


def _add_file(tar: tarfile.TarFile, member: Member, opened: Callable[[], BinaryIO]) -> None:
    with reading(member), opened() as source:
        content = _Content(source, member)
        tar.addfile(_header(member), content)
        content.check()


@contextmanager
def reading(member: Member) -> Iterator[None]:
    """Raise ValueError where a member, which may come out of a zip, is damaged there."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError) as bad:
        raise ValueError(f"{member.path!r} cannot be read: {bad}") from bad


class _Content(io.BufferedIOBase):
    """The bytes of a member while they are read; ValueError if they are not as announced."""

    def __init__(self, source: BinaryIO, member: Member) -> None:
        self._source = source
        self._member = member
        self._hash = hashlib.sha256()

    def read(self, size: int | None = -1) -> bytes:
        data = self._source.read(-1 if size is None else size)
        if self._member.digest:
            self._hash.update(data)
        if size is not None and len(data) < size:
            raise ValueError(f"{self._member.path!r} is shorter than it should be")
        return data

    def check(self) -> None:
        """Raise ValueError if there is more to read, or what was read has another digest."""
        found = f"sha256:{self._hash.hexdigest()}"
        if self._source.read(1) or self._member.digest not in ("", found):
            raise ValueError(f"{self._member.path!r} has changed since it was looked at")


def _ordered(members: Iterable[Member]) -> Iterator[Member]:
    by_path: dict[str, Member] = {}
    for member in members:
        if member.path in by_path:
            raise ValueError(f"two members share the path {member.path!r}")
        by_path[member.path] = member
    for path in list(by_path):
        for parent in PurePosixPath(path).parents:
            name = str(parent)
            if name == ".":
                continue
            if by_path.setdefault(name, folder_member(name)).kind is not Kind.FOLDER:
                raise ValueError(f"{name!r} holds {path!r} and is no folder")
    return (by_path[path] for path in sorted(by_path))


def _header(member: Member) -> tarfile.TarInfo:
    info = tarfile.TarInfo(member.path)
    info.type = member.kind.value
    info.mode = member.mode
    info.size = member.size
    info.linkname = member.target
    return info
