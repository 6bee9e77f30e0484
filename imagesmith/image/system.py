"""Debian packages above a base, as the tar members of their one layer.

What nobody reads in a container is left out, as it is of a base: docs, man pages, locales.
Maintainer scripts are not run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from posixpath import normpath
from typing import TYPE_CHECKING, BinaryIO, cast

from imagesmith.image.tar import Kind, Member, check_path

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator, Sequence

    from imagesmith.store import Store

# Part of a layer's key: raise it when the same packages are to give other bytes.
RECIPE = 1
_UNREAD = re.compile(r"usr/share/(doc|doc-base|gtk-doc|info|linda|lintian|locale|man)/.*")


@dataclass(frozen=True)
class SystemPackage:
    """A Debian package whose file is in the store, under its digest (``sha256:<hex>``)."""

    name: str
    version: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}={self.version}"


@dataclass(frozen=True)
class SystemLayer:
    """Debian's packages above a base, sorted by name."""

    packages: tuple[SystemPackage, ...]

    @property
    def comment(self) -> str:
        """What the layer is, in a line."""
        return ", ".join(f"{package.name} {package.version}" for package in self.packages)


def system_members(packages: Sequence[SystemPackage], store: Store) -> Iterator[Member]:
    """Give what packages bring to an image; where two bring one path, the later wins.

    Raises ValueError for a package that is damaged, or with a member that no image may hold.
    """
    from imagesmith.image.deb import opened  # a plan is made more often than such a layer

    found: dict[str, Member] = {}
    for package in packages:
        try:
            found.update(_members(opened(store.path(package.digest), "data")))
        except ValueError as bad:
            raise ValueError(f"{package.name} {package.version}: {bad}") from bad
    return iter(found.values())


def _members(tar: tarfile.TarFile) -> dict[str, Member]:
    """Give a package's files and links by path, without privileges; links lead nowhere outside."""
    from imagesmith.image.deb import link_target

    found: dict[str, Member] = {}
    for info in tar:
        if info.isdir():
            continue
        path = _place(info.name)
        if info.issym():
            found[path] = Member(path, Kind.SYMLINK, 0o777, target=link_target(path, info))
        elif info.islnk():
            linked = found.get(_place(info.linkname))
            if linked is None or linked.kind is not Kind.FILE:
                raise ValueError(f"{path!r} is a hard link to no file before it")
            found[path] = replace(linked, path=path)
        elif info.isreg():
            opening = cast("partial[BinaryIO]", partial(tar.extractfile, info))
            found[path] = Member(path, Kind.FILE, info.mode & 0o755, info.size, opening)
        else:
            raise ValueError(f"{path!r} is neither a file nor a folder nor a link")
    return {path: member for path, member in found.items() if not _UNREAD.fullmatch(path)}


def _place(name: str) -> str:
    from imagesmith.image.deb import merged

    check_path(name.removeprefix("./"))
    return merged(normpath(name))
