"""Source archives, read and never unpacked on this host: what goes into a build is written anew.

Sources: PEP 527 and 625 (an sdist's file and its one folder), PEP 721 (what of a tar is refused).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import posixpath
import stat
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from functools import partial
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from imagesmith.image.tar import Kind, Member, check_path, folder_member, link_member, write_tar
from imagesmith.store import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_LARGEST = 1 << 30  # bytes of a source tree
_MOST = 100_000  # members of one
_TOO_LARGE = f"it holds over {_LARGEST >> 20} MiB, or over {_MOST} files"

_OPENERS: dict[str, type[gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]] = {
    ".tar.gz": gzip.GzipFile,
    ".tgz": gzip.GzipFile,
    ".tar.bz2": bz2.BZ2File,
    ".tar.xz": lzma.LZMAFile,
}
_ENCRYPTED = 0x1
_BAD = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile),
    *(EOFError, OverflowError, NotImplementedError, RecursionError),
)


class Tree:
    """An opened archive: its members by path, without the one folder that holds them all."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._members = _below_top(bounded(members))

    def read(self, path: str) -> bytes | None:
        """Give the bytes of a file, None if there is no such file."""
        member = self._members.get(path)
        if member is None or member.open is None:
            return None
        with _readable(), member.open() as file:
            return file.read()

    def tar(self) -> bytes:
        """Write it as a tar whose bytes depend on paths, contents and x-bits alone."""
        out = io.BytesIO()
        with _readable():
            write_tar(self._members.values(), out)
        return out.getvalue()


@contextmanager
def opened(path: Path, filename: str) -> Iterator[Tree]:
    """Open an sdist of this name; ValueError for one that is none, or that could do harm."""
    opener = next((o for suffix, o in _OPENERS.items() if filename.endswith(suffix)), None)
    if filename.endswith(".zip"):
        with _readable():
            archive = zipfile.ZipFile(path)
        with archive:
            yield Tree(_of_zip(archive))
    elif opener is not None:
        with TemporaryFile() as plain:
            with _readable(), opener(path) as packed:
                _copy(packed, plain)
            plain.seek(0)
            with _readable():
                tar = tarfile.open(fileobj=plain, mode="r:")  # noqa: SIM115 - closed below
                tree = Tree(_of_tar(tar))
            with tar:
                yield tree
    else:
        raise ValueError("its name ends neither in .tar.gz nor in .zip")


def leads_out(path: str, target: str) -> bool:
    """Say whether a symbolic link at ``path`` points outside the tree that it is in."""
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return target.startswith("/") or end == ".." or end.startswith("../")


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except _BAD as bad:
        raise ValueError(f"it is damaged: {bad}") from bad


def _copy(packed: gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile, plain: IO[bytes]) -> None:
    """Decompress, but no more than a tree with its headers can be."""
    room = _LARGEST + _MOST * 2 * tarfile.BLOCKSIZE
    while chunk := packed.read(CHUNK):
        room -= len(chunk)
        if room < 0:
            raise ValueError(_TOO_LARGE)
        plain.write(chunk)


def bounded(members: Iterable[Member]) -> Iterator[Member]:
    """Pass the members of a source tree on; ValueError when they are too many or too large."""
    size = 0
    for number, member in enumerate(members):
        size += member.size
        if size > _LARGEST or number >= _MOST:
            raise ValueError(_TOO_LARGE)
        yield member


def _below_top(members: Iterable[Member]) -> dict[str, Member]:
    """Take away the one folder that holds everything; of two members at a path the last counts."""
    found: dict[str, Member] = {}
    tops = set()
    for member in members:
        top, _, rest = member.path.partition("/")
        tops.add(top)
        if rest:
            if member.kind is Kind.SYMLINK and leads_out(rest, member.target):
                raise ValueError(f"{member.path!r} is a link that leads out of it")
            found[rest] = Member(
                rest, member.kind, member.mode, member.size, member.open, member.target
            )
        elif member.kind is not Kind.FOLDER:
            raise ValueError(f"{member.path!r} is not in the one folder that an sdist has")
    if len(tops) != 1:
        raise ValueError(f"it should hold one folder, and holds {len(tops)}")
    return found


def _of_tar(tar: tarfile.TarFile) -> Iterator[Member]:
    files: dict[str, Member] = {}
    for info in tar:
        path = info.name.removeprefix("./").rstrip("/")
        if path in ("", "."):
            continue
        check_path(path)
        member = _tar_member(tar, info, path, files)
        if member.kind is Kind.FILE:
            files[path] = member
        yield member


def _tar_member(
    tar: tarfile.TarFile, info: tarfile.TarInfo, path: str, files: dict[str, Member]
) -> Member:
    if info.isdir():
        return folder_member(path)
    if info.issym():
        return link_member(path, info.linkname)
    if info.islnk():
        linked = files.get(info.linkname.removeprefix("./"))
        if linked is None:
            raise ValueError(f"{path!r} is a hard link to no file before it")
        return Member(path, Kind.FILE, linked.mode, linked.size, linked.open)
    if info.isreg():
        opened_later = cast("Callable[[], BinaryIO]", partial(tar.extractfile, info))
        return Member(path, Kind.FILE, _mode(info.mode), info.size, opened_later)
    raise ValueError(f"{path!r} is a device or a pipe")


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        path, mode = info.filename.rstrip("/"), info.external_attr >> 16
        check_path(path)
        if info.flag_bits & _ENCRYPTED:
            raise ValueError(f"{path!r} is encrypted")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"{path!r} is neither a file nor a folder")
        if info.is_dir():
            yield folder_member(path)
        else:
            opened_later = cast("Callable[[], BinaryIO]", partial(archive.open, info))
            yield Member(path, Kind.FILE, _mode(mode), info.file_size, opened_later)


def _mode(mode: int) -> int:
    return 0o755 if mode & stat.S_IXUSR else 0o644
