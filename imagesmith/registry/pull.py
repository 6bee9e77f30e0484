"""Pulling: an image out of a registry into the store, every byte of it proved."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from imagesmith.findings import ImagesmithError, error
from imagesmith.image import oci
from imagesmith.registry.problems import RegistryError, finding
from imagesmith.store import canonical

if TYPE_CHECKING:
    from imagesmith.progress import Progress
    from imagesmith.registry.client import Repository
    from imagesmith.registry.reference import Reference
    from imagesmith.store import Store

_PLATFORM = ("linux", "amd64")
# Docker's names for what OCI calls otherwise; the bytes are the same.
_OCI_NAMES = {
    "application/vnd.docker.distribution.manifest.v2+json": oci.MANIFEST,
    "application/vnd.docker.container.image.v1+json": oci.CONFIG,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": oci.LAYER_GZIP,
}


def pull(reference: Reference, store: Store, progress: Progress) -> oci.Image:
    """Bring an image's blobs into the store and give the image for linux/amd64.

    One in Docker's format gets a manifest in OCI's, and so another digest. A reference with a
    digest whose image is in the store already asks nobody.

    Raises ImagesmithError: reach.registry, build.denied, build.refused, build.digest,
    build.platform, build.damaged, build.store, usage.proxy, usage.login.
    """
    from imagesmith.image.find import damaged
    from imagesmith.registry.client import opened

    try:
        if image := _kept(reference, store):
            return image
        with opened(reference, "pull") as repository:
            manifest = _manifest(repository, reference, store)
            fetched = _fetch_blobs(
                repository, store.path(manifest.digest).read_bytes(), store, progress
            )
        image = oci.load(store.blobs, manifest, reference.name)
        _check_platform(image, reference)
    except RegistryError as bad:
        raise ImagesmithError(finding(bad, reference, reference.host, "build")) from bad
    except OSError as bad:
        raise store.failure(bad) from bad
    except ValueError as bad:
        raise damaged(str(reference), bad) from bad
    progress.say("pull", f"{image.pinned}, {fetched / 1e6:.1f} MB")
    return image


def _kept(reference: Reference, store: Store) -> oci.Image | None:
    """Give the image that a digest names if the store has all of it."""
    if reference.digest is None or not store.has(reference.digest):
        return None
    size = store.path(reference.digest).stat().st_size
    try:
        manifest = oci.Descriptor(oci.MANIFEST, reference.digest, size)
        image = oci.load(store.blobs, manifest, reference.name)
    except (ValueError, FileNotFoundError):
        return None
    whole = all(store.has(blob.digest, blob.size) for blob in image.descriptors())
    return image if whole else None


def _manifest(repository: Repository, reference: Reference, store: Store) -> oci.Descriptor:
    """Bring the manifest for our platform into the store, in OCI's terms."""
    from imagesmith.registry.client import INDEXES

    media_type, data = repository.persist(lambda: repository.manifest(reference.wanted))
    if media_type in INDEXES:
        digest = _chosen(data, reference)
        media_type, data = repository.persist(lambda: repository.manifest(digest))
    if media_type != oci.MANIFEST:
        data = _in_oci_terms(data)
    return oci.Descriptor(oci.MANIFEST, store.add(data), len(data))


def _chosen(index: bytes, reference: Reference) -> str:
    entries = oci.json_object(index).get("manifests")
    platforms: dict[tuple[str, str], str] = {}
    for entry in entries if isinstance(entries, list) else ():
        digest = oci.Descriptor.from_dict(entry).digest
        platform = entry.get("platform")
        if isinstance(platform, dict):
            pair = (str(platform.get("os")), str(platform.get("architecture")))
            platforms.setdefault(pair, digest)
    if _PLATFORM not in platforms:
        raise _no_platform(reference, [f"{os}/{machine}" for os, machine in platforms])
    return platforms[_PLATFORM]


def _in_oci_terms(data: bytes) -> bytes:
    manifest = oci.json_object(data)

    def renamed(descriptor: dict[str, Any]) -> dict[str, Any]:
        media_type = str(descriptor.get("mediaType"))
        return {**descriptor, "mediaType": _OCI_NAMES.get(media_type, media_type)}

    try:
        config, layers = renamed(manifest["config"]), [renamed(one) for one in manifest["layers"]]
    except (KeyError, TypeError, AttributeError):
        raise ValueError("its manifest is not an image's") from None
    return canonical({**manifest, "mediaType": oci.MANIFEST, "config": config, "layers": layers})


def _fetch_blobs(repository: Repository, manifest: bytes, store: Store, progress: Progress) -> int:
    """Bring what the store lacks, several at a time, and give the bytes brought."""
    try:
        named = oci.json_object(manifest)
        blobs = [oci.Descriptor.from_dict(one) for one in (named["config"], *named["layers"])]
    except (KeyError, TypeError):
        raise ValueError("its manifest is not an image's") from None
    lacking = [blob for blob in dict.fromkeys(blobs) if not store.has(blob.digest, blob.size)]
    total = sum(blob.size for blob in lacking)
    with progress.count("pull", f"{len(lacking)} blobs", total) as advance:
        repository.side_by_side(partial(repository.fetch, blob, store, advance) for blob in lacking)
    return total


def _check_platform(image: oci.Image, reference: Reference) -> None:
    """Raise build.platform where the config, which a lone manifest leaves to say it, is another."""
    config = oci.json_object(image.blob(image.config_blob.digest).read_bytes())
    found = (config.get("os"), config.get("architecture"))
    if found != _PLATFORM:
        raise _no_platform(reference, [f"{found[0]}/{found[1]}"])


def _no_platform(reference: Reference, found: list[str]) -> ImagesmithError:
    return ImagesmithError(
        error(
            "build.platform",
            reference,
            f"{reference} has no image for linux/amd64, but for {', '.join(found) or 'nothing'}",
            "name an image for linux/amd64",
        )
    )
