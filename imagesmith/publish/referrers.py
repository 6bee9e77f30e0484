"""What lies beside an image in a registry and refers to it: bill of materials and build record.

Source: OCI distribution-spec 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagesmith.image import oci, sbom
from imagesmith.record import provenance
from imagesmith.record.record import find
from imagesmith.registry.problems import RefusedError
from imagesmith.store import canonical, hex_of, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagesmith.image.oci import Descriptor, Image
    from imagesmith.record.record import BuildRecord
    from imagesmith.registry.client import Repository
    from imagesmith.store import Store

_DOCKERFILE_TYPE = "text/x-dockerfile"
_PREDICATE_TYPE = "in-toto.io/predicate-type"
_TRIES = 5  # as somebody else may write the same list at the same time


@dataclass(frozen=True)
class Referrer:
    """An artifact that refers to an image; its ``blobs``, named as files, are in the store."""

    subject: Descriptor
    artifact_type: str
    blobs: tuple[tuple[Descriptor, str], ...]
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def manifest(self) -> bytes:
        """Its manifest."""
        return oci.artifact(self.subject, self.artifact_type, self.blobs, self.annotations)

    def entry(self) -> dict[str, Any]:
        """Give what a list of referrers says of it."""
        manifest = self.manifest
        descriptor = oci.Descriptor(oci.MANIFEST, sha256(manifest), len(manifest)).as_dict()
        noted = {"annotations": dict(self.annotations)} if self.annotations else {}
        return {**descriptor, "artifactType": self.artifact_type, **noted}


def referrers_of(image: Image, store: Store) -> tuple[Referrer, ...]:
    """Give what refers to an image that was built here; of any other there is nothing to say."""
    record = find(store, image.manifest.digest)
    return tuple(_referrers(image, record, store)) if record else ()


def _referrers(image: Image, record: BuildRecord, store: Store) -> Iterator[Referrer]:
    if store.has(record.sbom):
        materials = _kept(store, record.sbom, sbom.MEDIA_TYPE)
        yield Referrer(image.manifest, sbom.MEDIA_TYPE, ((materials, sbom.SBOM),))
    said = store.add(provenance.statement(record))
    blobs = [(_kept(store, said, provenance.MEDIA_TYPE), "provenance.json")]
    if record.dockerfile and store.has(record.dockerfile):
        recipe = _kept(store, record.dockerfile, _DOCKERFILE_TYPE)
        blobs.append((recipe, provenance.DOCKERFILE))
    noted = {oci.CREATED: record.started, _PREDICATE_TYPE: provenance.PREDICATE}
    yield Referrer(image.manifest, provenance.MEDIA_TYPE, tuple(blobs), noted)


def blobs_of(referrers: Sequence[Referrer], store: Store) -> list[Descriptor]:
    """Give the blobs that a registry needs before the referrers; all are in the store."""
    if not referrers:
        return []
    empty = _kept(store, store.add(oci.EMPTY_CONFIG), oci.EMPTY)
    named = (blob for one in referrers for blob, _ in one.blobs)
    return list(dict.fromkeys((empty, *named)))


def _kept(store: Store, digest: str, media_type: str) -> Descriptor:
    return oci.Descriptor(media_type, digest, store.path(digest).stat().st_size)


def push(repository: Repository, referrers: Sequence[Referrer]) -> None:
    """Put the referrers' manifests, whose blobs and subject are there; raises RegistryError.

    Where the registry does not list them itself, they are added to the list under the subject's
    tag, beside whatever others have put there.
    """
    unlisted = [
        one
        for one in referrers
        if not _put(repository, sha256(one.manifest), oci.MANIFEST, one.manifest)
    ]
    if unlisted:
        tag = f"sha256-{hex_of(unlisted[0].subject.digest)}"
        _list(repository, tag, [one.entry() for one in unlisted])


def _put(repository: Repository, name: str, media_type: str, data: bytes) -> bool:
    return repository.persist(lambda: repository.put_manifest(name, media_type, data))


def _list(repository: Repository, tag: str, entries: list[dict[str, Any]]) -> None:
    """Add entries to the list under a tag, until they are seen there."""
    for _ in range(_TRIES):
        index = _listed(repository, tag)
        known = {one["digest"] for one in index["manifests"]}
        new = [one for one in entries if one["digest"] not in known]
        if not new:
            return
        index["manifests"] += new
        _put(repository, tag, oci.INDEX, canonical(index))


def _listed(repository: Repository, tag: str) -> dict[str, Any]:
    """Give the index under a tag, an empty one if there is none; RefusedError for another thing."""
    if repository.persist(lambda: repository.digest_of(tag)) is None:
        return {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": []}
    media_type, data = repository.persist(lambda: repository.manifest(tag))
    try:
        index = oci.json_object(data)
        for one in index["manifests"]:
            oci.Descriptor.from_dict(one)
    except (ValueError, KeyError, TypeError):
        media_type = ""
    if media_type != oci.INDEX:
        raise RefusedError(200, f"and has under {tag} something else than a list of referrers")
    return index
