"""What the pipeline asks of an executor of plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from imagesmith.image.oci import Image
    from imagesmith.image.plan import ImagePlan


class Builder(Protocol):
    """Makes an image from a plan; every builder makes the same image from the same plan."""

    def build(self, plan: ImagePlan) -> Image:
        """Make the image; ImagesmithError (build.…) if it cannot be made."""
