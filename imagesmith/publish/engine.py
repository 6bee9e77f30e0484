"""Publishing into a Docker engine: as `docker load` would, without the layers that it has.

An engine keeps a layer under the chain of all below it; so of an image it has the longest prefix
that one of its own images begins with. Layers travel uncompressed, which spares the engine work.

Source: Docker's image tarball (``manifest.json``).
"""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, BinaryIO

from imagesmith.engine import connected
from imagesmith.findings import ImagesmithError, error
from imagesmith.image import oci
from imagesmith.image.gunzip import gunzip
from imagesmith.image.layer import plain_size
from imagesmith.image.tar import Kind, Member, disk_member, file_member, write_tar
from imagesmith.publish.publisher import writing
from imagesmith.store import CHUNK, canonical, hex_of, sha256_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _typeshed import ReadableBuffer as Buffer
    from docker import DockerClient

    from imagesmith.image.oci import Image, Layer
    from imagesmith.progress import Progress
    from imagesmith.store import Store

_CONFIG = "config.json"


class _LoadError(Exception):
    """The engine did not take what was loaded; the text is its own."""


@dataclass(frozen=True)
class EnginePublisher:
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
        with writing(image.blobs), _loading(self.host) as client:
            engine = client.api
            if not _has(engine, image):
                self._load(engine, image)
            # Also what was just loaded: only so does the engine note when a name was given.
            engine.tag(image.config_blob.digest, *_name(image))
            _check_loaded(engine, image)
        return "the Docker engine"

    def _load(self, engine: Any, image: Image) -> None:
        known = _known_prefix(engine, image)
        try:
            sent = self._stream(engine, image, known)
        except _LoadError:
            self._blame(image, known)
            if known == 0:
                raise
            # What it had may have gone in between; all of it depends on nothing.
            known = 0
            sent = self._stream(engine, image, known)
        self.progress.say(
            "publish", f"{len(image.layers) - known} layers ({sent / 1e6:.1f} MB) into the engine"
        )

    def _stream(self, engine: Any, image: Image, known: int) -> int:
        """Load what lies above the first ``known`` layers; the bytes sent."""
        members = [
            *(self._layer(image, layer) for layer in dict.fromkeys(image.layers[known:])),
            disk_member(_CONFIG, _blob(image), digest=image.config_blob.digest),
            file_member("manifest.json", _manifest(image)),
        ]
        total = sum(member.size for member in members)
        with (
            self.progress.count("publish", "layers into the engine", total) as advance,
            _piped(partial(write_tar, members)) as pieces,
        ):
            _take(engine, _counted(pieces, advance))
        return total

    def _blame(self, image: Image, known: int) -> None:
        """Raise ValueError for a layer whose blob is not what its digest says.

        An engine looks at the digests of all that it loads, so nobody else does before.
        """
        for layer in image.layers[known:]:
            found = sha256_file(image.blob(layer.blob.digest))
            if found != layer.blob.digest:
                raise ValueError(f"the blob {layer.blob.digest} is damaged: it is {found}")

    def _layer(self, image: Image, layer: Layer) -> Member:
        blob = image.blob(layer.blob.digest)
        return Member(
            _place(layer),
            Kind.FILE,
            size=plain_size(self.store, layer, blob),
            open=lambda: gunzip(blob),
        )


@contextmanager
def _loading(host: str | None) -> Iterator[DockerClient]:
    """Open the engine; ImagesmithError (publish.engine) with its words where it refuses."""
    from docker.errors import APIError

    with connected(host) as client:
        try:
            yield client
        except (APIError, _LoadError) as bad:
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


def _known_prefix(engine: Any, image: Image) -> int:
    """Count the image's first layers that the engine has for another image of ours."""
    wanted = [layer.diff_id for layer in image.layers]
    found = engine.images(filters={"label": oci.LABEL_PYTHON}, quiet=True)
    return max((_common(wanted, _chain(engine, name)) for name in dict.fromkeys(found)), default=0)


def _common(wanted: list[str], chain: list[str]) -> int:
    """Count the layers that both begin with."""
    pairs = zip(wanted, chain, strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _chain(engine: Any, name: str) -> list[str]:
    from docker.errors import ImageNotFound

    try:
        return list(engine.inspect_image(name)["RootFS"].get("Layers") or ())
    except ImageNotFound:  # removed in between
        return []


def _take(engine: Any, pieces: Iterator[bytes]) -> None:
    """Have the engine load an image tarball; _LoadError with its words if it does not."""
    for event in engine.load_image(pieces, quiet=True) or ():
        if "error" in event:
            raise _LoadError(event["error"])


def _manifest(image: Image) -> bytes:
    layers = [_place(layer) for layer in image.layers]
    return canonical([{"Config": _CONFIG, "RepoTags": [image.reference], "Layers": layers}])


def _place(layer: Layer) -> str:
    return f"{hex_of(layer.diff_id)}.tar"


def _blob(image: Image) -> Path:
    return image.blob(image.config_blob.digest)


def _name(image: Image) -> tuple[str, str]:
    name, _, tag = image.reference.rpartition(":")
    return name, tag


def _counted(pieces: Iterator[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        advance(len(piece))


class _Told(io.BufferedIOBase):
    """A pipe's end that can tell how much went into it, as tarfile asks."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Buffer) -> int:
        self._size += (written := self._out.write(data))
        return written


@contextmanager
def _piped(write: Callable[[io.BufferedIOBase], None]) -> Iterator[Iterator[bytes]]:
    """Give the bytes that a function writes, while it writes them, in a thread.

    What goes wrong in the function is raised here, before what that has led to at the reader.
    """
    outlet, inlet = os.pipe()

    def run() -> None:
        # A reader that has given up says why itself.
        with suppress(BrokenPipeError), os.fdopen(inlet, "wb", CHUNK) as out:
            write(_Told(out))

    with ThreadPoolExecutor(1, thread_name_prefix="tar") as pool:
        done = pool.submit(run)
        try:
            with os.fdopen(outlet, "rb", 0) as source:
                yield iter(partial(source.read, CHUNK), b"")
        finally:
            done.result()
