"""The archive of a pack: every member of it proved before anything of it is used.

A pack may come from anywhere. What it may hold: files, and the folders that they lie in; nothing
else, and no path that leads out. Each file is what SHA256SUMS says, and none is without a line.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.image.tar import check_path
from imagesmith.pack import FORMAT, PACK, SUMS
from imagesmith.store import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_LONGEST = 64 << 20  # bytes of a text that is read whole
# What reading a tar raises where it is damaged.
UNREADABLE = (tarfile.TarError, EOFError, ValueError, OverflowError)
_SHOWN = 20  # findings, of perhaps very many
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


def is_pack(file: Path) -> bool:
    """Say whether a file is a pack, whole or damaged: a tar that begins with pack.json."""
    try:
        with file.open("rb") as opened:
            return tarfile.TarInfo.frombuf(opened.read(512), "utf-8", "strict").name == PACK
    except (OSError, ValueError, tarfile.TarError):
        return False


@dataclass(frozen=True)
class Archive:
    """A pack that was proved, open for reading."""

    file: Path
    about: dict[str, Any]  # what pack.json says
    tar: tarfile.TarFile = field(repr=False)
    members: dict[str, tarfile.TarInfo] = field(repr=False)
    sums: dict[str, str] = field(repr=False)  # hex digests by path

    def pieces(self, path: str) -> Iterator[bytes]:
        """Give what a file holds; ImagesmithError (build.pack) where it is not there.

        Raises ValueError where it is no longer what was proved.
        """
        if path not in self.members:
            raise ImagesmithError(broken(self.file, path, "it is not there"))
        source = self.tar.extractfile(self.members[path])
        assert source is not None
        digest = hashlib.sha256()
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != self.sums[path]:
            raise ValueError(f"{path!r} has changed since it was proved")

    def text(self, path: str) -> bytes:
        """Give what a small file holds; raises what ``pieces`` does."""
        if path in self.members and self.members[path].size > _LONGEST:
            raise ImagesmithError(broken(self.file, path, "it is too long for what it is"))
        return b"".join(self.pieces(path))


@contextmanager
def proved(file: Path) -> Iterator[Archive]:
    """Open a pack and read all of it once, before anything of it is given.

    Raises ImagesmithError (build.pack) with what is wrong with it: that it is of another format,
    cut short, or changed, or that it holds what no pack may.
    """
    with ExitStack() as stack:
        try:
            tar = stack.enter_context(tarfile.open(file, "r:"))
            archive = _proved(file, tar)
        except (*UNREADABLE, OSError) as bad:
            raise ImagesmithError(broken(file, file.name, f"it cannot be read: {bad}")) from bad
        yield archive


def broken(file: Path, what: str, why: str) -> Finding:
    """Make the finding for a pack that cannot be used."""
    return error("build.pack", file, f"{what!r}: {why}", "have it packed or copied once more")


def _proved(file: Path, tar: tarfile.TarFile) -> Archive:
    about = _about(file, tar)
    sums = _sums(file, tar)
    members: dict[str, tarfile.TarInfo] = {}
    faults = list(islice(_faults(tar, sums, members), _SHOWN))
    if faults:
        raise ImagesmithError(*(broken(file, path, why) for path, why in faults))
    files = {path: info for path, info in members.items() if not info.isdir()}
    return Archive(file, about, tar, files, sums)


def _about(file: Path, tar: tarfile.TarFile) -> dict[str, Any]:
    first = tar.next()
    if first is None or first.name != PACK or first.type != tarfile.REGTYPE:
        raise ImagesmithError(broken(file, file.name, "it does not begin as a pack does"))
    try:
        about = json.loads(_text(tar, first))
    except RecursionError:
        about = None
    texts = ("imagesmith", "reference", "digest", "created", "base")
    if not isinstance(about, dict) or not all(isinstance(about.get(k), str) for k in texts):
        raise ImagesmithError(broken(file, PACK, "it does not say what a pack must"))
    if about.get("format") != FORMAT:
        raise ImagesmithError(
            error(
                "build.pack",
                file,
                f"it is a pack of format {about.get('format')!r}, and this imagesmith reads"
                f" format {FORMAT}",
                f"use the imagesmith that packed it ({about['imagesmith']!r}), or pack it again",
            )
        )
    return about


def _sums(file: Path, tar: tarfile.TarFile) -> dict[str, str]:
    """Read SHA256SUMS, which is the second member."""
    second = tar.next()
    if second is None or second.name != SUMS or second.type != tarfile.REGTYPE:
        raise ImagesmithError(broken(file, SUMS, "it is not where a pack has it"))
    found = {}
    for line in _text(tar, second).decode().split("\n")[:-1]:
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise ImagesmithError(broken(file, SUMS, f"a line of it is none: {line[:200]!r}"))
        found[match[2]] = match[1]
    return found


def _text(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    source = tar.extractfile(info)
    if source is None or info.size > _LONGEST:
        raise ValueError(f"{info.name!r} is too long for what it is")
    data = source.read()
    if len(data) != info.size:
        raise ValueError(f"{info.name!r} is cut short")
    return data


def _faults(
    tar: tarfile.TarFile, sums: dict[str, str], members: dict[str, tarfile.TarInfo]
) -> Iterator[tuple[str, str]]:
    """Read every member, gather them by path, and find what is wrong with each."""
    for info in tar:
        why = _refused(info, members) or _differs(tar, info, sums)
        members.setdefault(info.name, info)
        if why:
            yield info.name, why
    for path in sums.keys() - members.keys():
        yield path, "it is not there; the pack is cut short"
    for path in members:
        for parent in map(str, PurePosixPath(path).parents):
            if parent in members and not members[parent].isdir():
                yield path, f"it lies in {parent!r}, which is no folder"


def _refused(info: tarfile.TarInfo, before: dict[str, tarfile.TarInfo]) -> str | None:
    """Say why a member may not be in a pack, if so."""
    try:
        check_path(info.name)
    except ValueError:
        return "its path may lead out of the folder that it belongs in"
    if info.name in before:
        return "it is there twice"
    if info.type not in (tarfile.REGTYPE, tarfile.DIRTYPE) or info.sparse is not None:
        return f"it is {_KINDS.get(info.type, 'neither a file nor a folder')}"
    return None


def _differs(tar: tarfile.TarFile, info: tarfile.TarInfo, sums: dict[str, str]) -> str | None:
    """Say why a member is not what SHA256SUMS says, if so."""
    if info.isdir() or info.name == SUMS:
        return None
    if info.name not in sums:
        return f"{SUMS} does not name it"
    source = tar.extractfile(info)
    assert source is not None
    digest, left = hashlib.sha256(), info.size
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        left -= len(chunk)
    if left:
        return "it is cut short"
    return None if digest.hexdigest() == sums[info.name] else f"it is not what {SUMS} says"
