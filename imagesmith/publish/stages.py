"""How an image travels to an engine: in stages, each a load that stands on the one before it.

An engine keeps a layer under the chain of all below it; so of an image it has the longest prefix
that one of its own images begins with, and only what lies above that is sent. Layers travel
uncompressed, which spares the engine work. It unpacks a load only when it has all of it: so what
there is so far is loaded as an image of no name while the layers above are made and sent. Those
images go when the whole one is there, or is given up.

Source: Docker's image tarball (``manifest.json``).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from imagesmith.findings import ImagesmithError
from imagesmith.image import oci
from imagesmith.image.gunzip import gunzip
from imagesmith.image.layer import plain_size
from imagesmith.image.tar import Kind, Member, disk_member, file_member
from imagesmith.publish.load import LoadError, loading
from imagesmith.publish.publisher import blame
from imagesmith.store import canonical, hex_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from imagesmith.image.oci import Image, Layer
    from imagesmith.publish.load import Load
    from imagesmith.store import Store

# Bytes of layers that are worth a load of their own; each costs an engine some hundredths of a
# second.
STAGE = 32 << 20
_CONFIG = "config.json"
_LABEL = "io.imagesmith.stage"  # on images of no name: the first layers of an unfinished one


@dataclass
class Stages:
    """The loads of one image, whose layers come one by one, from its first on.

    ``begin`` begins a load after another one; ``chains`` are the layers of the images that the
    engine has, None as long as it was not asked. ``at_once`` all goes in one load.
    """

    host: str | None
    store: Store
    begin: Callable[[Load | None], Load]
    chains: Sequence[Sequence[str]] | None = None
    at_once: bool = False
    known: int = 0  # so many of the layers the engine has already
    size: int = 0  # bytes of those that are sent
    _layers: list[Layer] = field(default_factory=list)
    _loads: list[Load] = field(default_factory=list)
    _below: int = 0  # layers below those of the last load
    _bytes: int = 0  # of the last load

    def add(self, layer: Layer, blob: Path) -> None:
        """Send the next layer, unless the engine has it."""
        if not self._loads and self._engine_has(layer):
            self._layers.append(layer)
            self.known += 1
            return
        if not self._loads or (self._bytes >= STAGE and not self.at_once):
            self._begin()
        if layer not in self._layers[self._below :]:  # two may be one, and share a place
            size = plain_size(self.store, layer, blob)
            member = Member(_place(layer), Kind.FILE, size=size, open=partial(gunzip, blob))
            self._loads[-1].add(member)
            self._bytes += size
            self.size += size
        self._layers.append(layer)

    def complete(self, image: Image) -> None:
        """Send the rest of an image, of which the layers so far were the first."""
        for layer in image.layers[len(self._layers) :]:
            self.add(layer, image.blob(layer.blob.digest))
        if not self._loads:  # only what the image is called and starts with is new
            self._begin()
        config = image.blob(image.config_blob.digest)
        member = disk_member(_CONFIG, config, digest=image.config_blob.digest)
        self._loads[-1].end(member, self._manifest(image.reference))

    def finish(self, image: Image, on_sent: Callable[[int], None]) -> None:
        """Wait until all is loaded; ``on_sent`` hears of the bytes that are sent.

        Raises LoadError where the engine refuses, DamagedError for a blob that is damaged, and what
        ``connected`` raises.
        """
        try:
            for load in self._loads:
                load.wait(on_sent)
        except LoadError:
            # An engine looks at the digests of all that it loads, so nobody else did before.
            blame(image, [layer.blob for layer in image.layers[self.known :]])
            raise

    @property
    def stands_alone(self) -> bool:
        """Whether nothing of what is sent stands on what was there, or on another load."""
        return self.known == 0 and len(self._loads) == 1

    def forget(self) -> None:
        """Break off what is not loaded yet, and remove the images of no name.

        Also those that a process left which was killed while it sent the same layers.
        """
        for load in self._loads:
            load.abandon()
        if self._loads:
            with suppress(ImagesmithError), loading(self.host) as client:  # it may have gone away
                _remove_unnamed(client.api, [layer.diff_id for layer in self._layers])

    def _begin(self) -> None:
        """Begin a load, and have what was sent so far loaded."""
        before = self._loads[-1] if self._loads else None
        if before is not None:
            before.end(file_member(_CONFIG, self._unnamed()), self._manifest(None))
        self._loads.append(self.begin(before))
        self._below, self._bytes = len(self._layers), 0

    def _engine_has(self, layer: Layer) -> bool:
        """Say whether an image of the engine begins with the layers so far and this one."""
        if self.chains is None:
            with loading(self.host) as client:
                self.at_once = knows_manifests(client.api)
                self.chains = () if self.at_once else _chains(client.api, self.store)
        wanted = [one.diff_id for one in (*self._layers, layer)]
        return any(chain[: len(wanted)] == wanted for chain in self.chains)

    def _unnamed(self) -> bytes:
        """Give the config of an image of the layers so far."""
        labels = {oci.LABEL_PYTHON: "", _LABEL: ""}
        layers = [layer.diff_id for layer in self._layers]
        rootfs = {"type": "layers", "diff_ids": layers}
        platform = {"architecture": "amd64", "os": "linux"}
        return canonical({**platform, "config": {"Labels": labels}, "rootfs": rootfs})

    def _manifest(self, reference: str | None) -> Member:
        entry = {
            "Config": _CONFIG,
            "RepoTags": [reference] if reference else None,
            "Layers": [_place(layer) for layer in self._layers],
        }
        return file_member("manifest.json", canonical([entry]))


def knows_manifests(engine: Any) -> bool:
    """Say whether an engine keeps images as containerd does (Docker 29's default).

    It names them by manifests of its own, and takes only such as are whole.
    """
    status = engine.info().get("DriverStatus") or ()
    return any("io.containerd.snapshotter" in str(value) for _, value in status)


def _chains(engine: Any, store: Store) -> list[list[str]]:
    """Give the layers of each of the engine's images that may share some with ours."""
    return [_chain(engine, store, name) for name in _labelled(engine, oci.LABEL_PYTHON)]


def _labelled(engine: Any, label: str) -> dict[str, None]:
    return dict.fromkeys(engine.images(filters={"label": label}, quiet=True))


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


def _remove_unnamed(engine: Any, layers: list[str]) -> None:
    """Remove the images of no name that hold the first of these layers."""
    from docker.errors import APIError

    for name in _labelled(engine, _LABEL):
        with suppress(APIError):  # another process removes it too
            chain = engine.inspect_image(name)["RootFS"]["Layers"]
            if chain == layers[: len(chain)]:
                engine.remove_image(name)


def _place(layer: Layer) -> str:
    return f"{hex_of(layer.diff_id)}.tar"
