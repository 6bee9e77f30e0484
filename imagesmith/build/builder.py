"""What the pipeline asks of an executor of plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagesmith.image.oci import Image, Layer
    from imagesmith.image.plan import ImagePlan


class Builder(Protocol):
    """Makes an image from a plan; every builder makes the same image from the same plan."""

    @property
    def name(self) -> str:
        """What ``--builder`` calls it."""

    def build(self, plan: ImagePlan, made: Callable[[Layer], None]) -> Image:
        """Make the image; ImagesmithError (build.…) if it cannot be made.

        ``made`` may be told each layer as soon as it and those below it are in the store.
        """


def nobody(_layer: Layer) -> None:
    """Hear of a layer for nobody: the image is of use only when it is whole."""
