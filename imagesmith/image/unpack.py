"""Layers as folders: each unpacked once, into a tree that no member of it can lead out of.

What a layer may hold here: files, folders, symbolic links, and hard links to files before them.
Nothing is ever written through a symbolic link, so where one points does not matter.
"""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.image.gunzip import gunzip
from imagesmith.image.hashed import Hashed
from imagesmith.image.tar import check_path
from imagesmith.store import CHUNK, hex_of

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.image.oci import Layer
    from imagesmith.store import Store

_WHITEOUT = ".wh."  # image-spec, layer.md: a file whose name deletes one of a lower layer
_SETUID = 0o6000
_BAD = (ValueError, OverflowError, tarfile.TarError, EOFError)
# What the file system says of members that it cannot hold; the rest is about the store itself.
_UNFIT = (errno.ENAMETOOLONG, errno.EINVAL, errno.ENOENT, errno.EILSEQ)


def unpacked(store: Store, blob: Path, layer: Layer) -> Path:
    """Give the folder that holds a layer, unpacked from its blob if the store lacks it.

    Owners are whoever unpacks; modes and times are the layer's. Raises ImagesmithError:
    build.layer where blob or tar are not what their digests say, or a member is refused;
    build.store where the store cannot be written; build.damaged where a blob of the store is
    damaged, which is dropped then, to be made again.
    """

    def make(folder: Path) -> None:
        try:
            with blob.open("rb") as file:
                _unpack(file, layer, folder)
        except _BAD as bad:
            if blob == store.path(layer.blob.digest):
                store.prove(layer.blob.digest, _name(layer))
            raise ImagesmithError(_refusal(layer, str(bad))) from bad

    try:
        return store.folder("layers", hex_of(layer.diff_id), make)
    except OSError as bad:
        if bad.errno in _UNFIT:
            raise ImagesmithError(_refusal(layer, str(bad))) from bad
        raise store.failure(bad) from bad


def _unpack(file: BinaryIO, layer: Layer, folder: Path) -> None:
    compressed = Hashed(file)
    with gunzip(cast("BinaryIO", compressed)) as plain:
        stream = Hashed(plain)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as tar:
            tree = _spread(tar, folder)
        stream.drain()
    compressed.drain()
    for what, expected, found in (
        ("blob", layer.blob.digest, compressed.digest),
        ("tar", layer.diff_id, stream.digest),
    ):
        if found != expected:
            raise ValueError(f"its {what} is {found}, not {expected}")
    tree.finish()


def _spread(tar: tarfile.TarFile, folder: Path) -> _Tree:
    """Write each member below ``folder``; ValueError for one that may not be there."""
    tree = _Tree(folder)
    for member in tar:
        path = member.name.removeprefix("./").rstrip("/")
        if path in ("", "."):
            continue
        check_path(path)
        _check(member, path)
        if member.isdir():
            tree.folder(path, member.mode)
        elif member.issym():
            tree.link(path, member.linkname)
        elif member.islnk():
            tree.hard_link(path, member.linkname.removeprefix("./"))
        else:
            tree.file(path, cast("BinaryIO", tar.extractfile(member)), member)
    return tree


def _check(member: tarfile.TarInfo, path: str) -> None:
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise ValueError(f"{path!r} is a device or a pipe")
    if member.mode & _SETUID and not member.issym():
        raise ValueError(f"{path!r} is setuid or setgid")
    if PurePosixPath(path).name.startswith(_WHITEOUT):
        raise ValueError(f"{path!r} deletes from a lower layer, which is not supported")


class _Tree:
    """A tree in the making; it knows what it made, so that no link stands in for a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, int] = {}
        self._files: set[str] = set()

    def folder(self, path: str, mode: int) -> None:
        if path not in self._folders:
            self._place(path).mkdir()
        self._folders[path] = mode & 0o1777

    def file(self, path: str, source: BinaryIO, info: tarfile.TarInfo) -> None:
        target = self._place(path)
        with target.open("xb") as out:
            shutil.copyfileobj(source, out, CHUNK)
            os.fchmod(out.fileno(), info.mode & 0o777)
        os.utime(target, (info.mtime, info.mtime))
        self._files.add(path)

    def link(self, path: str, pointing_to: str) -> None:
        self._place(path).symlink_to(pointing_to)

    def hard_link(self, path: str, existing: str) -> None:
        if existing not in self._files:
            raise ValueError(f"{path!r} is a hard link to {existing!r}, which is no file before it")
        self._place(path).hardlink_to(self._root / existing)
        self._files.add(path)

    def finish(self) -> None:
        """Give the folders their modes, which may forbid their owner to write in them."""
        for path, mode in self._folders.items():
            (self._root / path).chmod(mode)

    def _place(self, path: str) -> Path:
        """Give where to make a member: nothing is there, and its parents are folders made here."""
        parent = path.rpartition("/")[0]
        if parent and parent not in self._folders:
            self.folder(parent, 0o755)
        target = self._root / path
        if os.path.lexists(target):
            raise ValueError(f"{path!r} is there already, and not as a folder")
        return target


def _name(layer: Layer) -> str:
    return layer.comment or layer.blob.digest


def _refusal(layer: Layer, why: str) -> Finding:
    return error(
        "build.layer",
        _name(layer),
        f"the layer cannot be unpacked: {why}",
        "build or pull the image again; an image with such members runs on a Docker engine only",
    )
