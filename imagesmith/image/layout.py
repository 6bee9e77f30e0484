"""OCI image layouts (image-spec, image-layout.md): a folder of blobs and an index by name.

The store's own root is such a layout, so an image kept there needs no second copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagesmith.image import oci
from imagesmith.store import canonical, locked, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = canonical({"imageLayoutVersion": "1.0.0"})


def is_layout(root: Path) -> bool:
    """Say whether a folder is an OCI image layout."""
    return (root / "oci-layout").is_file()


def images(root: Path) -> Iterator[oci.Image]:
    """Give the images that a layout names, sorted by name; ValueError, OSError for damaged ones."""
    for found in sorted(_entries(root), key=name_of):
        yield _load(root, found)


def find(root: Path, reference: str) -> oci.Image | None:
    """Give the image of that name or manifest digest (``name``, ``sha256:…`` or both), or None.

    Raises ValueError or OSError where index, manifest or config are damaged or not there.
    """
    name, _, digest = reference.rpartition("@") if "@" in reference else (reference, "", "")
    if name.startswith("sha256:"):
        name, digest = "", name
    for found in _entries(root):
        if name in ("", name_of(found)) and digest in ("", found["digest"]):
            return _load(root, found)
    return None


def put(root: Path, image: oci.Image) -> None:
    """Name an image, whose blobs are already there, in the layout's index.

    An image of the same name gives its name up; its blobs stay. Raises ValueError where the index
    that is there is damaged, and OSError.
    """
    with locked(root):
        named = _entries(root)
        if entry(image) in named:
            return
        kept = [other for other in named if name_of(other) != image.reference]
        if not is_layout(root):
            write_whole(root / "oci-layout", VERSION)
        write_whole(root / "index.json", index([*kept, entry(image)]))


def drop(root: Path, image: oci.Image) -> None:
    """Take an image's name out of the index; its blobs stay. Raises what ``put`` does."""
    with locked(root):
        kept = [other for other in _entries(root) if other != entry(image)]
        write_whole(root / "index.json", index(kept))


def entry(image: oci.Image) -> dict[str, Any]:
    """Give the index's entry for an image."""
    return {**image.manifest.as_dict(), "annotations": {oci.REF_NAME: image.reference}}


def index(named: list[dict[str, Any]]) -> bytes:
    """Give the bytes of an index.json that names these manifests."""
    ordered = sorted(named, key=name_of)
    return canonical({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": ordered})


def entries(data: bytes) -> list[dict[str, Any]]:
    """Read what an index.json names; ValueError if it is none."""
    found = oci.json_object(data).get("manifests")
    if not isinstance(found, list):
        raise ValueError("its index.json names no manifests")
    for one in found:
        oci.Descriptor.from_dict(one)
        if not isinstance(one.get("annotations") or {}, dict):
            raise ValueError("its index.json has annotations that are none")
    return found


def name_of(found: dict[str, Any]) -> str:
    """Give the name that an entry of an index bears, "" if none."""
    return str((found.get("annotations") or {}).get(oci.REF_NAME, ""))


def _load(root: Path, found: dict[str, Any]) -> oci.Image:
    manifest = oci.Descriptor.from_dict(found)
    return oci.load(root / "blobs" / "sha256", manifest, name_of(found))


def _entries(root: Path) -> list[dict[str, Any]]:
    try:
        data = (root / "index.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    return entries(data)
