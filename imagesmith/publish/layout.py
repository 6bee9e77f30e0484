"""Publishing into OCI image layouts: a user's folder, or the store, which is one itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.image import layout
from imagesmith.partial import clear_partial
from imagesmith.publish.publisher import Publisher, occupied, writing
from imagesmith.store import Store, folder_whole, locked

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.image.oci import Image


@dataclass(frozen=True)
class StorePublisher(Publisher):
    """Names an image in imagesmith's own store, where its blobs are already."""

    store: Store

    def check(self) -> None:
        """Find nothing: the store takes any image."""

    def publish(self, image: Image) -> str:
        """Name the image in the store's index."""
        with writing(self.store.root):
            layout.put(self.store.root, image)
        return "imagesmith's store"


@dataclass(frozen=True)
class LayoutPublisher(Publisher):
    """Copies an image into a folder that is an OCI layout, or becomes one."""

    folder: Path

    def check(self) -> None:
        """Raise publish.occupied if the folder holds anything but an OCI layout."""
        with writing(self.folder):
            if self.folder.is_dir():
                if any(self.folder.iterdir()) and not layout.is_layout(self.folder):
                    raise occupied(self.folder, "an OCI layout")
            elif self.folder.exists():
                raise occupied(self.folder, "a folder")

    def publish(self, image: Image) -> str:
        """Copy the blobs that are missing, then name the image in the index.

        A folder that is new appears whole; one that exists gets its index last.
        """
        self.check()
        with writing(self.folder, image):
            with locked(self.folder.parent):  # two builds may begin the same folder at once
                is_new = not layout.is_layout(self.folder)
                if is_new:
                    clear_partial(self.folder.parent, self.folder.name)
                    with folder_whole(self.folder) as beside:
                        _fill(beside, image)
            if not is_new:
                _fill(self.folder, image)
        return f"oci:{self.folder}"


def _fill(folder: Path, image: Image) -> None:
    copies = Store(folder)
    copies.sweep()
    for blob in image.descriptors():
        there = copies.path(blob.digest)
        if not (there.is_file() and there.stat().st_size == blob.size):
            copies.add_file(image.blob(blob.digest), expected=blob.digest)
    layout.put(folder, image)
