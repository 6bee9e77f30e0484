"""Writing a pack."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from imagesmith import __version__
from imagesmith.capture import bundle
from imagesmith.image import layout
from imagesmith.image.tar import contents, disk_member, file_member, in_order, tar_pieces
from imagesmith.pack import BLOBS, BUNDLE, FORMAT, PACK, RUNTIME, SUMS
from imagesmith.pack.archive import is_pack
from imagesmith.partial import clear_partial
from imagesmith.publish.publisher import occupied, writing
from imagesmith.render.context import CHECK, DOCKERFILE
from imagesmith.render.dockerfile import load, written
from imagesmith.resolve import files as lock_files
from imagesmith.store import file_whole, hex_of, sha256, sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagesmith.capture.bundle import Capture
    from imagesmith.image.oci import Image
    from imagesmith.image.plan import ImagePlan
    from imagesmith.image.tar import Member
    from imagesmith.resolve.lock import Lock
    from imagesmith.store import Store


def check_place(file: Path) -> None:
    """Raise ImagesmithError (publish.occupied) if the file is there and is no pack."""
    with writing(file):
        if file.exists() and not is_pack(file):
            raise occupied(file, "a pack")


def write(
    file: Path,
    image: Image,
    plan: ImagePlan,
    capture: Capture,
    lock: Lock,
    runtime: Path,
    store: Store,
) -> int:
    """Write the pack of an image, made of this plan by the layers builder; its size in bytes.

    An earlier pack in the file is replaced. Raises ImagesmithError: what ``check_place`` raises,
    build.value for what no Dockerfile can hold, publish.failed, and publish.damaged where something
    in the store or the bundle is no longer what it was.
    """
    check_place(file)
    with writing(file):
        found = in_order(
            [
                *_texts(image, plan, capture, lock),
                *_files(capture, runtime),
                *_blobs(image, plan, lock, store),
            ]
        )
        by_path = {member.path: member for member in found}
        lines = [f"{hex_of(m.digest)}  {m.path}\n" for m in by_path.values() if m.digest]
        # What a reader must know before all else.
        first = [by_path.pop(PACK), file_member(SUMS, "".join(lines).encode())]
        clear_partial(file.parent, file.name)
        with file_whole(file) as out:
            for piece in tar_pieces([*first, *by_path.values()]):
                for chunk in (piece,) if isinstance(piece, bytes) else contents(piece):
                    out.write(chunk)
            return out.tell()


def _texts(image: Image, plan: ImagePlan, capture: Capture, lock: Lock) -> Iterator[Member]:
    """Give what is made for the pack."""
    named = [layout.entry(plan.base), layout.entry(image)]
    places = [f"{BLOBS}/{hex_of(layer.blob.digest)}" for layer in image.layers]
    dockerfile = written(plan, load(None), None, places)
    texts = {
        **lock_files.contents(lock),
        PACK: json.dumps(_about(image, plan), indent=2, sort_keys=True).encode() + b"\n",
        DOCKERFILE: dockerfile.encode(),
        CHECK: files("imagesmith.templates").joinpath(CHECK).read_bytes(),
        "oci-layout": layout.VERSION,
        "index.json": layout.index(named),
        **{f"{BUNDLE}/{name}": data for name, data in bundle.texts(capture).items()},
    }
    for path, data in texts.items():
        yield replace(file_member(path, data), digest=sha256(data))


def _about(image: Image, plan: ImagePlan) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "imagesmith": __version__,
        "reference": image.reference,
        "digest": image.manifest.digest,
        "created": plan.created,
        "base": plan.base.pinned,
        "system": [[one.name, one.version, one.digest] for one in plan.system],
    }


def _files(capture: Capture, runtime: Path) -> Iterator[Member]:
    """Give the model and the runtime's sources."""
    for name, digest in capture.files.items():
        yield disk_member(f"{BUNDLE}/{name}", capture.folder / name, digest=digest)
    for path in runtime.glob("*.py"):
        yield disk_member(f"{RUNTIME}/{path.name}", path, digest=sha256_file(path))


def _blobs(image: Image, plan: ImagePlan, lock: Lock, store: Store) -> Iterator[Member]:
    of_images = [blob.digest for blob in (*plan.base.descriptors(), *image.descriptors())]
    artifacts = [one.digest for one in (*plan.system, *lock.artifacts)]
    for digest in dict.fromkeys([*of_images, *artifacts]):
        yield disk_member(f"{BLOBS}/{hex_of(digest)}", store.path(digest), digest=digest)
