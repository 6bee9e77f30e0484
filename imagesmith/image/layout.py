"""OCI image layouts (image-spec, image-layout.md): a folder of blobs and an index by name.

The store's own root is such a layout, so an image kept there needs no second copy.
"""

from __future__ import annotations

import json
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
    """Give the images that a layout names, sorted by name."""
    for found in sorted(_entries(root), key=_name):
        yield _load(root, found)


def find(root: Path, reference: str) -> oci.Image | None:
    """Give the image of that name or manifest digest (``name``, ``sha256:…`` or both), or None."""
    name, _, digest = reference.rpartition("@") if "@" in reference else (reference, "", "")
    if name.startswith("sha256:"):
        name, digest = "", name
    for found in _entries(root):
        if name in ("", _name(found)) and digest in ("", found["digest"]):
            return _load(root, found)
    return None


def put(root: Path, image: oci.Image) -> None:
    """Name an image, whose blobs are already there, in the layout's index.

    An image of the same name gives its name up; its blobs stay.
    """
    with locked(root):
        entries = _entries(root)
        if entry(image) in entries:
            return
        kept = [other for other in entries if _name(other) != image.reference]
        if not is_layout(root):
            write_whole(root / "oci-layout", VERSION)
        write_whole(root / "index.json", index([*kept, entry(image)]))


def entry(image: oci.Image) -> dict[str, Any]:
    """Give the index's entry for an image."""
    return {**image.manifest.as_dict(), "annotations": {oci.REF_NAME: image.reference}}


def index(entries: list[dict[str, Any]]) -> bytes:
    """Give the bytes of an index.json that names these manifests."""
    ordered = sorted(entries, key=_name)
    return canonical({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": ordered})


def _load(root: Path, found: dict[str, Any]) -> oci.Image:
    manifest = oci.Descriptor.from_dict(found)
    return oci.load(root / "blobs" / "sha256", manifest, _name(found))


def _entries(root: Path) -> list[dict[str, Any]]:
    try:
        parsed = json.loads((root / "index.json").read_bytes())
    except FileNotFoundError:
        return []
    return list(parsed["manifests"])


def _name(found: dict[str, Any]) -> str:
    return str(found.get("annotations", {}).get(oci.REF_NAME, ""))
