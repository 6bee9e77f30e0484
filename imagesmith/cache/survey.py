"""What is in the store: each thing that could be removed by itself, its size and its last use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from imagesmith.image import layout, oci
from imagesmith.image.find import damaged
from imagesmith.partial import PARTIAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from imagesmith.store import Store

_STATE = "replicas"  # the one kind of records that nothing could bring back


class Kind(StrEnum):
    """What things in the store are."""

    ARTIFACTS = "wheels and packages"
    LAYERS = "layers"
    BYTE_CODE = "byte code"
    BASES = "bases"
    IMAGES = "manifests and configs"
    FOLDERS = "unpacked"
    CAPTURES = "captures"
    CHANNELS = "channel indexes"
    RECORDS = "records"


_OF_FOLDERS = {"captures": Kind.CAPTURES}  # the others are unpacked layers and packages


@dataclass(frozen=True)
class Item:
    """A blob, a folder or a record.

    ``size`` is in bytes, ``used`` the time of its last use (seconds since the epoch); ``about`` are
    the blobs and folders without which a record says nothing.
    """

    kind: Kind
    path: Path
    size: int
    used: float
    about: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Named:
    """An image that the store has by name, and when that was used last."""

    image: oci.Image
    used: float

    @property
    def size(self) -> int:
        """The bytes of its blobs."""
        return sum(blob.size for blob in self.image.descriptors())

    def blobs(self) -> frozenset[Path]:
        """Give the files that it consists of."""
        return frozenset(self.image.blob(blob.digest) for blob in self.image.descriptors())


@dataclass(frozen=True)
class Survey:
    """All that is in a store; ``running`` are the unpacked layers that containers have."""

    items: tuple[Item, ...]
    images: tuple[Named, ...]
    running: frozenset[Path]

    @property
    def size(self) -> int:
        """All of it, in bytes."""
        return sum(item.size for item in self.items)

    def held(self, images: Iterable[Named]) -> frozenset[Path]:
        """Give what must stay as long as these images are named: their blobs, what is told of them,
        and what runs."""
        blobs = frozenset(path for named in images for path in named.blobs())
        names = {path.name for path in blobs}
        told = (i.path for i in self.items if i.kind is Kind.RECORDS and i.path.stem in names)
        return blobs | self.running | frozenset(told)


def survey(store: Store) -> Survey:
    """Look through a store; nothing counts as used by that.

    Raises ImagesmithError (build.damaged) where its index or an image of it cannot be read.
    """
    try:
        images = tuple(layout.images(store.root))
    except (ValueError, OSError) as bad:
        raise damaged(str(store.root), bad) from bad
    records = tuple(_records(store))
    kinds = _kinds(images, records)
    blobs = (
        Item(kinds.get(path.name, Kind.ARTIFACTS), path, size, used)
        for path, size, used in _files(store.blobs)
    )
    items = (*blobs, *_folders(store), *(item for item, _ in records))
    used = {item.path.name: item.used for item in items}
    named = (Named(image, used.get(_hex(image.manifest.digest), 0.0)) for image in images)
    return Survey(items, tuple(named), frozenset(_running(store)))


def _running(store: Store) -> Iterator[Path]:
    """Give the unpacked layers that containers, those of killed commands too, have links to."""
    for link in (store.root / "run").glob("*/lower/*"):
        if link.is_symlink():
            yield store.root / "folders" / "layers" / link.readlink().name


def _kinds(images: Iterable[oci.Image], records: Iterable[tuple[Item, Any]]) -> Mapping[str, Kind]:
    """Say what blobs are, by their hex digests, as far as anything says so."""
    kinds: dict[str, Kind] = {}
    for item, fact in records:
        kind = {"layers": Kind.LAYERS, "bytecode": Kind.BYTE_CODE}.get(item.path.parent.name)
        if kind and isinstance(fact, dict):
            kinds[_hex(str(fact.get("digest")))] = kind
    for image in sorted(images, key=_is_base):
        of_base = Kind.BASES if _is_base(image) else None
        kinds |= {_hex(layer.blob.digest): of_base or Kind.LAYERS for layer in image.layers}
        for blob in (image.config_blob, image.manifest):
            kinds[_hex(blob.digest)] = of_base or Kind.IMAGES
    return kinds


def _is_base(image: oci.Image) -> bool:
    return not {oci.LABEL_BASE, oci.LABEL_TOOLCHAIN}.isdisjoint(image.config.labels)


def _hex(digest: str) -> str:
    return digest.rpartition(":")[2]


def _files(folder: Path, pattern: str = "*") -> Iterator[tuple[Path, int, float]]:
    """Give what has its name already; what is being written is nothing yet."""
    for path in sorted(folder.glob(pattern)):
        if PARTIAL not in path.name:
            found = path.lstat()
            yield path, found.st_size, found.st_mtime


def _folders(store: Store) -> Iterator[Item]:
    for path, _, used in _files(store.root, "folders/*/*"):
        kind = _OF_FOLDERS.get(path.parent.name, Kind.FOLDERS)
        yield Item(kind, path, _size(path), used)
    for path, _, used in _files(store.root, "channels"):
        latest = max((file.lstat().st_mtime for file in path.rglob("*")), default=used)
        yield Item(Kind.CHANNELS, path, _size(path), latest)


def _size(folder: Path) -> int:
    """Add up a folder's files; a link to another place is nothing."""
    if folder.is_symlink():
        return 0
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _records(store: Store) -> Iterator[tuple[Item, Any]]:
    for path, size, used in _files(store.root, "records/*/*.json"):
        if path.parent.name == _STATE:
            continue
        try:
            fact = json.loads(path.read_bytes())
        except ValueError:  # it is as good as none
            fact = None
        about = tuple(_about(store, path.parent.name, fact)) if isinstance(fact, dict) else ()
        yield Item(Kind.RECORDS, path, size, used, about), fact


def _about(store: Store, kind: str, fact: Mapping[str, Any]) -> Iterator[Path]:
    """Give what a record says something of: a blob by its digest, an image, a kept folder."""
    for key in ("digest", "image"):
        if isinstance(digest := fact.get(key), str) and digest.startswith("sha256:"):
            yield store.blobs / _hex(digest)
    if isinstance(folder := fact.get("folder"), str):
        yield store.root / "folders" / kind / folder
