"""Whom the files of a layer belong to, by the records that lie among them.

A file is its distribution's if conda's prefix record (conda-meta/*.json) or Python's (RECORD in
*.dist-info, PyPA's recording installed projects) lists it; else the place where it lies says what
it is. What conda has installed is conda's, though it has a RECORD as well.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import source_from_cache
from typing import TYPE_CHECKING

from imagesmith.image.plan import MODEL, READY, RUNTIME
from imagesmith.image.wheel import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIP = re.compile(r"(?P<folder>(?:.*/)?)(?P<name>[^/]+)-(?P<version>[^/-]+)\.dist-info/RECORD")
_CONDA = re.compile(r"(?P<folder>(?:.*/)?)conda-meta/[^/]+\.json")


class Kind(StrEnum):
    """What bytes of an image belong to."""

    CONDA = "conda"
    PIP = "pip"
    BASE = "base"
    ENVIRONMENT = "environment"  # of no distribution: its frame
    LOCK = "lock"
    RUNTIME = "runtime"
    MODEL = "model"


_PLACES = {
    f"{ENVIRONMENT}/": Kind.ENVIRONMENT,
    "opt/imagesmith/": Kind.LOCK,
    f"{RUNTIME}/": Kind.RUNTIME,
    f"{MODEL}/": Kind.MODEL,
    READY: Kind.RUNTIME,
}


@dataclass(frozen=True)
class Owner:
    """Whom bytes belong to: a distribution of conda or pip by name, or else a kind alone."""

    kind: Kind
    name: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip() or str(self.kind)


def is_record(path: str) -> bool:
    """Say whether a file lists those of a distribution."""
    return bool(_PIP.fullmatch(path) or _CONDA.fullmatch(path))


class Claims:
    """Whose each file is, as far as records have been read."""

    def __init__(self) -> None:
        self._conda: dict[str, Owner] = {}
        self._pip: dict[str, Owner] = {}

    def record(self, path: str, data: bytes) -> None:
        """Read a record; what one that is damaged does not say is left to where the files lie."""
        if found := _PIP.fullmatch(path):
            from packaging.utils import canonicalize_name

            owner = Owner(Kind.PIP, canonicalize_name(found["name"]), found["version"])
            self._claim(self._pip, owner, found["folder"], _listed(data))
        elif found := _CONDA.fullmatch(path):
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                record = json.loads(data)
                owner = Owner(Kind.CONDA, str(record["name"]), str(record["version"]))
                self._claim(self._conda, owner, "", [path])
                self._claim(self._conda, owner, found["folder"], map(str, record["files"]))

    def owner(self, path: str) -> Owner:
        """Give whose a file is; byte code is whose its source is."""
        if claimed := self._conda.get(path) or self._pip.get(path):
            return claimed
        if path.endswith(".pyc"):
            with suppress(ValueError):
                return self.owner(source_from_cache(path))
        kinds = (kind for place, kind in _PLACES.items() if path.startswith(place))
        return Owner(next(kinds, Kind.BASE))

    @staticmethod
    def _claim(claims: dict[str, Owner], owner: Owner, folder: str, names: Iterable[str]) -> None:
        for name in names:
            claims.setdefault(posixpath.normpath(posixpath.join(folder, name)).lstrip("/"), owner)


def _listed(record: bytes) -> list[str]:
    names: list[str] = []
    with suppress(csv.Error):
        rows = csv.reader(io.StringIO(record.decode(errors="replace"), newline=""))
        names += (row[0] for row in rows if row)
    return names
