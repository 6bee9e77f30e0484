"""What the pipeline asks of a destination, and what destinations have in common."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagesmith.image.oci import Image


class Publisher(Protocol):
    """A destination of images."""

    def check(self) -> None:
        """Raise ImagesmithError (publish.…) if nothing can be published here; asked first."""

    def publish(self, image: Image) -> str:
        """Publish the image, whole or not at all, and give the place in words.

        An image that is there already is left alone. Raises ImagesmithError (publish.…).
        """


@dataclass(frozen=True)
class Several:
    """Publishes to several destinations, one after the other."""

    publishers: tuple[Publisher, ...]

    def check(self) -> None:
        """Ask each; raises what the first that refuses raises."""
        for publisher in self.publishers:
            publisher.check()

    def publish(self, image: Image) -> str:
        """Publish to each; raises what the first that cannot raises."""
        return " and ".join([publisher.publish(image) for publisher in self.publishers])


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
def writing(path: Path) -> Iterator[None]:
    """Tell why a destination cannot be written, or an image cannot be read, as a finding."""
    try:
        yield
    except OSError as bad:
        raise ImagesmithError(
            error(
                "publish.failed",
                path,
                f"{path} cannot be written: {bad.strerror or bad}",
                "free some space or mend the permissions there, then publish again",
            )
        ) from bad
    except ValueError as bad:
        raise ImagesmithError(
            error(
                "publish.damaged",
                path,
                f"the image cannot be published at {path}: {bad}",
                "build the image again; if the place itself is damaged, name another one",
            )
        ) from bad
