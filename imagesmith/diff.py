"""What two environments differ in: captured, locked, or in an image, each read as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imagesmith.capture.environment import CondaPackage, Distribution, Environment
    from imagesmith.image.oci import Image
    from imagesmith.resolve.lock import Lock
    from imagesmith.store import Store


@dataclass(frozen=True)
class Part:
    """One package of an environment; ``size`` in bytes as installed, None if nobody says."""

    manager: str
    version: str
    size: int | None


Picture = Mapping[str, Part]  # by the normalised name of the distribution, else conda's name


@dataclass(frozen=True)
class Change:
    """What became of a package: None where one side has it not."""

    name: str
    before: Part | None
    after: Part | None

    @property
    def kind(self) -> str:
        """One of added, removed, swapped (from conda to pip or back) and moved (its version)."""
        if self.before is None or self.after is None:
            return "added" if self.before is None else "removed"
        return "moved" if self.before.manager == self.after.manager else "swapped"

    def as_dict(self) -> dict[str, Any]:
        """Give the change as plain JSON data."""
        sides = {"before": self.before, "after": self.after}
        parts = {side: part and vars(part) for side, part in sides.items()}
        return {"name": self.name, "kind": self.kind, **parts}


def changes(before: Picture, after: Picture) -> tuple[Change, ...]:
    """Give what differs, by name; sizes alone are no difference."""
    names = sorted(before.keys() | after.keys())
    every = (Change(name, before.get(name), after.get(name)) for name in names)
    return tuple(change for change in every if _identity(change.before) != _identity(change.after))


def _identity(part: Part | None) -> tuple[str, str] | None:
    return (part.manager, part.version) if part else None


def size(picture: Picture) -> int:
    """Add up the sizes that are known."""
    return sum(part.size or 0 for part in picture.values())


def picture(text: str, store: Store) -> Picture:
    """Read what the user names: a bundle, a lock's folder, an environment's, or an image.

    Raises ImagesmithError: usage.image, usage.bundle, usage.lock, capture.no-environment.
    """
    from imagesmith.capture.bundle import is_bundle, read
    from imagesmith.capture.prefix import read_prefix
    from imagesmith.image.find import find_image
    from imagesmith.resolve import files

    place = Path(text)
    if not os.path.isdir(place):  # noqa: PTH112 (pathlib's raises where a name is too long)
        return _of_image(find_image(text, store), store)
    if is_bundle(place):
        return _of_environment(read(place).environment)
    if (place / files.PYLOCK).exists():
        return _of_lock(files.read(place), store)
    return _of_environment(read_prefix(place)[0])


def _of_environment(environment: Environment) -> Picture:
    return _parts(environment.distributions, environment.packages)


def _parts(
    distributions: Iterable[Distribution], packages: Iterable[CondaPackage]
) -> dict[str, Part]:
    conda = dict(_of_conda(packages))
    by_conda = {name for package in packages for name in package.distributions}
    pip = {d.name: Part("pip", d.version, d.size) for d in distributions if d.name not in by_conda}
    return {**pip, **conda}


def _of_conda(packages: Iterable[CondaPackage]) -> Iterator[tuple[str, Part]]:
    for package in packages:
        name = package.distributions[0] if len(package.distributions) == 1 else package.name
        yield name, Part("conda", package.version, package.size)


def _of_lock(lock: Lock, store: Store) -> Picture:
    from packaging.utils import canonicalize_name

    wheels = {w.name: Part("pip", w.version, _unpacked(store, w.digest)) for w in lock.wheels}
    conda = {str(canonicalize_name(p.name)): Part("conda", p.version, None) for p in lock.packages}
    return wheels | conda


def _unpacked(store: Store, digest: str) -> int | None:
    """Give how many bytes a wheel installs, where the store has it."""
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(store.path(digest)) as wheel:
            return sum(entry.file_size for entry in wheel.infolist())
    except (OSError, BadZipFile):
        return None


def _of_image(image: Image, store: Store) -> Picture:
    """Read the metadata that lies in an image's layers; nothing of it is run."""
    from imagesmith.capture import agent
    from imagesmith.capture.conda import read_conda
    from imagesmith.capture.environment import Distribution
    from imagesmith.image.unpack import unpacked

    folders = [unpacked(store, image.blob(layer.blob.digest), layer) for layer in image.layers]
    prefixes = [folder / "opt/env" for folder in folders]
    sites = [str(site) for prefix in prefixes for site in prefix.glob("lib/python3*/site-packages")]
    described = agent.read_distributions(sites, sites, [])
    packages = [package for prefix in prefixes for package in read_conda(prefix, {})[0]]
    return _parts(list(map(Distribution.from_json, described)), packages)
