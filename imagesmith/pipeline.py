"""The walk down the street: capture, resolve, fetch, plan, build, verify, publish."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from imagesmith.capture.bundle import Capture
    from imagesmith.image.oci import Image
    from imagesmith.progress import Progress
    from imagesmith.publish.publisher import Publisher
    from imagesmith.resolve.lock import Lock
    from imagesmith.run.runner import Runner
    from imagesmith.store import Store
    from imagesmith.verify.verify import Verdict


@dataclass(frozen=True)
class Workshop:
    """Where a walk works and who listens to it."""

    store: Store
    runner: Runner
    progress: Progress


@dataclass(frozen=True)
class CaptureWish:
    """What the user wants captured: a target, or a bundle that was captured before."""

    target: str
    name: str | None
    version: str | None = None
    input_type: str = "doubles"
    strings: str = "str"
    env: str = "auto"
    samples: Path | None = None


@dataclass(frozen=True)
class BuildWish:
    """What the user wants of an image beyond what was captured."""

    base: str | None = None
    index_url: str | None = None
    verify: bool = True
    rtol: float = 1e-6
    compare: bool = True


def captured(wish: CaptureWish, shop: Workshop) -> Capture:
    """Capture a target from the working folder, or read the bundle of that name.

    Raises ImagesmithError: usage.bundle for what can only be said when a bundle is made.
    """
    from imagesmith.capture import capture
    from imagesmith.capture.bundle import is_bundle, read, renamed

    if not is_bundle(Path(wish.target)):
        return capture(
            wish.target,
            name=wish.name or "",
            version=wish.version,
            input_type=wish.input_type,
            strings=wish.strings,
            env=wish.env,
            samples=wish.samples,
            project=Path.cwd(),
            store=shop.store,
            progress=shop.progress,
        )
    if wish != CaptureWish(wish.target, wish.name, wish.version):
        raise ImagesmithError(
            error(
                "usage.bundle",
                wish.target,
                "a bundle has its own input type, strings, environment and samples",
                "leave those options out, or capture the target again with them",
            )
        )
    return renamed(read(Path(wish.target)), wish.name, wish.version)


def build(capture: Capture, wish: BuildWish, publisher: Publisher, shop: Workshop) -> Image:
    """Make, verify and publish the image of a capture; the image as published.

    Raises ImagesmithError with the findings of the stage that cannot go on; nothing is published
    then.
    """
    from imagesmith.build.layers import LayersBuilder
    from imagesmith.fetch import fetch
    from imagesmith.image.plan import plan

    publisher.check()
    base = base_for(capture, wish.base, shop)
    lock = lock_for(capture, base, wish.index_url, shop)
    fetch(lock, shop.store, shop.progress, index_url=wish.index_url)
    planned = plan(capture, lock, base, runtime_folder(), shop.store, created())
    image = LayersBuilder(shop.store, shop.progress).build(planned)
    if wish.verify:
        _verify(image, capture, wish, shop)
    place = publisher.publish(image)
    shop.progress.say("publish", f"{image.pinned} is in {place}")
    return image


def base_for(capture: Capture, reference: str | None, shop: Workshop) -> Image:
    """Give the base that a capture's image stands on, made from Debian's packages if need be.

    Raises ImagesmithError: capture.python where the base named has another Python than the
    capture, since byte code, wheels and pickles belong to a minor version.
    """
    from imagesmith import base
    from imagesmith.image import oci

    if reference is None:
        return base.ensure(shop.store, capture.python_minor, shop.progress)
    found = base.find(shop.store, reference)
    if found is None:
        raise ImagesmithError(
            error(
                "build.no-base",
                reference,
                f"there is no base {reference!r}",
                "`imagesmith base list` names those that are there, `imagesmith base build` makes"
                " one",
            )
        )
    python = found.config.labels.get(oci.LABEL_PYTHON, "an unknown version")
    if python != capture.python_minor:
        raise ImagesmithError(
            error(
                "capture.python",
                reference,
                f"the function was captured with Python {capture.python_minor},"
                f" the base has Python {python}",
                f"leave --base out, or name one with Python {capture.python_minor}",
            )
        )
    if len(found.layers) != 1 or oci.LABEL_GLIBC not in found.config.labels:
        raise ImagesmithError(
            error(
                "build.not-a-base",
                reference,
                f"{reference} is an image, but not a closure base",
                "name a base that `imagesmith base build` made",
            )
        )
    return found


def lock_for(capture: Capture, base: Image, index_url: str | None, shop: Workshop) -> Lock:
    """Lock what a capture needs for the base that its image will stand on."""
    from imagesmith.image import oci
    from imagesmith.resolve import UvSolver, resolve

    glibc = base.config.labels[oci.LABEL_GLIBC]
    lock, findings = resolve(
        capture,
        glibc=glibc,
        index_url=index_url,
        solver=UvSolver(),
        store=shop.store,
        progress=shop.progress,
    )
    for finding in findings:
        shop.progress.find(finding)
    return lock


def _verify(image: Image, capture: Capture, wish: BuildWish, shop: Workshop) -> None:
    from imagesmith.verify.verify import verify

    verdict = verify(
        image,
        capture.samples,
        shop.runner,
        shop.store,
        rtol=wish.rtol,
        compare=wish.compare,
    )
    _tell(verdict, shop.progress)


def _tell(verdict: Verdict, progress: Progress) -> None:
    for finding in verdict.findings:
        progress.find(finding)
    seen = f"{verdict.answered} answers, {verdict.compared} as the function's own"
    again = ", seen before" if verdict.remembered else ""
    progress.say("verify", f"{seen if verdict.answered else 'it serves'}{again}")


def verify_image(
    image: Image, samples: Path | None, shop: Workshop, *, rtol: float, compare: bool
) -> Verdict:
    """Verify an image that is built already; the samples' file may hold answers (a bundle's does).

    Raises ImagesmithError: usage.samples, verify.…
    """
    from imagesmith.capture.samples import load
    from imagesmith.image import oci
    from imagesmith.verify.verify import verify

    label = image.config.labels[oci.LABEL_INPUT_TYPE]
    given = load(samples, label) if samples else None
    verdict = verify(image, given, shop.runner, shop.store, rtol=rtol, compare=compare)
    _tell(verdict, shop.progress)
    return verdict


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
