"""Publishing into a registry: only what it lacks is sent, and the tag is moved last."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, ImagesmithError, error, warning
from imagesmith.image import oci
from imagesmith.publish import referrers
from imagesmith.publish.publisher import Publisher, writing
from imagesmith.registry.problems import DeniedError, RefusedError, RegistryError, finding
from imagesmith.store import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from imagesmith.image.oci import Descriptor, Image
    from imagesmith.progress import Progress
    from imagesmith.publish.referrers import Referrer
    from imagesmith.publish.sign import Signer
    from imagesmith.registry.client import Repository
    from imagesmith.registry.reference import Reference
    from imagesmith.registry.upload import Upload
    from imagesmith.store import Store


@dataclass(frozen=True)
class RegistryPublisher(Publisher):
    """Pushes images under one tag of a registry; the store remembers what went where.

    What was pushed is then signed, if there is a ``signer``.
    """

    reference: Reference
    store: Store
    progress: Progress
    signer: Signer | None = None
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
        """Push the blobs, the manifest by its digest, what refers to it, and only then the tag.

        So an image that is there under its tag has all of that, and costs one request. Raises as
        ``check`` does, and publish.digest, publish.damaged, publish.failed, publish.sign.
        """
        if self.reference.digest:
            raise _digest_named(self.reference)
        siblings = {blob: self._sibling(blob) for blob in image.descriptors()[:-1]}
        known = sorted({name for name in siblings.values() if name})
        with writing(image.blobs, image), self._opened(known) as repository:
            there = self._named.pop() if self._named else _ask(repository, self.reference)
            if there != image.manifest.digest:
                self._push(repository, image, siblings)
        self._remember(siblings)
        if self.signer:
            self._sign(self.signer, image.manifest.digest, pushed=there != image.manifest.digest)
        return str(self.reference)

    def _sign(self, signer: Signer, digest: str, *, pushed: bool) -> None:
        """Have an image signed; one that was there already, only if it was not signed so before."""
        name = f"{self.reference.host}/{self.reference.repository}@{digest}"
        key = key_of(name, signer.words)
        if pushed or self.store.recall("signed", key) is None:
            signer.sign(name, self.progress)
            self.store.remember("signed", key, {"image": digest})

    def _push(
        self, repository: Repository, image: Image, siblings: dict[Descriptor, str | None]
    ) -> None:
        referring = referrers.referrers_of(image, self.store)
        paths = {blob: image.blob(blob.digest) for blob in siblings}
        # Their siblings may be repositories that no leave was asked for; then they are sent.
        for blob in referrers.blobs_of(referring, self.store):
            paths[blob] = self.store.path(blob.digest)
            siblings[blob] = self._sibling(blob)
        self._push_blobs(repository, paths, siblings)
        manifest = image.blob(image.manifest.digest).read_bytes()
        _put_manifest(repository, image.manifest.digest, manifest)
        self._push_referrers(repository, referring)
        _put_manifest(repository, self.reference.wanted, manifest)

    def _push_referrers(self, repository: Repository, referring: Sequence[Referrer]) -> None:
        """Push what refers to the image; a registry that takes no such thing keeps the image."""
        try:
            referrers.push(repository, referring)
        except (DeniedError, RefusedError) as bad:
            if bad.passing:
                raise
            self.progress.find(_not_beside(self.reference, bad))

    def _push_blobs(
        self,
        repository: Repository,
        paths: Mapping[Descriptor, Path],
        siblings: Mapping[Descriptor, str | None],
    ) -> None:
        """Push several blobs at a time; the first that cannot be pushed stops all."""
        from imagesmith.registry.upload import Upload

        total = sum(blob.size for blob in paths)
        with self.progress.count("publish", f"{len(paths)} blobs", total) as advance:
            uploads = [
                Upload(repository, blob, path, siblings[blob], advance)
                for blob, path in paths.items()
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

    def _remember(self, blobs: Iterable[Descriptor]) -> None:
        """Note that this repository has these blobs."""
        for blob in blobs:
            if self.store.recall("pushed", self._key(blob)) != self.reference.repository:
                self.store.remember("pushed", self._key(blob), self.reference.repository)

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


def _not_beside(reference: Reference, bad: RegistryError) -> Finding:
    return warning(
        "publish.referrers",
        reference,
        "the image is in the registry, but not the bill of materials and the build record that"
        f" refer to it: {bad}",
        "ask who keeps the registry whether it takes OCI artifacts; the bill of materials is in"
        " the image, too",
    )


def _digest_named(reference: Reference) -> ImagesmithError:
    return ImagesmithError(
        error(
            "usage.reference",
            reference,
            f"{reference} names a digest, and an image is pushed under a tag",
            f"name it as {reference.host}/{reference.repository}:TAG",
        )
    )
