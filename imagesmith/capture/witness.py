"""Whether a capture would come out the same again, without running anything of the user's.

The agent says what the target looked at while it loaded: files, environment variables, the folders
of installed distributions. What those are like is remembered with the capture; where they are
still the same, and so is everything in the target's folder, the stored capture is taken.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.capture.channels import condarc_files
from imagesmith.capture.conda import META
from imagesmith.image.layout import is_layout
from imagesmith.names import is_text
from imagesmith.store import key_of, sha256, sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST_FILES = 5000
_METADATA = (".dist-info", ".egg-info", ".egg-link", ".pth")
_NOT_SOURCES = {"__pycache__", "node_modules"}


@dataclass(frozen=True)
class Seen:
    """What a capture depends on: interpreter, environment, target's folder, what it looked at."""

    python: str
    prefix: str
    root: str
    sites: tuple[str, ...]
    files: tuple[str, ...]
    variables: tuple[str, ...]

    def state(self, environ: Mapping[str, str]) -> dict[str, Any] | None:
        """Say what all of it is like now, as JSON data; None where that cannot be told."""
        folder = tree(Path(self.root))
        named = (self.prefix, *self.sites, *self.files, *self.variables)
        if folder is None or not all(map(is_text, named)):
            return None
        try:
            return {
                "python": _stamp(Path(self.python).resolve()),
                "tree": folder,
                "conda": _conda(Path(self.prefix), environ),
                "sites": {site: _listing(Path(site), _METADATA) for site in self.sites},
                "files": {path: sha256_file(Path(path)) for path in self.files},
                "variables": {
                    name: sha256(os.fsencode(environ[name])) if name in environ else None
                    for name in self.variables
                },
            }
        except OSError:  # something it looked at is gone
            return None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Seen:
        """Read what as_json gave."""
        lists = {key: tuple(data[key]) for key in ("sites", "files", "variables")}
        return cls(**{**data, **lists})

    def as_json(self) -> dict[str, Any]:
        """Give it as plain JSON data."""
        return asdict(self)


def tree(root: Path) -> str | None:
    """Digest the names, sizes and times of the files in a folder; None if they are too many."""
    stamps: dict[str, list[int]] = {}
    for path in _sources(root):
        try:
            stamps[_spelled(path)] = _stamp(path)
        except OSError:
            continue  # a link to nothing or in a circle, or a file that went while we looked
        if len(stamps) > _MOST_FILES:
            return None
    return key_of(stamps)


def _sources(root: Path) -> Iterator[Path]:
    """Give the files in a folder, without hidden ones, environments and what we made ourselves."""
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if not _is_aside(Path(folder, f))]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _is_aside(folder: Path) -> bool:
    return (
        folder.name.startswith(".")
        or folder.name in _NOT_SOURCES
        or not os.access(folder, os.X_OK)
        or (folder / "pyvenv.cfg").is_file()
        or (folder / META).is_dir()
        or is_layout(folder)
        or ((folder / "func.pkl").is_file() and (folder / "capture.json").is_file())
    )


def _conda(prefix: Path, environ: Mapping[str, str]) -> list[Any] | None:
    """Say what conda has written of an environment, and the condarc files that count for it."""
    meta = prefix / META
    if not meta.is_dir():
        return None
    condarcs = condarc_files(prefix, environ)
    stamps = [_stamp(path) if path.is_file() else None for path in condarcs]
    return [_listing(meta, (".json", "history")), stamps]


def _listing(folder: Path, endings: tuple[str, ...]) -> str:
    with os.scandir(folder) as entries:
        return key_of(
            sorted(
                (_spelled(Path(entry.name)), entry.stat().st_mtime_ns)
                for entry in entries
                if entry.name.endswith(endings)
            )
        )


def _spelled(path: Path) -> str:
    """Give a path as text that any file can hold: not every file's name is UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
