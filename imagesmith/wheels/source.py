"""What wheels are made of: source archives in the store. A project's folder becomes one, too."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.image.layer import write_layer
from imagesmith.image.tar import Member, check_path, disk_member, folder_member, link_member
from imagesmith.wheels.archive import bounded, leads_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.store import Store

# Other people's packages, and what tools leave behind: no part of a project's source.
_LEFT_OUT = re.compile(
    r"\.git|\.hg|\.svn|\.tox|\.nox|\.eggs|\.venv|venv|node_modules|__pycache__|\.ipynb_checkpoints"
    r"|\.(mypy|pytest|ruff)_cache|\.hypothesis|.*\.py[co]|\.DS_Store"
)
_LEFT_BY_SETUPTOOLS = re.compile(r"build/(lib|lib\..*|temp\..*|bdist\..*)")
_ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")
_TOP = "source"  # the one folder of an archive of ours, whatever the project's is called


@dataclass(frozen=True)
class Source:
    """A source archive in the store, and what it is to become a wheel of.

    ``name`` and ``version`` are what the wheel must be of, None where only the build can tell.
    ``filename`` says how the archive is packed, ``digest`` is ``sha256:<hex>``;
    ``subdirectory`` is the project's folder in it. ``scm_version`` is told to backends that would
    ask a repository which version this is; ``commit`` is the full id of the one checked out.
    """

    name: str | None
    version: str | None
    filename: str
    digest: str
    subdirectory: str = ""
    scm_version: str | None = None
    commit: str = ""

    @property
    def subject(self) -> str:
        """What findings about it are about: ``name==version`` as far as that is known."""
        name, version = self.name or self.filename, self.version or self.scm_version
        return f"{name}=={version}" if self.name and version else name


def of_folder(
    path: Path, name: str | None, store: Store, *, scm_version: str | None = None
) -> Source:
    """Take a project's folder into the store, without repositories, environments and caches.

    The same files give the same digest, wherever they lie. Raises ImagesmithError: build.source
    where the folder cannot be taken, build.store.
    """
    try:
        members = list(bounded(_members(path)))
    except (OSError, ValueError) as bad:
        raise _refused(path, bad) from bad
    try:
        digest = write_layer(store, members, "source").blob.digest
    except ValueError as bad:  # a file has changed meanwhile
        raise _refused(path, bad) from bad
    except OSError as bad:
        raise store.failure(bad) from bad
    return Source(name, None, f"{name or path.name}.tar.gz", digest, scm_version=scm_version)


def _members(root: Path) -> Iterator[Member]:
    yield folder_member(_TOP)
    for path in _walk(root, ""):
        check_path(path)
        place = root / path
        if place.is_symlink():
            target = str(place.readlink())
            if leads_out(path, target):
                raise ValueError(f"its link {path} leads out of it, to {target}")
            yield link_member(f"{_TOP}/{path}", target)
        else:
            mode = 0o755 if place.stat().st_mode & 0o100 else 0o644
            yield disk_member(f"{_TOP}/{path}", place, mode)


def _walk(root: Path, folder: str) -> Iterator[str]:
    """Give the paths of files and links below a folder, relative to the root."""
    with os.scandir(root / folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{folder}{entry.name}"
            if _LEFT_OUT.fullmatch(entry.name) or _LEFT_BY_SETUPTOOLS.fullmatch(path):
                continue
            if not entry.is_dir(follow_symlinks=False):
                if entry.is_symlink() or entry.is_file():  # no sockets, no pipes
                    yield path
            elif not any(os.path.lexists(Path(entry.path, mark)) for mark in _ENVIRONMENTS):
                yield from _walk(root, f"{path}/")


def _refused(path: Path, bad: Exception) -> ImagesmithError:
    reason = bad.strerror if isinstance(bad, OSError) else str(bad)
    return ImagesmithError(
        error(
            "build.source",
            path,
            f"the project in {path} cannot be taken: {reason}",
            "keep data and links to other places out of the project's folder, or make its wheel "
            "yourself (pip wheel --no-deps FOLDER) and install that",
        )
    )
