"""Finding the image that a command names: in the store, in a layout, in an archive."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.findings import ImagesmithError, error
from imagesmith.image import layout, oci
from imagesmith.presence import use_file
from imagesmith.store import CHUNK

if TYPE_CHECKING:
    from imagesmith.store import Store


def find_image(text: str, store: Store) -> oci.Image:
    """Give the image of ``NAME:VERSION[@sha256:…]`` (store), ``oci:DIR[:NAME:VERSION]`` or
    ``archive:FILE``.

    Raises ImagesmithError: usage.image where there is none, build.damaged where it is not whole.
    """
    scheme, _, rest = text.partition(":")
    try:
        if scheme == "oci":
            image = _in_layout(rest)
        elif scheme == "archive":
            image = _in_archive(Path(rest), store)
        else:
            image = layout.find(store.root, text)
            if image is not None:
                use_file(store.path(image.manifest.digest))
    except (ValueError, OSError, tarfile.TarError) as bad:
        raise damaged(text, bad) from bad
    if image is None:
        raise ImagesmithError(
            error(
                "usage.image",
                text,
                f"there is no image {text!r}",
                "build it first, or name it as NAME:VERSION, oci:DIR or archive:FILE",
            )
        )
    return image


def find_model(text: str, store: Store) -> oci.Image:
    """Give the image of a model, as find_image does; usage.image for one that serves none."""
    image = find_image(text, store)
    if not _serves(image.config):
        raise ImagesmithError(
            error(
                "usage.image",
                text,
                f"{text} is an image, but not of a model",
                "name an image that `imagesmith build` made",
            )
        )
    return image


def damaged(text: str, bad: Exception) -> ImagesmithError:
    """Give the error (build.damaged) for an image that is there but cannot be read."""
    return ImagesmithError(
        error(
            "build.damaged",
            text,
            f"{text} cannot be read: {bad}",
            "build the image again; one from elsewhere is put right by `skopeo copy --format oci"
            " --override-os linux --override-arch amd64 --dest-compress-format gzip`",
        )
    )


def _serves(config: oci.ImageConfig) -> bool:
    from imagesmith.runtime.wire import parse_input_type  # bases are found here, too

    try:
        parse_input_type(config.labels[oci.LABEL_INPUT_TYPE])
        modules = json.loads(config.labels.get(oci.LABEL_MODULES, "[]"))
    except (KeyError, ValueError, RecursionError):
        return False
    named = {oci.LABEL_MODEL, oci.LABEL_VERSION} <= config.labels.keys()
    return named and isinstance(modules, list)


def _in_layout(rest: str) -> oci.Image | None:
    """Find ``DIR`` (which must then hold one image) or ``DIR:REFERENCE``."""
    folder, _, reference = rest.partition(":")
    if reference:
        return layout.find(Path(folder), reference)
    found = list(layout.images(Path(folder)))
    if len(found) > 1:
        names = ", ".join(f"oci:{folder}:{image.reference}" for image in found)
        raise ValueError(f"it holds several images, name one: {names}")
    return found[0] if found else None


def _in_archive(file: Path, store: Store) -> oci.Image | None:
    """Take an archive's blobs into the store, each checked against its digest."""
    if not file.exists():
        return None
    with tarfile.open(file, "r:") as tar:
        (named, *more) = _named(tar)
        if more:
            raise ValueError(f"it names {1 + len(more)} images, not one")
        for member in tar:
            if member.isfile() and member.name.startswith("blobs/sha256/"):
                digest = f"sha256:{member.name.rpartition('/')[2]}"
                _take(tar, member, digest, store)
    return oci.load(store.blobs, oci.Descriptor.from_dict(named), layout.name_of(named))


def _named(tar: tarfile.TarFile) -> list[dict[str, Any]]:
    try:
        index = tar.extractfile("index.json")
    except KeyError:
        index = None
    if index is None:
        raise ValueError("it has no index.json, so it is no OCI archive")
    named = layout.entries(index.read())
    if not named:
        raise ValueError("it names no image")
    return named


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, digest: str, store: Store) -> None:
    source = tar.extractfile(member)
    if source is None or store.has(digest):
        return
    with store.writer(expected=digest) as blob:
        while chunk := source.read(CHUNK):
            blob.write(chunk)
