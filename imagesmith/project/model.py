"""A model to build: what to capture, what to make of it, and where that goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from imagesmith.image.oci import Image
    from imagesmith.pipeline import BuildWish, CaptureWish, Workshop
    from imagesmith.publish.publisher import Publisher
    from imagesmith.publish.registry import RegistryPublisher


@dataclass(frozen=True)
class Model:
    """One model, as a command line or a table of a project's file has it.

    ``output``, ``push`` and ``sign`` are as the options of those names; ``title`` is the table's
    own name.
    """

    title: str
    capture: CaptureWish
    build: BuildWish = field(repr=False)
    output: str | None = None
    push: str | None = None
    sign: str | None = None


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

    publisher, registry = _destinations(model, shop)
    publisher.check()
    if is_pack(Path(model.capture.target)):
        from imagesmith.pipeline import build_pack

        image = build_pack(model.capture, model.build, publisher, shop)
    else:
        pipeline.check_builder(model.build.builder, model.build.template)
        captured = pipeline.captured(model.capture, shop)
        project = pipeline.project_of(model.capture)
        image = pipeline.build(captured, model.build, publisher, shop, project)
    if registry is None:
        return Made(image)
    return Made(image, str(registry.reference.at(image.manifest.digest)))


def _destinations(model: Model, shop: Workshop) -> tuple[Publisher, RegistryPublisher | None]:
    """Give all that a model's image goes to, and of that the registry."""
    from imagesmith.publish.destination import destination, registry_at
    from imagesmith.publish.publisher import Several

    publisher = destination(model.output, shop.store, shop.progress)
    if model.push:
        registry = registry_at(model.push, model.sign, shop.store, shop.progress)
        return Several((publisher, registry)), registry
    if model.sign is not None:
        raise ImagesmithError(
            error(
                "usage.sign",
                model.sign,
                "nothing is pushed, so there is nothing to sign: a signature lies beside an image"
                " in its registry",
                "say with --push where the image goes, or leave --sign out",
            )
        )
    return publisher, None
