"""From a capture to the plan of its image; what that names is then in the store."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error, stop_on_errors
from imagesmith.pipeline.locking import base_for, lock_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagesmith.capture.bundle import Capture
    from imagesmith.findings import Finding
    from imagesmith.image.oci import Image
    from imagesmith.image.plan import ImagePlan
    from imagesmith.image.system import SystemPackage
    from imagesmith.pipeline.wishes import BuildWish, Workshop
    from imagesmith.resolve.lock import Lock


def plan_for(capture: Capture, wish: BuildWish, shop: Workshop) -> tuple[ImagePlan, Lock]:
    """Plan a capture's image, and give its lock; what that names is then in the store."""
    from imagesmith.base import system
    from imagesmith.fetch import fetch
    from imagesmith.image import libraries

    base = base_for(capture.python_minor, wish.base, shop)
    packages = system(base, wish.apt, shop.store, shop.progress)
    lock = lock_for(capture, base, wish, shop)
    sources = wish.sources
    fetch(
        lock,
        shop.store,
        shop.progress,
        index_url=sources.index_url,
        channels=sources.channels,
    )
    allowed = wish.lock.allow_missing
    _tell(libraries.check(capture, lock, base, packages, shop.store, allowed), shop)
    made = planned_of(capture, lock, base, runtime_folder(), created(), packages, shop)
    return made, lock


def planned_of(
    capture: Capture,
    lock: Lock,
    base: Image,
    runtime: Path,
    created: str,
    packages: tuple[SystemPackage, ...],
    shop: Workshop,
) -> ImagePlan:
    """Plan an image of what is in the store, all of it."""
    from imagesmith.image.conda_archive import check
    from imagesmith.image.plan import plan

    _tell(check(lock.packages, shop.store, {wheel.name for wheel in lock.wheels}), shop)
    return plan(capture, lock, base, runtime, shop.store, created, packages)


def _tell(findings: Sequence[Finding], shop: Workshop) -> None:
    """Raise ImagesmithError with all of them if one is an error; else tell them."""
    stop_on_errors(findings)
    for finding in findings:
        shop.progress.find(finding)


def pullable(base: str | None, plan: ImagePlan) -> str | None:
    """Give the reference by which any builder pulls the very base: with its registry and digest.

    One by tag alone may have got another digest here than the registry knows it by, and one that
    was made from an image there is in no registry.
    """
    from imagesmith.registry.reference import names_registry, parse

    if base is None or not names_registry(base):
        return None
    return base if parse(base).digest == plan.base.manifest.digest else None


def runtime_folder() -> Path:
    """Give the folder of the runtime's sources, as they go into images."""
    return Path(str(files("imagesmith.runtime")))


def created() -> str:
    """Give the time that images bear: SOURCE_DATE_EPOCH, else the epoch (RFC 3339).

    Raises ImagesmithError (usage.source-date-epoch) where that is no time.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH") or "0"
    try:
        return datetime.fromtimestamp(int(text), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError) as bad:
        raise ImagesmithError(
            error(
                "usage.source-date-epoch",
                text,
                f"SOURCE_DATE_EPOCH is {text!r}, which is no time",
                "set it to seconds since 1970, or unset it",
            )
        ) from bad
