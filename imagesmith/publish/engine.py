"""Publishing into a Docker engine: as `docker load` would, without the layers that it has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from imagesmith.engine import connected
from imagesmith.findings import ImagesmithError, error
from imagesmith.image.oci import ImageConfig
from imagesmith.publish.load import Load, LoadError, loading
from imagesmith.publish.publisher import Delivery, Publisher, writing
from imagesmith.publish.stages import Stages, knows_manifests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.image.oci import Image, Layer
    from imagesmith.progress import Progress
    from imagesmith.store import Store


@dataclass(frozen=True)
class EnginePublisher(Publisher):
    """Loads images into a Docker engine: the one of ``host``, else of DOCKER_HOST."""

    store: Store
    progress: Progress
    host: str | None = None

    def check(self) -> None:
        """Raise ImagesmithError (reach.engine) if no engine answers."""
        with connected(self.host):
            pass

    def publish(self, image: Image) -> str:
        """Load the image under its name, unless it is there; then see that it is the same.

        Raises ImagesmithError: reach.engine, publish.engine, publish.digest, publish.damaged.
        """
        with self.delivery() as delivery:
            return delivery.publish(image)

    @contextmanager
    def delivery(self) -> Iterator[Delivery]:
        """Load layers while others are being made; nothing of them stays without ``publish``."""
        # One load is sent while the one before it is loaded.
        with ThreadPoolExecutor(2, thread_name_prefix="load") as pool:
            stages = Stages(self.host, self.store, partial(Load, self.host, pool))
            try:
                yield _Delivery(self, stages)
            finally:
                stages.forget()


@dataclass(frozen=True)
class _Delivery:
    """An image on its way into an engine; see publisher.Delivery."""

    publisher: EnginePublisher
    stages: Stages

    def layer(self, layer: Layer) -> None:
        """Send a layer of the store, unless the engine has it."""
        self.stages.add(layer, self.publisher.store.path(layer.blob.digest))

    def publish(self, image: Image) -> str:
        """Send what the engine lacks still, and have all of it loaded."""
        from docker.errors import ImageNotFound

        with writing(image.blobs, image), loading(self.publisher.host) as client:
            engine = client.api
            if not _has(engine, image):
                self._load(image)
            # Also what was just loaded: only so does the engine note when a name was given.
            with suppress(ImageNotFound):  # with containerd's store, where the load has named it
                engine.tag(image.config_blob.digest, *_name(image))
            _check_loaded(engine, image)
        return "the Docker engine"

    def _load(self, image: Image) -> None:
        stages = self.stages
        try:
            self._finish(stages, image)
        except LoadError:
            if stages.stands_alone:
                raise
            # What it had may have gone in between; all of it depends on nothing.
            stages = Stages(stages.host, stages.store, stages.begin, chains=(), at_once=True)
            try:
                self._finish(stages, image)
            finally:
                stages.forget()
        told = f"{len(image.layers) - stages.known} layers ({stages.size / 1e6:.1f} MB)"
        self.publisher.progress.say("publish", f"{told} into the engine")

    def _finish(self, stages: Stages, image: Image) -> None:
        stages.complete(image)
        counted = self.publisher.progress.count("publish", "layers into the engine", stages.size)
        with counted as advance:
            stages.finish(image, advance)


def _has(engine: Any, image: Image) -> bool:
    from docker.errors import ImageNotFound

    try:
        engine.inspect_image(image.config_blob.digest)
    except ImageNotFound:
        return False
    return True


def _check_loaded(engine: Any, image: Image) -> None:
    """Raise publish.digest unless the engine names by the reference what was loaded."""
    loaded = engine.inspect_image(image.reference)
    expected, found = image.config_blob.digest, loaded["Id"]
    if expected != found and not (_is_alike(loaded, image) and knows_manifests(engine)):
        raise ImagesmithError(
            error(
                "publish.digest",
                image.reference,
                f"the engine has another image under that name: {found}, not {expected}",
                "publish again; somebody may have given the name away in between",
            )
        )


def _is_alike(loaded: dict[str, Any], image: Image) -> bool:
    """Say whether an engine's image has the layers of ours, and starts as it does."""
    layers = [layer.diff_id for layer in image.layers]
    config = ImageConfig.from_dict(loaded.get("Config") or {})
    return loaded["RootFS"].get("Layers") == layers and config == image.config


def _name(image: Image) -> tuple[str, str]:
    name, _, tag = image.reference.rpartition(":")
    return name, tag
