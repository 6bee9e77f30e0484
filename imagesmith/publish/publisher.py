"""What the pipeline asks of a destination, and what destinations have in common."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from imagesmith.findings import ImagesmithError, error
from imagesmith.store import DamagedError, sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from imagesmith.image.oci import Descriptor, Image, Layer


class Delivery(Protocol):
    """An image on its way to a destination, while it is being made."""

    def layer(self, layer: Layer) -> None:
        """Take the image's next layer, from its first on; it is in the store."""

    def publish(self, image: Image) -> str:
        """Publish the image, of which these were the first layers; see ``Publisher.publish``."""


class Publisher(Protocol):
    """A destination of images."""

    def check(self) -> None:
        """Raise ImagesmithError (publish.…) if nothing can be published here; asked first."""

    def publish(self, image: Image) -> str:
        """Publish the image, whole or not at all, and give the place in words.

        An image that is there already is left alone. Raises ImagesmithError (publish.…).
        """

    def delivery(self) -> AbstractContextManager[Delivery]:
        """Begin with an image that is not made yet; of one that is not published nothing stays."""
        return nullcontext(_Whole(self))


@dataclass(frozen=True)
class _Whole:
    """What a destination needs that has no use for a layer before the others."""

    publisher: Publisher

    def layer(self, layer: Layer) -> None:
        """Leave it until the image is whole."""

    def publish(self, image: Image) -> str:
        """Publish all of it."""
        return self.publisher.publish(image)


@dataclass(frozen=True)
class Several(Publisher):
    """Publishes to several destinations, one after the other."""

    publishers: tuple[Publisher, ...]

    def check(self) -> None:
        """Ask each; raises what the first that refuses raises."""
        for publisher in self.publishers:
            publisher.check()

    def publish(self, image: Image) -> str:
        """Publish to each; raises what the first that cannot raises."""
        with self.delivery() as delivery:
            return delivery.publish(image)

    @contextmanager
    def delivery(self) -> Iterator[Delivery]:
        """Begin with each."""
        with ExitStack() as stack:
            opened = [stack.enter_context(each.delivery()) for each in self.publishers]
            yield _Deliveries(tuple(opened))


@dataclass(frozen=True)
class _Deliveries:
    """One image on its way to several destinations."""

    deliveries: tuple[Delivery, ...]

    def layer(self, layer: Layer) -> None:
        """Give the layer to each."""
        for delivery in self.deliveries:
            delivery.layer(layer)

    def publish(self, image: Image) -> str:
        """Publish to each; raises what the first that cannot raises."""
        return " and ".join([delivery.publish(image) for delivery in self.deliveries])


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


@contextmanager
def writing(path: Path, image: Image | None = None) -> Iterator[None]:
    """Tell why a destination cannot be written, or an image cannot be read, as a finding.

    Raises ImagesmithError: publish.failed, publish.damaged; DamagedError if a blob of the image is.
    """
    try:
        yield
    except (OSError, ValueError) as bad:
        if image is not None:
            blame(image, image.descriptors())
        raise _refused(path, bad) from bad


def blame(image: Image, blobs: Iterable[Descriptor]) -> None:
    """Raise DamagedError for one of these blobs that is not there, or not what its digest says."""
    names = {layer.blob: layer.comment for layer in image.layers}
    for blob in blobs:
        path = image.blob(blob.digest)
        if not path.is_file() or sha256_file(path) != blob.digest:
            name = f"{names.get(blob) or 'what describes it'} of {image.reference}"
            raise DamagedError("publish.damaged", name, blob.digest)


def _refused(path: Path, bad: Exception) -> ImagesmithError:
    if isinstance(bad, OSError):
        return ImagesmithError(
            error(
                "publish.failed",
                path,
                f"{path} cannot be written: {bad.strerror or bad}",
                "free some space or mend the permissions there, then publish again",
            )
        )
    return ImagesmithError(
        error(
            "publish.damaged",
            path,
            f"the image cannot be published at {path}: {bad}",
            "build the image again; if the place itself is damaged, name another one",
        )
    )
