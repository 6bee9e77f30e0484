"""Debian packages as data: their control fields, their scripts as text, their files as tar members.

Nothing of a package is run, and nothing of the host's dpkg takes part. Sources: deb(5), version 2.0
(an ar archive of two tars), deb-control(5), and Debian Policy for what a name may be (5.6.7).
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import re
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from email.parser import HeaderParser
from posixpath import normpath, relpath
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, cast

from imagesmith.store import CHUNK

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"!<arch>\n"
_HEADER = 60  # bytes before each member of an ar archive
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
MERGED = ("bin", "sbin", "lib", "lib64")
# What reading a tar, or what it is compressed by, raises where it is not whole.
_DAMAGE = (tarfile.TarError, lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError)


@dataclass(frozen=True)
class Control:
    """What a package says of itself.

    ``depends`` are the names in Depends and Pre-Depends, alternatives among them, ``provides`` its
    virtual names, ``postinst`` the script that would configure it, "" where there is none.
    """

    name: str
    version: str
    depends: frozenset[str]
    provides: frozenset[str]
    postinst: str


def is_name(text: str) -> bool:
    """Say whether a text may be a package's name (Debian Policy, 5.6.7)."""
    return _NAME.fullmatch(text) is not None


def merged(path: str) -> str:
    """Give where a path is when /bin, /sbin, /lib and /lib64 are links into /usr."""
    return f"usr/{path}" if path.partition("/")[0] in MERGED else path


def link_target(path: str, link: tarfile.TarInfo) -> str:
    """Give what a link at ``path`` of the merged tree points to.

    It is relative, so that it leads to the same file where the tree is unpacked on a host.
    """
    pointing_to = normpath(f"/{normpath(link.name)}/../{link.linkname}")
    if link.linkname.startswith("/"):
        pointing_to = normpath(link.linkname)
    return relpath(f"/{merged(pointing_to.lstrip('/'))}", f"/{path.rpartition('/')[0]}")


def control(path: Path) -> Control:
    """Read what a package says of itself; ValueError if the file is no package."""
    with opened(path, "control") as tar:
        texts = {
            info.name.removeprefix("./"): source.read().decode(errors="replace")
            for info in tar
            if info.isreg() and (source := tar.extractfile(info))
        }
    fields = HeaderParser().parsestr(texts.get("control", ""))
    name, version = fields.get("Package", ""), fields.get("Version", "")
    if not (is_name(name) and version):
        raise ValueError("it does not say what package it is")
    depends = _names(fields.get("Depends", "")) | _names(fields.get("Pre-Depends", ""))
    provides = _names(fields.get("Provides", ""))
    return Control(name, version, depends, provides, texts.get("postinst", ""))


def _names(relation: str) -> frozenset[str]:
    """Give the names in a field such as ``libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0``."""
    parts = (part.split() for part in re.split(r"[,|]", relation))
    return frozenset(words[0].partition(":")[0] for words in parts if words)


def opened(path: Path, part: str) -> tarfile.TarFile:
    """Open the ``data`` or ``control`` tar of a package, unpacked, to be read in any order.

    Raises ValueError where the file is no package, is damaged, or is compressed by what Debian does
    not use.
    """
    plain = TemporaryFile()  # noqa: SIM115 - the tar keeps it
    try:
        with _part(path, part) as source:
            shutil.copyfileobj(source, plain, CHUNK)
        plain.seek(0)
        tar = tarfile.open(fileobj=plain, mode="r:")  # noqa: SIM115
        tar.getmembers()
    except _DAMAGE as bad:
        raise ValueError(f"its {part} cannot be read: {bad}") from bad
    return tar


def _part(path: Path, part: str) -> BinaryIO:
    """Open the tar of one part of a package, unpacked as it is read."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it is no Debian package")
        while len(header := file.read(_HEADER)) == _HEADER:
            name, size = header[:16].decode("latin-1").rstrip(" /"), _size(header)
            if name.startswith(f"{part}.tar"):
                return _unpacking(io.BytesIO(file.read(size)), name.removeprefix(f"{part}.tar"))
            file.seek(size + size % 2, os.SEEK_CUR)
    raise ValueError(f"it has no {part}")


def _size(header: bytes) -> int:
    digits = header[48:58].strip()
    if not digits.isdigit():
        raise ValueError("it is damaged")
    return int(digits)


def _unpacking(packed: BinaryIO, suffix: str) -> BinaryIO:
    if suffix == ".xz":
        return cast("BinaryIO", lzma.open(packed))
    if suffix == ".gz":
        return cast("BinaryIO", gzip.open(packed))
    if suffix == "":
        return packed
    raise ValueError(f"it is compressed in a way that Debian does not use: {suffix}")
