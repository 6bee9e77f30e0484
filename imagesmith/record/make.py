"""Making the record of a build; of an image that has been built so before, nothing is done."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imagesmith import __version__
from imagesmith.findings import ImagesmithError
from imagesmith.record.record import BuildRecord, find, keep
from imagesmith.store import sha256_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagesmith.capture.bundle import Capture
    from imagesmith.image.oci import Image
    from imagesmith.image.plan import ImagePlan
    from imagesmith.resolve.lock import Lock
    from imagesmith.store import Store


@dataclass(frozen=True)
class Build:
    """What an image was made of and how.

    ``builder`` is layers or docker, ``template`` the user's, ``base_reference`` as the Dockerfile
    names the base, ``project`` the folder that the target lies in, if that is known. It began at
    ``began``, by ``time.time()``; ``codes`` are of the findings so far, and grow with them.
    """

    capture: Capture
    plan: ImagePlan
    lock: Lock
    builder: str
    template: Path | None
    base_reference: str | None
    project: Path | None
    began: float
    codes: Sequence[str] = ()


def record(image: Image, build: Build, store: Store, *, compared: int) -> None:
    """Keep how an image was built, unless the store knows of a build of the very same.

    Raises ImagesmithError (build.store, build.template…).
    """
    asked: dict[str, Any] = {
        "reference": image.reference,
        "digest": image.manifest.digest,
        "builder": build.builder,
        "imagesmith": __version__,
        "target": build.capture.target,
        "base": build.plan.base.reference,
        "base_digest": build.plan.base.manifest.digest,
        "python": build.capture.python,
        "compared": compared,
        "lock": build.lock.digest,
        "template": _template(build),
        "layers": tuple(layer.comment for layer in image.layers),
    }
    try:
        if not _is_known(asked, store):
            found = {**_found(build, store), "findings": tuple(build.codes)}
            keep(store, BuildRecord(**asked, **found))
    except OSError as bad:
        raise store.failure(bad) from bad


def _is_known(asked: dict[str, Any], store: Store) -> bool:
    """Say whether the same was asked before, and what the record names is there still, sound."""
    known = find(store, asked["digest"])
    if known is None or not asked.items() <= vars(known).items():
        return False
    return all(_is_sound(store, blob) for blob in (known.sbom, known.dockerfile) if blob)


def _is_sound(store: Store, digest: str) -> bool:
    """Say whether a blob is there and what its digest says; it is a short one."""
    return store.has(digest) and sha256_file(store.path(digest)) == digest


def _template(build: Build) -> str | None:
    from imagesmith.render import load

    return load(build.template).digest if build.template else None


def _found(build: Build, store: Store) -> dict[str, Any]:
    """Find out what takes time: the commit, the Dockerfile; keep what is a file of its own."""
    import platform

    from imagesmith.image.sbom import sbom
    from imagesmith.record.revision import revision_of

    revision = revision_of(build.project) if build.project else None
    made = {
        "revision": revision.commit if revision else None,
        "dirty": revision.dirty if revision else None,
        "platform": platform.platform(),
        "dockerfile": _dockerfile(build, store),
        "sbom": store.add(sbom(build.lock, build.plan.base, build.plan.created, build.plan.system)),
    }
    started = datetime.fromtimestamp(build.began, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**made, "started": started, "took": round(time.time() - build.began, 3)}


def _dockerfile(build: Build, store: Store) -> str | None:
    """Keep the Dockerfile that ``render`` would write, and give its digest.

    Builders that need none make images with values that no Dockerfile can hold.
    """
    from imagesmith.render import dockerfile

    try:
        text = dockerfile(build.plan, build.template, base_reference=build.base_reference)
    except ImagesmithError as bad:
        if any(finding.code != "build.value" for finding in bad.findings):
            raise
        return None
    return store.add(text.encode())
