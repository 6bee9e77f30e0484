"""Bases from elsewhere: any image for linux-64 with a Python and glibc, made a base of ours.

Its layers become one, as our own bases have it: whiteouts carried out (image-spec, layer.md), times
zero, owners 0:0, without devices and set-user-id bits, so that it is the same wherever it is made.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import tarfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, cast

from imagesmith.findings import ImagesmithError, error
from imagesmith.image import oci
from imagesmith.image.gunzip import gunzip
from imagesmith.image.layer import layer_of
from imagesmith.image.tar import Kind, Member, check_path
from imagesmith.store import CHUNK

if TYPE_CHECKING:
    from imagesmith.store import Store

_CREATED = "1970-01-01T00:00:00Z"
_RECIPE = 1  # part of the layer's key: raise it when the same image is to give other bytes
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_LINKS = 40  # as many symbolic links as Linux follows
_PYTHON = re.compile(r"(usr/(?:local/)?bin)/python(3\.\d+)")
_LIBC = re.compile(rb"GNU C Library [^\n]*release version (\d+\.\d+)")
_LIBC_PLACES = ("usr/lib/x86_64-linux-gnu", "usr/lib64", "lib/x86_64-linux-gnu", "lib64")


def adopt(image: oci.Image, store: Store, python: str | None = None) -> oci.Image:
    """Give an image as a base for Python X.Y, None being the one that it has.

    Its blobs are then in the store. Raises ImagesmithError: build.base-python where it has no such
    Python or several to choose from, build.base-glibc; ValueError or OSError where a layer is not
    what its digest says or holds what no image may.
    """
    with ExitStack() as opened:
        tree = _Tree()
        for layer in image.layers:
            tree.add(opened.enter_context(_plain(image, layer)))
        executable, found = _python(image, tree, python)
        glibc = _glibc(image, tree)
        made_from = ["adopted", _RECIPE, [layer.diff_id for layer in image.layers]]
        layer = layer_of(store, made_from, tree.entries.values, "base")
    labels = {
        **image.config.labels,
        oci.LABEL_PYTHON: found,
        oci.LABEL_EXECUTABLE: executable,
        oci.LABEL_GLIBC: glibc,
    }
    config = oci.ImageConfig(env=image.config.env, labels=labels)
    return oci.assemble(store, image.reference, (layer,), config, _CREATED)


@dataclass
class _Tree:
    """What the layers so far leave: each path's last member, and how to read it."""

    entries: dict[str, Member] = field(default_factory=dict)

    def add(self, tar: tarfile.TarFile) -> None:
        """Lay one more layer over it; what that deletes is of the layers below."""
        above: dict[str, Member] = {}
        for info in tar:
            path = info.name.removeprefix("./").rstrip("/")
            if path in ("", "."):
                continue
            check_path(path)
            folder, name = posixpath.split(path)
            if name == _OPAQUE:
                self._empty(folder)
            elif name.startswith(_WHITEOUT):
                deleted = posixpath.join(folder, name.removeprefix(_WHITEOUT))
                self._empty(deleted)
                self.entries.pop(deleted, None)
            elif (member := _member(tar, info, path, above, self.entries)) is not None:
                above[path] = member
        for path, member in above.items():
            below = self.entries.get(path)
            if below is not None and below.kind is Kind.FOLDER and member.kind is not Kind.FOLDER:
                self._empty(path)
            self.entries[path] = member

    def _empty(self, folder: str) -> None:
        for name in [name for name in self.entries if name.startswith(f"{folder}/")]:
            del self.entries[name]

    def resolved(self, path: str) -> str | None:
        """Follow the symbolic links of a path; None where it leads nowhere within the image."""
        for _ in range(_LINKS):
            for part in [*reversed(PurePosixPath(path).parents), PurePosixPath(path)]:
                member = self.entries.get(str(part))
                if member is not None and member.kind is Kind.SYMLINK:
                    rest = path[len(str(part)) :]
                    target = posixpath.join("/", str(part.parent), member.target)
                    path = posixpath.normpath(target + rest).lstrip("/")
                    break
            else:
                return path if path in self.entries else None
        return None

    def read(self, path: str) -> bytes:
        """Give the bytes of a file."""
        member = self.entries[path]
        if member.open is None:
            raise ValueError(f"{path!r} is not a file")
        with member.open() as file:
            return file.read()


def _member(
    tar: tarfile.TarFile,
    info: tarfile.TarInfo,
    path: str,
    above: dict[str, Member],
    below: dict[str, Member],
) -> Member | None:
    """Give a tar's member as ours; a hard link is the file that it is one to."""
    mode = info.mode & 0o777
    if info.isdir():
        return Member(path, Kind.FOLDER, info.mode & 0o1777)
    if info.issym():
        return Member(path, Kind.SYMLINK, 0o777, target=info.linkname)
    if info.islnk():
        target = info.linkname.removeprefix("./").lstrip("/")
        linked = above.get(target) or below.get(target)
        if linked is None or linked.kind is not Kind.FILE:
            raise ValueError(f"{path!r} is a hard link to {target!r}, which is no file before it")
        return replace(linked, path=path)
    if info.isreg():
        opened = partial(tar.extractfile, info)
        return Member(path, Kind.FILE, mode, info.size, cast("partial[BinaryIO]", opened))
    return None  # a device or a pipe: an engine makes those that a container has


def _plain(image: oci.Image, layer: oci.Layer) -> tarfile.TarFile:
    """Open a layer's tar for reading in any order."""
    plain = TemporaryFile()  # noqa: SIM115 - the tar keeps it
    with gunzip(image.blob(layer.blob.digest)) as packed:
        shutil.copyfileobj(packed, plain, CHUNK)
    plain.seek(0)
    return tarfile.open(fileobj=plain, mode="r:")


def _python(image: oci.Image, tree: _Tree, wanted: str | None) -> tuple[str, str]:
    """Give the absolute path of the Python and its minor version."""
    found = filter(None, map(_PYTHON.fullmatch, sorted(tree.entries)))
    there = {match[2]: match[0] for match in found if tree.resolved(match[0])}
    if wanted is not None and wanted in there:
        return f"/{there[wanted]}", wanted
    if wanted is None and len(there) == 1:
        ((minor, path),) = there.items()
        return f"/{path}", minor
    has = ", ".join(sorted(there)) or "none"
    raise ImagesmithError(
        error(
            "build.base-python",
            image.reference,
            f"{image.reference} has no Python {wanted} in /usr/bin or /usr/local/bin, but {has}"
            if wanted
            else f"{image.reference} is to have one Python in /usr/bin or /usr/local/bin: {has}",
            "name another image, or the Python that is meant with `base build --python`"
            if there
            else "name an image with a Python, as python:3.11-slim is",
        )
    )


def _glibc(image: oci.Image, tree: _Tree) -> str:
    """Give the version of the image's glibc, which says of itself what it is."""
    for folder in _LIBC_PLACES:
        path = tree.resolved(f"{folder}/libc.so.6")
        if path is not None and (told := _LIBC.search(tree.read(path))):
            return told[1].decode()
    raise ImagesmithError(
        error(
            "build.base-glibc",
            image.reference,
            f"{image.reference} has no glibc for x86-64, which the wheels for linux-64 are made"
            " for",
            "name an image with glibc: one of Debian, Ubuntu or Fedora, not Alpine",
        )
    )
