"""Publishing into one file: a tar that is an OCI layout and what ``docker load`` reads, in one.

Sources: OCI image-spec, image-layout.md; Docker's image tarball (``manifest.json``), without which
a Docker 20.10 engine loads nothing.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.image import layout, oci
from imagesmith.image.tar import disk_member, file_member, write_tar
from imagesmith.partial import clear_partial
from imagesmith.publish.publisher import Publisher, occupied, writing
from imagesmith.store import canonical, file_whole, hex_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagesmith.image.oci import Image
    from imagesmith.image.tar import Member


@dataclass(frozen=True)
class ArchivePublisher(Publisher):
    """Writes an image into a tar file; the same image gives the same bytes."""

    file: Path

    def check(self) -> None:
        """Raise publish.occupied if the file is there and is no image archive."""
        with writing(self.file):
            if self.file.exists() and _index(self.file) is None:
                raise occupied(self.file, "an image archive")

    def publish(self, image: Image) -> str:
        """Write the archive beside the file and put it in its place."""
        self.check()
        index = layout.index([layout.entry(image)])
        with writing(self.file, image):
            if _index(self.file) != index:
                clear_partial(self.file.parent, self.file.name)
                with file_whole(self.file) as out:
                    write_tar(_members(image, index), out)
        return f"archive:{self.file}"


def _members(image: Image, index: bytes) -> Iterator[Member]:
    for blob in dict.fromkeys(image.descriptors()):
        yield disk_member(_place(blob), image.blob(blob.digest), digest=blob.digest)
    yield file_member("oci-layout", layout.VERSION)
    yield file_member("index.json", index)
    yield file_member("manifest.json", _docker_manifest(image))


def _docker_manifest(image: Image) -> bytes:
    return canonical(
        [
            {
                "Config": _place(image.config_blob),
                "RepoTags": [image.reference],
                "Layers": [_place(layer.blob) for layer in image.layers],
            }
        ]
    )


def _place(blob: oci.Descriptor) -> str:
    return f"blobs/sha256/{hex_of(blob.digest)}"


def _index(file: Path) -> bytes | None:
    """Give the index.json of an image archive; None if the file is none."""
    try:
        with tarfile.open(file, "r:") as tar:
            tar.getmember("oci-layout")
            found = tar.extractfile("index.json")
            data = found.read() if found else b""
            layout.entries(data)
    except (OSError, KeyError, ValueError, tarfile.TarError):
        return None
    return data
