"""A lock as data: the exact packages and wheels of an environment on linux-64."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.store import canonical, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagesmith.resolve.platform import Target


@dataclass(frozen=True)
class LockedSource:
    """What a wheel was made of here.

    ``url`` is that of an archive, repository or folder, without anything secret; ``digest`` is the
    archive's (``sha256:<hex>``), or that of what was in the repository or folder; ``commit`` is a
    repository's, else "".
    """

    url: str
    digest: str
    commit: str = ""


@dataclass(frozen=True)
class LockedWheel:
    """One wheel of a lock.

    ``name`` is normalised (PEP 503), ``url`` http, https or file and without anything secret,
    ``digest`` ``sha256:<hex>``. One with a ``source`` was made here: the store alone has it, and
    ``url`` is "".
    """

    name: str
    version: str
    filename: str
    url: str
    digest: str
    source: LockedSource | None = None


@dataclass(frozen=True)
class LockedPackage:
    """One conda package of a lock.

    ``subdir`` is linux-64 or noarch, ``filename`` ends in .conda or .tar.bz2, ``url`` is http,
    https or file and without anything secret, ``digest`` ``sha256:<hex>``, ``md5`` hex digits or
    "" where the channel does not say; ``requires`` are match specs (``python >=3.11``), sorted.
    """

    name: str
    version: str
    build: str
    subdir: str
    filename: str
    url: str
    digest: str
    md5: str
    requires: tuple[str, ...]


Artifact = LockedWheel | LockedPackage


@dataclass(frozen=True)
class Lock:
    """What an environment is made of, each sorted by name.

    With ``packages`` it is a conda prefix and has its Python from them; without, a venv over the
    base's. The wheels come after the packages.
    """

    target: Target
    wheels: tuple[LockedWheel, ...]
    packages: tuple[LockedPackage, ...] = ()

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All that is to be fetched, in the order of the installation."""
        return (*self.packages, *self.wheels)

    @property
    def digest(self) -> str:
        """The digest of all that it names, wherever that is to be had (``sha256:<hex>``)."""
        packages = [[p.subdir, p.filename, p.digest] for p in self.packages]
        wheels = [
            [w.filename, w.digest, w.source and [w.source.digest, w.source.commit]]
            for w in self.wheels
        ]
        return sha256(canonical([asdict(self.target), packages, wheels]))

    def as_json(self) -> dict[str, Any]:
        """Give the packages and the wheels as JSON types, quicker to read than a lock's files."""
        return {
            "packages": [asdict(package) for package in self.packages],
            "wheels": [asdict(wheel) for wheel in self.wheels],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], target: Target) -> Lock:
        """Read back what ``as_json`` gave."""
        packages = tuple(
            LockedPackage(**{**package, "requires": tuple(package["requires"])})
            for package in data["packages"]
        )
        return cls(target, tuple(map(_wheel, data["wheels"])), packages)


def _wheel(data: Mapping[str, Any]) -> LockedWheel:
    source = data["source"]
    return LockedWheel(**{**data, "source": LockedSource(**source) if source else None})
