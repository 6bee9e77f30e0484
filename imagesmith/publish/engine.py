"""Publishing into a Docker engine: as `docker load` would, without the layers that it has.

An engine keeps a layer under the chain of all below it; so of an image it has the longest prefix
that one of its own images begins with. Layers travel uncompressed, which spares the engine work.

Source: Docker's image tarball (``manifest.json``).
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from imagesmith.engine import connected
from imagesmith.findings import ImagesmithError, error
from imagesmith.image import oci
from imagesmith.image.gunzip import gunzip
from imagesmith.image.layer import plain_size
from imagesmith.image.tar import Kind, Member, disk_member, file_member
from imagesmith.publish.load import Load, LoadError
from imagesmith.publish.publisher import Publisher, writing
from imagesmith.store import canonical, hex_of, sha256_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from docker import DockerClient

    from imagesmith.image.oci import Image, Layer
    from imagesmith.progress import Progress
    from imagesmith.store import Store

_CONFIG = "config.json"


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
    def delivery(self) -> Iterator[_Delivery]:
        """Send layers while others are being made; nothing of them stays without ``publish``."""
        with ThreadPoolExecutor(1, thread_name_prefix="load") as pool:
            delivery = _Delivery(self, partial(Load, self.host, pool))
            try:
                yield delivery
            finally:
                delivery.abandon()


class _Delivery:
    """An image on its way into an engine; see publisher.Delivery."""

    def __init__(self, publisher: EnginePublisher, begin: Callable[[], Load]) -> None:
        self._host = publisher.host
        self._store = publisher.store
        self._progress = publisher.progress
        self._begin = begin
        self._layers: list[Layer] = []
        self._known = 0  # so many of them the engine has
        self._chains: list[list[str]] | None = None  # the layers of its images; None: not asked
        self._load: Load | None = None

    def layer(self, layer: Layer) -> None:
        """Send a layer of the store, unless the engine has it."""
        self._add(layer, self._store.path(layer.blob.digest))

    def publish(self, image: Image) -> str:
        """Send what the engine lacks still, and have all of it loaded."""
        with writing(image.blobs, image), _loading(self._host) as client:
            engine = client.api
            if not _has(engine, image):
                for layer in image.layers[len(self._layers) :]:
                    self._add(layer, image.blob(layer.blob.digest))
                self._finish(image)
            # Also what was just loaded: only so does the engine note when a name was given.
            engine.tag(image.config_blob.digest, *_name(image))
            _check_loaded(engine, image)
        return "the Docker engine"

    def abandon(self) -> None:
        """Break off what was begun."""
        if self._load is not None:
            self._load.abandon()

    def _add(self, layer: Layer, blob: Path) -> None:
        self._layers.append(layer)
        if self._load is None and self._engine_has_all():
            self._known += 1
            return
        self._load = self._load or self._begin()
        if layer not in self._layers[self._known : -1]:
            self._load.add(self._member(layer, blob))

    def _engine_has_all(self) -> bool:
        """Say whether an image of the engine begins with the layers so far."""
        if self._chains is None:
            with _loading(self._host) as client:
                self._chains = _chains(client.api, self._store)
        wanted = [layer.diff_id for layer in self._layers]
        return any(chain[: len(wanted)] == wanted for chain in self._chains)

    def _finish(self, image: Image) -> None:
        load, self._load = self._load or self._begin(), None
        try:
            self._end(load, image)
        except LoadError:
            self._blame(image)
            if self._known == 0:
                raise
            # What it had may have gone in between; all of it depends on nothing.
            load, self._known = self._begin(), 0
            for layer in dict.fromkeys(image.layers):
                load.add(self._member(layer, image.blob(layer.blob.digest)))
            self._end(load, image)
        sent, layers = load.sent / 1e6, len(image.layers) - self._known
        self._progress.say("publish", f"{layers} layers ({sent:.1f} MB) into the engine")

    def _end(self, load: Load, image: Image) -> None:
        """Send what an image ends with, and wait until the engine has loaded it."""
        layers = dict.fromkeys(image.layers[self._known :])
        blobs = {layer: image.blob(layer.blob.digest) for layer in layers}
        total = sum(plain_size(self._store, layer, blob) for layer, blob in blobs.items())
        config = image.blob(image.config_blob.digest)
        load.add(disk_member(_CONFIG, config, digest=image.config_blob.digest))
        load.add(file_member("manifest.json", _manifest(image)))
        with self._progress.count("publish", "layers into the engine", total) as advance:
            load.finish(advance)

    def _member(self, layer: Layer, blob: Path) -> Member:
        size = plain_size(self._store, layer, blob)
        return Member(_place(layer), Kind.FILE, size=size, open=lambda: gunzip(blob))

    def _blame(self, image: Image) -> None:
        """Raise ValueError for a layer whose blob is not what its digest says.

        An engine looks at the digests of all that it loads, so nobody else does before.
        """
        for layer in image.layers[self._known :]:
            found = sha256_file(image.blob(layer.blob.digest))
            if found != layer.blob.digest:
                raise ValueError(f"the blob {layer.blob.digest} is damaged: it is {found}")


@contextmanager
def _loading(host: str | None) -> Iterator[DockerClient]:
    """Open the engine; ImagesmithError (publish.engine) with its words where it refuses."""
    from docker.errors import APIError

    with connected(host) as client:
        try:
            yield client
        except (APIError, LoadError) as bad:
            raise _refused(host, bad) from bad


def _refused(host: str | None, bad: Exception) -> ImagesmithError:
    text = str(getattr(bad, "explanation", None) or bad)
    return ImagesmithError(
        error(
            "publish.engine",
            host or os.environ.get("DOCKER_HOST") or "this machine's engine",
            f"the Docker engine does not take the image: {text}",
            "free some space on the engine's disk (`docker system df` shows what is there)"
            if "no space left" in text
            else "see the engine's log; `--output archive:FILE` makes a file for `docker load`",
        )
    )


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
    if expected != found:
        raise ImagesmithError(
            error(
                "publish.digest",
                image.reference,
                f"the engine has another image under that name: {found}, not {expected}",
                "publish again; somebody may have given the name away in between",
            )
        )


def _chains(engine: Any, store: Store) -> list[list[str]]:
    """Give the layers of each of the engine's images that may share some with ours."""
    found = engine.images(filters={"label": oci.LABEL_PYTHON}, quiet=True)
    return [_chain(engine, store, name) for name in dict.fromkeys(found)]


def _chain(engine: Any, store: Store, name: str) -> list[str]:
    """Give an image's layers; an engine names it by its config, which the store may have."""
    from docker.errors import ImageNotFound

    if store.has(name):
        config = json.loads(store.path(name).read_bytes())
        return list(config["rootfs"]["diff_ids"])
    try:
        return list(engine.inspect_image(name)["RootFS"].get("Layers") or ())
    except ImageNotFound:  # removed in between
        return []


def _manifest(image: Image) -> bytes:
    layers = [_place(layer) for layer in image.layers]
    return canonical([{"Config": _CONFIG, "RepoTags": [image.reference], "Layers": layers}])


def _place(layer: Layer) -> str:
    return f"{hex_of(layer.diff_id)}.tar"


def _name(image: Image) -> tuple[str, str]:
    name, _, tag = image.reference.rpartition(":")
    return name, tag
