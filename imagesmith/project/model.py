"""A model to build: what to capture, what to make of it, and where that goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagesmith.image.oci import Image
    from imagesmith.pipeline import BuildWish, CaptureWish, Workshop


@dataclass(frozen=True)
class Model:
    """One model, as a command line or a table of a project's file has it.

    ``output`` and ``push`` are as the options of those names; ``title`` is the table's own name.
    """

    title: str
    capture: CaptureWish
    build: BuildWish = field(repr=False)
    output: str | None = None
    push: str | None = None


@dataclass(frozen=True)
class Made:
    """What came of a model: its image, and the reference that a registry has it under, if any."""

    image: Image
    pushed: str | None = None

    @property
    def reference(self) -> str:
        """What a build prints: the image's name with its digest, the registry's if it is there."""
        return self.pushed or self.image.pinned

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON data."""
        data = {"image": self.image.pinned, "digest": self.image.manifest.digest}
        return {**data, "pushed": self.pushed} if self.pushed else data


def made(model: Model, shop: Workshop) -> Made:
    """Capture a model, build it, and publish its image; every destination is asked first.

    Raises ImagesmithError with the findings of the stage that cannot go on.
    """
    from imagesmith import pipeline
    from imagesmith.pack.archive import is_pack
    from imagesmith.publish.destination import destination
    from imagesmith.publish.publisher import Several

    publisher = destination(model.output, shop.store, shop.progress)
    registry = None
    if model.push:
        from imagesmith.publish.registry import RegistryPublisher
        from imagesmith.registry.reference import parse

        registry = RegistryPublisher(parse(model.push), shop.store, shop.progress)
        publisher = Several((publisher, registry))
    publisher.check()
    if is_pack(Path(model.capture.target)):
        from imagesmith.packing import build_pack

        image = build_pack(model.capture, model.build, publisher, shop)
    else:
        pipeline.check_builder(model.build.builder, model.build.template)
        captured = pipeline.captured(model.capture, shop)
        image = pipeline.build(captured, model.build, publisher, shop)
    if registry is None:
        return Made(image)
    return Made(image, str(registry.reference.at(image.manifest.digest)))
