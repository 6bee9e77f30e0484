"""Taking what a pack holds, to build from it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.capture import bundle
from imagesmith.findings import ImagesmithError
from imagesmith.image import layout, oci
from imagesmith.image.system import SystemPackage
from imagesmith.pack import BLOBS, BUNDLE, RUNTIME
from imagesmith.pack.archive import UNREADABLE, broken, proved
from imagesmith.partial import scratch
from imagesmith.resolve import files as lock_files
from imagesmith.store import hex_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagesmith.capture.bundle import Capture
    from imagesmith.pack.archive import Archive
    from imagesmith.resolve.lock import Lock
    from imagesmith.store import Store

_LOCKS = {lock_files.PYLOCK, lock_files.CONDA_LOCK}


@dataclass(frozen=True)
class Packed:
    """What a pack holds: artifacts and base are in the store, the rest lies in a folder of its own.

    ``digest`` is that of the image which it was packed of, ``packer`` the imagesmith that did.
    """

    capture: Capture
    lock: Lock
    base: oci.Image
    system: tuple[SystemPackage, ...]
    runtime: Path
    created: str
    digest: str
    packer: str


@contextmanager
def unpacked(file: Path, store: Store) -> Iterator[Packed]:
    """Prove a pack, and take what it holds while the block lasts; the store keeps the blobs.

    Nothing of it gets a name in the store, so no other build will meet it. Raises ImagesmithError:
    build.pack, build.store, and what reading a bundle and a lock raises.
    """
    with proved(file) as archive, ExitStack() as stack:
        try:
            store.root.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(scratch(store.root))
            packed = _taken(archive, folder, store)
        except OSError as bad:
            raise store.failure(bad) from bad
        yield packed


def _taken(archive: Archive, folder: Path, store: Store) -> Packed:
    try:
        base = _base(archive, store)
        for path in archive.members:
            if path.partition("/")[0] in (BUNDLE, RUNTIME) or path in _LOCKS:
                _write(archive, path, folder / path)
        lock, capture = lock_files.read(folder), bundle.read(folder / BUNDLE)
        system = _system(archive.about.get("system"))
        for artifact in (*system, *lock.artifacts):
            _take(archive, artifact.digest, store)
    except UNREADABLE as bad:
        raise ImagesmithError(broken(archive.file, archive.file.name, str(bad))) from bad
    minors = {capture.python_minor, lock.target.python, base.config.labels.get(oci.LABEL_PYTHON)}
    if len(minors) != 1 or len(base.layers) != 1 or oci.LABEL_GLIBC not in base.config.labels:
        why = "it is no base for the Python of the function and of the lock"
        raise ImagesmithError(broken(archive.file, base.reference, why))
    about = archive.about
    return Packed(
        capture,
        lock,
        base,
        system,
        folder / RUNTIME,
        created=about["created"],
        digest=about["digest"],
        packer=about["imagesmith"],
    )


def _system(said: Any) -> tuple[SystemPackage, ...]:
    """Read what Debian packages an image has above its base; ValueError if that is not said."""
    try:
        return tuple(SystemPackage(str(n), str(v), str(digest)) for n, v, digest in said)
    except TypeError:
        raise ValueError("it does not say what system packages it has") from None


def _base(archive: Archive, store: Store) -> oci.Image:
    """Take the base's blobs; ValueError where they are not those of an image."""
    name, _, digest = archive.about["base"].rpartition("@")
    named = layout.entries(archive.text("index.json"))
    (manifest,) = (
        oci.Descriptor.from_dict(one)
        for one in named
        if (one["digest"], layout.name_of(one)) == (digest, name)
    )
    _take(archive, manifest.digest, store)
    said = oci.json_object(archive.text(_place(manifest.digest)))
    layers = said.get("layers")
    for blob in (said.get("config"), *(layers if isinstance(layers, list) else ())):
        _take(archive, oci.Descriptor.from_dict(blob or {}).digest, store)
    return oci.load(store.blobs, manifest, name)


def _take(archive: Archive, digest: str, store: Store) -> None:
    """Take a blob into the store; ValueError if it is not the one that its name says."""
    if not store.has(digest):
        with store.writer(expected=digest) as blob:
            for piece in archive.pieces(_place(digest)):
                blob.write(piece)


def _place(digest: str) -> str:
    return f"{BLOBS}/{hex_of(digest)}"


def _write(archive: Archive, path: str, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file:
        for piece in archive.pieces(path):
            file.write(piece)
