"""What the pipeline asks of a destination, and how ``--output`` names one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from imagesmith.image.oci import Image
    from imagesmith.store import Store


class Publisher(Protocol):
    """A destination of images."""

    def check(self) -> None:
        """Raise ImagesmithError (publish.…) if nothing can be published here; asked first."""

    def publish(self, image: Image) -> str:
        """Publish the image, whole or not at all, and give the place in words.

        An image that is there already is left alone. Raises ImagesmithError (publish.…).
        """


def publisher(output: str | None, store: Store) -> Publisher:
    """Give the destination that ``oci:DIR`` or ``archive:FILE`` names; None is the store.

    Raises ImagesmithError (usage.output) for any other text.
    """
    from imagesmith.publish.archive import ArchivePublisher
    from imagesmith.publish.layout import LayoutPublisher, StorePublisher

    if output is None:
        return StorePublisher(store)
    scheme, _, path = output.partition(":")
    if path and scheme == "oci":
        return LayoutPublisher(Path(path))
    if path and scheme == "archive":
        return ArchivePublisher(Path(path))
    raise ImagesmithError(
        error(
            "usage.output",
            output,
            f"{output!r} names no destination",
            "use oci:DIR for an OCI layout or archive:FILE for an archive",
        )
    )


def occupied(path: Path, holds: str) -> ImagesmithError:
    """Give the error for a destination that holds something else, which is left untouched."""
    return ImagesmithError(
        error(
            "publish.occupied",
            path,
            f"{path} is there already and is not {holds}",
            "name another place, or move away what is there",
        )
    )


def failed(path: Path, bad: OSError) -> ImagesmithError:
    """Give the error for a destination that cannot be written."""
    return ImagesmithError(
        error(
            "publish.failed",
            path,
            f"{path} cannot be written: {bad.strerror or bad}",
            "free some space or mend the permissions there, then publish again",
        )
    )
