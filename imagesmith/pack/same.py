"""A builder that is held to what a pack was made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.build.layers import LayersBuilder
from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagesmith.build.builder import Builder
    from imagesmith.image.oci import Image, Layer
    from imagesmith.image.plan import ImagePlan
    from imagesmith.pack.read import Packed


@dataclass(frozen=True)
class SameAsPacked:
    """Builds the very image that was packed; an engine writes another config, so only its name."""

    builder: Builder
    packed: Packed

    @property
    def name(self) -> str:
        """What ``--builder`` calls the one that builds."""
        return self.builder.name

    def build(self, plan: ImagePlan, made: Callable[[Layer], None]) -> Image:
        """Make the image; ImagesmithError (build.pack) where another one comes out."""
        image = self.builder.build(plan, made)
        digest = image.manifest.digest
        if isinstance(self.builder, LayersBuilder) and digest != self.packed.digest:
            raise ImagesmithError(
                error(
                    "build.pack",
                    plan.reference,
                    f"this imagesmith makes {digest} of it, it was packed as {self.packed.digest}",
                    f"build it with imagesmith {self.packed.packer}, or pack it again with this",
                )
            )
        return image
