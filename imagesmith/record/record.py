"""The build record: kept in the store under the image's digest, and pushed beside the image."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.store import hex_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagesmith.store import Store

BUILDS = "builds"  # facts: the record of an image, by the hex digits of its manifest's digest


@dataclass(frozen=True)
class BuildRecord:
    """How an image was built, the first time that it was.

    ``revision`` is the full commit of the project that the target lies in, ``dirty`` whether there
    was more than that commit; None where git does not tell. ``platform`` is the host's. ``started``
    is an RFC 3339 time in UTC, ``took`` are the seconds from then until the image was verified.
    ``findings`` are codes; ``compared`` is how many answers were held against the function's own.
    ``layers`` say what each is, the base's first. ``lock`` is what a Lock gives as its digest,
    ``template`` the digest of a user's template; ``dockerfile`` (None where a value of the image is
    one that no Dockerfile can hold) and ``sbom`` are the digests of blobs in the store. All digests
    are ``sha256:<hex>``.
    """

    reference: str
    digest: str
    builder: str
    imagesmith: str
    target: str
    revision: str | None
    dirty: bool | None
    base: str
    base_digest: str
    python: str
    platform: str
    started: str
    took: float
    findings: tuple[str, ...]
    compared: int
    lock: str
    template: str | None
    dockerfile: str | None
    sbom: str
    layers: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Give the record as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BuildRecord:
        """Read what ``as_json`` gave; TypeError or KeyError for another version's."""
        lists = {key: tuple(data[key]) for key in ("findings", "layers")}
        return cls(**{**data, **lists})


def find(store: Store, digest: str) -> BuildRecord | None:
    """Give the record of the image with this manifest digest; None if it was not built here."""
    fact = store.recall(BUILDS, hex_of(digest))
    try:
        return BuildRecord.from_json(fact) if fact is not None else None
    except (TypeError, KeyError):
        return None


def keep(store: Store, record: BuildRecord) -> None:
    """Keep a record, in the place of an earlier one of the same image."""
    store.remember(BUILDS, hex_of(record.digest), record.as_json())
