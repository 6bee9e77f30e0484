"""Tar members as data, and one way to write them: the same members give the same bytes.

Members are sorted by path, times are zero, owners are 0:0, and every parent folder has an entry of
its own (an unpacker would invent modes for those that are missing). Format: POSIX.1-2001 (pax),
whose extended headers appear only where a name is too long for ustar.
"""

from __future__ import annotations

import io
import tarfile
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

    Raises ValueError for a path that could leave the folder that it is unpacked in.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    size: int = 0
    open: Callable[[], BinaryIO] | None = None
    target: str = ""

    def __post_init__(self) -> None:
        check_path(self.path)


def check_path(path: str) -> None:
    """Raise ValueError unless a path is relative, normal, and free of control characters."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(ord(c) < 32 for c in path):
        raise ValueError(f"not a path that may go into an image: {path!r}")


def file_member(path: str, data: bytes, mode: int = 0o644) -> Member:
    """Make a file of these bytes."""
    return Member(path, Kind.FILE, mode, len(data), lambda: io.BytesIO(data))


def disk_member(path: str, source: Path, mode: int = 0o644) -> Member:
    """Make a file of what a file on the disk holds."""
    return Member(path, Kind.FILE, mode, source.stat().st_size, lambda: source.open("rb"))


def folder_member(path: str, mode: int = 0o755) -> Member:
    """Make a folder."""
    return Member(path, Kind.FOLDER, mode)


def link_member(path: str, target: str) -> Member:
    """Make a symbolic link."""
    return Member(path, Kind.SYMLINK, 0o777, target=target)


def write_tar(members: Iterable[Member], out: io.BufferedIOBase) -> None:
    """Write the members, sorted and with their parent folders; ValueError if two share a path."""
    with tarfile.TarFile(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT, copybufsize=_COPY
    ) as tar:
        for member in _ordered(members):
            if member.open is None:
                tar.addfile(_header(member))
            else:
                with member.open() as source:
                    tar.addfile(_header(member), source)


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
