"""Tar members as data, and one way to write them: the same members give the same bytes.

Members are sorted by path, times are zero, owners are 0:0, and every parent folder has an entry of
its own (an unpacker would invent modes for those that are missing). Format: POSIX.1-2001 (pax),
whose extended headers appear only where a name is too long for ustar.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_COPY = 1 << 20
_NAME = 100  # bytes of a name in a header of one block
_SIZE = 0o77777777777  # bytes of a file in one
# A part that is empty, "." or "..", and what is no printable Unicode.
_UNFIT = re.compile(r"(^|/)\.{0,2}(/|\Z)|[\0-\x1f\ud800-\udfff]")


class Kind(Enum):
    """The kinds of members that an image of ours may hold."""

    FILE = tarfile.REGTYPE
    FOLDER = tarfile.DIRTYPE
    SYMLINK = tarfile.SYMTYPE


@dataclass(frozen=True)
class Deflated:
    """Where a file lies in an archive as a raw deflate stream (RFC 1951) of ``size`` bytes."""

    file: Path
    offset: int
    size: int
    crc: int  # CRC-32 of what the stream says


@dataclass(frozen=True)
class Member:
    """One member; ``path`` is relative, with ``/``.

    A file's ``size`` bytes are what ``open`` gives, or what is ``deflated``.

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
    deflated: Deflated | None = None

    def __post_init__(self) -> None:
        check_path(self.path)


def check_path(path: str) -> None:
    """Raise ValueError unless a path is relative, normal, and of printable Unicode."""
    if _UNFIT.search(path):
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
    for piece in tar_pieces(in_order(members)):
        if isinstance(piece, Member):
            for chunk in contents(piece):
                out.write(chunk)
        else:
            out.write(piece)


def tar_pieces(members: Iterable[Member]) -> Iterator[bytes | Member]:
    """Give a tar in pieces: bytes as they are, and files in the place of what they hold."""
    size = 0
    for member in members:
        header = _header(member)
        yield header
        size += len(header)
        if member.kind is Kind.FILE:
            yield member
            yield bytes(-member.size % tarfile.BLOCKSIZE)
            size += member.size + -member.size % tarfile.BLOCKSIZE
    end = 2 * tarfile.BLOCKSIZE
    yield bytes(end + -(size + end) % tarfile.RECORDSIZE)


def contents(member: Member) -> Iterator[bytes]:
    """Give what a file holds; ValueError if it is not what the member has announced."""
    if member.deflated is not None:
        return (plain for _, plain in inflated(member))
    return _read(member)


def _read(member: Member) -> Iterator[bytes]:
    assert member.open is not None
    digest, left = hashlib.sha256(), member.size
    with reading(member), member.open() as source:
        while chunk := source.read(min(_COPY, left)):
            left -= len(chunk)
            if member.digest:
                digest.update(chunk)
            yield chunk
        if left:
            raise ValueError(f"{member.path!r} is shorter than it should be")
        if source.read(1) or member.digest not in ("", f"sha256:{digest.hexdigest()}"):
            raise ValueError(f"{member.path!r} has changed since it was looked at")


def inflated(member: Member) -> Iterator[tuple[bytes, bytes]]:
    """Give a deflated file's stream in chunks, each with what it says; either may be empty.

    Raises ValueError unless it is one stream, with nothing after it, and says what was announced.
    """
    from isal import isal_zlib

    assert member.deflated is not None
    said = member.deflated
    stream, crc, size = isal_zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
    with reading(member), _opened(said.file) as archive:
        for begin in range(0, said.size, _COPY):
            rest = chunk = os.pread(archive, min(_COPY, said.size - begin), said.offset + begin)
            while True:
                plain = stream.decompress(rest, _COPY)
                crc, size = isal_zlib.crc32(plain, crc), size + len(plain)
                if size > member.size or stream.unused_data:
                    raise ValueError(f"{member.path!r} is not as its archive announces it")
                yield chunk, plain
                rest, chunk = stream.unconsumed_tail, b""
                if not rest and len(plain) < _COPY:  # else the stream may hold something back
                    break
    if not stream.eof or (crc, size) != (said.crc, member.size):
        raise ValueError(f"{member.path!r} is not as its archive announces it")


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    """Open a file by its descriptor: there may be thousands of members, each short."""
    handle = os.open(file, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def reading(member: Member) -> Iterator[None]:
    """Raise ValueError where a member, which may come out of a zip, is damaged there."""
    from isal.isal_zlib import IsalError

    try:
        yield
    except (zipfile.BadZipFile, zlib.error, IsalError, EOFError) as bad:
        raise ValueError(f"{member.path!r} cannot be read: {bad}") from bad


def in_order(members: Iterable[Member]) -> Iterator[Member]:
    """Sort members, and give them the parent folders that they lack.

    Raises ValueError if two share a path, or one that others lie in is no folder.
    """
    by_path: dict[str, Member] = {}
    for member in members:
        if member.path in by_path:
            raise ValueError(f"two members share the path {member.path!r}")
        by_path[member.path] = member
    parents: set[str] = set()
    for path in by_path:
        while (path := path.rpartition("/")[0]) and path not in parents:
            parents.add(path)
    for path in parents:
        if by_path.setdefault(path, folder_member(path)).kind is not Kind.FOLDER:
            raise ValueError(f"{path!r} holds members and is no folder")
    return (by_path[path] for path in sorted(by_path))


def _header(member: Member) -> bytes:
    """Give a member's header: one block where ustar can say it, else as tarfile extends it."""
    name = member.path + "/" * (member.kind is Kind.FOLDER)
    if len(name) > _NAME or len(member.target) > _NAME or member.size > _SIZE:
        return _extended(member)
    if not (name.isascii() and member.target.isascii()):
        return _extended(member)
    head = (
        f"{name:\0<100}{member.mode:07o}\0" + "0000000\0" * 2 + f"{member.size:011o}\0{0:011o}\0"
    ).encode()
    tail = member.kind.value + f"{member.target:\0<100}ustar\0".encode() + b"00" + bytes(247)
    # The sum of all bytes, those of the sum itself taken as blanks (POSIX.1-2001, ustar).
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 8 * ord(" ")) + tail


def _extended(member: Member) -> bytes:
    info = tarfile.TarInfo(member.path)
    info.type = member.kind.value
    info.mode = member.mode
    info.size = member.size
    info.linkname = member.target
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
