"""Publishing into a registry: only what it lacks is sent, and the tag is moved last."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.image import oci
from imagesmith.publish.publisher import Publisher, writing
from imagesmith.registry.problems import RegistryError, finding
from imagesmith.store import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.image.oci import Descriptor, Image
    from imagesmith.progress import Progress
    from imagesmith.registry.client import Repository
    from imagesmith.registry.reference import Reference
    from imagesmith.registry.upload import Upload
    from imagesmith.store import Store


@dataclass(frozen=True)
class RegistryPublisher(Publisher):
    """Pushes images under one tag of a registry; the store remembers what went where."""

    reference: Reference
    store: Store
    progress: Progress
    # What the tag was found to name, for the ``publish`` that follows: one question does for both.
    _named: list[str | None] = field(default_factory=list, init=False, repr=False, compare=False)

    def check(self) -> None:
        """Ask the registry whether it is there and knows the user, once before each ``publish``.

        Raises ImagesmithError: usage.reference, usage.login, usage.proxy, reach.registry,
        publish.denied, publish.refused.
        """
        if self.reference.digest:
            raise _digest_named(self.reference)
        if not self._named:
            with self._opened(()) as repository:
                self._named.append(_ask(repository, self.reference))

    def publish(self, image: Image) -> str:
        """Push the blobs, the manifest by its digest, and only then the tag.

        Raises as ``check`` does, and publish.digest, publish.damaged, publish.failed.
        """
        if self.reference.digest:
            raise _digest_named(self.reference)
        blobs = list(dict.fromkeys(image.descriptors()[:-1]))
        siblings = {blob: self._sibling(blob) for blob in blobs}
        known = sorted({name for name in siblings.values() if name})
        tag = self.reference.wanted
        with writing(image.blobs, image), self._opened(known) as repository:
            there = self._named.pop() if self._named else _ask(repository, self.reference)
            if there != image.manifest.digest:
                self._push_blobs(repository, image, siblings)
                manifest = image.blob(image.manifest.digest).read_bytes()
                for name in (image.manifest.digest, tag):
                    _put_manifest(repository, name, manifest)
        for blob in blobs:
            self.store.remember("pushed", self._key(blob), self.reference.repository)
        return str(self.reference)

    def _push_blobs(
        self, repository: Repository, image: Image, siblings: dict[Descriptor, str | None]
    ) -> None:
        """Push several blobs at a time; the first that cannot be pushed stops all."""
        from imagesmith.registry.upload import Upload

        total = sum(blob.size for blob in siblings)
        with self.progress.count("publish", f"{len(siblings)} blobs", total) as advance:
            uploads = [
                Upload(repository, blob, image.blob(blob.digest), sibling, advance)
                for blob, sibling in siblings.items()
            ]
            repository.side_by_side(
                partial(repository.persist, upload.attempt, upload.has_reached)
                for upload in uploads
            )
        self.progress.say("publish", _told(uploads))

    @contextmanager
    def _opened(self, siblings: list[str] | tuple[()]) -> Iterator[Repository]:
        from imagesmith.registry.client import opened

        try:
            with opened(self.reference, "pull,push", siblings) as repository:
                yield repository
        except RegistryError as bad:
            told = finding(bad, self.reference, self.reference.host, "publish")
            raise ImagesmithError(told) from bad

    def _sibling(self, blob: Descriptor) -> str | None:
        """Give another repository of this registry that a blob was last pushed to."""
        known = self.store.recall("pushed", self._key(blob))
        is_other = isinstance(known, str) and known != self.reference.repository
        return known if is_other else None

    def _key(self, blob: Descriptor) -> str:
        return key_of(self.reference.host, blob.digest)


def _ask(repository: Repository, reference: Reference) -> str | None:
    return repository.persist(lambda: repository.digest_of(reference.wanted))


def _put_manifest(repository: Repository, name: str, manifest: bytes) -> None:
    repository.persist(lambda: repository.put_manifest(name, oci.MANIFEST, manifest))


def _told(uploads: list[Upload]) -> str:
    sent = [upload for upload in uploads if upload.sent]
    mounted = sum(upload.mounted for upload in uploads)
    there = len(uploads) - len(sent) - mounted
    size = sum(upload.sent for upload in sent) / 1e6
    return f"{len(sent)} blobs sent ({size:.1f} MB), {mounted} mounted, {there} there already"


def _digest_named(reference: Reference) -> ImagesmithError:
    return ImagesmithError(
        error(
            "usage.reference",
            reference,
            f"{reference} names a digest, and an image is pushed under a tag",
            f"name it as {reference.host}/{reference.repository}:TAG",
        )
    )
