"""Publishing into one file: a tar that is an OCI layout and what ``docker load`` reads, in one.

Sources: OCI image-spec, image-layout.md; Docker's image tarball (``manifest.json``), without which
a Docker 20.10 engine loads nothing.
"""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.image import layout, oci
from imagesmith.image.tar import disk_member, file_member, write_tar
from imagesmith.publish.publisher import failed, occupied
from imagesmith.store import canonical, hex_of, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.image.oci import Image
    from imagesmith.image.tar import Member


@dataclass(frozen=True)
class ArchivePublisher:
    """Writes an image into a tar file; the same image gives the same bytes."""

    file: Path

    def check(self) -> None:
        """Raise publish.occupied if the file is there and is no image archive."""
        if self.file.exists() and _index(self.file) is None:
            raise occupied(self.file, "an image archive")

    def publish(self, image: Image) -> str:
        """Write the archive beside the file and put it in its place."""
        self.check()
        index = layout.index([layout.entry(image)])
        if _index(self.file) != index:
            try:
                self._write(image, index)
            except OSError as bad:
                raise failed(self.file, bad) from bad
        return f"archive:{self.file}"

    def _write(self, image: Image, index: bytes) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.file.parent, prefix=f".{self.file.name}.")
        beside = Path(name)
        try:
            with os.fdopen(handle, "wb") as out:
                write_tar(_members(image, index), out)
                os.fchmod(out.fileno(), 0o644)
                out.flush()
                os.fsync(out.fileno())
            beside.replace(self.file)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(self.file.parent)


def _members(image: Image, index: bytes) -> Iterator[Member]:
    for blob in dict.fromkeys(image.descriptors()):
        yield disk_member(_place(blob), image.blob(blob.digest))
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
            found = tar.extractfile("index.json")
            data = found.read() if found else b""
    except (OSError, KeyError, tarfile.TarError):
        return None
    try:
        json.loads(data)
    except ValueError:
        return None
    return data
