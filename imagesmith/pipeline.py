"""The walk down the street: capture, resolve, fetch, plan, build, verify, publish."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error, stop_on_errors

if TYPE_CHECKING:
    from imagesmith.build.builder import Builder
    from imagesmith.capture.bundle import Capture
    from imagesmith.image.oci import Image
    from imagesmith.image.plan import ImagePlan
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
    builder: str = "auto"
    template: Path | None = None


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
    publisher.check()
    check_builder(wish.builder, wish.template)
    planned, lock = plan_for(capture, wish, shop)
    builder, shop = _builder_for(planned, lock, wish, shop)
    image = builder.build(planned)
    if wish.verify:
        _verify(image, capture, wish, shop)
    place = publisher.publish(image)
    shop.progress.say("publish", f"{image.pinned} is in {place}")
    return image


def runner_for(store: Store, progress: Progress, *, by_engine: bool) -> Runner:
    """Give what starts containers: imagesmith itself, or the Docker engine.

    The engine does ``by_engine``, and where this machine lets imagesmith start none.
    """
    from imagesmith.engine import is_in_reach
    from imagesmith.publish.engine import EnginePublisher
    from imagesmith.run.docker import DockerRunner
    from imagesmith.run.rootfs import RootfsRunner

    rootfs = RootfsRunner(store)
    if by_engine or (not rootfs.can_start() and is_in_reach()):
        return DockerRunner(EnginePublisher(store, progress))
    return rootfs


def check_builder(name: str, template: Path | None) -> None:
    """Raise ImagesmithError if no such builder can be had here, or the template cannot be read.

    Its findings: usage.builder, reach.engine, build.template-missing.
    """
    from imagesmith.build.choice import Choice, choice
    from imagesmith.engine import connected
    from imagesmith.render import load

    load(template)
    if choice(name) is Choice.DOCKER:
        with connected(None):
            pass


def _builder_for(
    plan: ImagePlan, lock: Lock, wish: BuildWish, shop: Workshop
) -> tuple[Builder, Workshop]:
    """Give the builder of a plan, and the workshop in which its image is tried.

    What an engine has built may hold what only an engine runs, so it is tried there.
    """
    from imagesmith.build.choice import choice, needs_engine
    from imagesmith.build.docker import DockerBuilder
    from imagesmith.build.layers import LayersBuilder

    if not needs_engine(choice(wish.builder), plan, wish.template):
        return LayersBuilder(shop.store, shop.progress), shop
    base = _pullable(wish.base, plan)
    builder = DockerBuilder(shop.store, shop.progress, lock, wish.template, base_reference=base)
    runner = runner_for(shop.store, shop.progress, by_engine=True)
    return builder, replace(shop, runner=runner)


def render_bundle(capture: Capture, wish: BuildWish, folder: Path, shop: Workshop) -> None:
    """Write the build context of a capture's image, which any builder makes without imagesmith.

    Raises ImagesmithError with the findings of the stage that cannot go on; nothing is written
    then.
    """
    from imagesmith.image.compiler import BaseCompiler
    from imagesmith.render import check_place, load, render

    check_place(folder)
    load(wish.template)
    planned, lock = plan_for(capture, wish, shop)
    render(
        planned,
        shop.store,
        lock,
        BaseCompiler(shop.store, planned.base),
        folder,
        wish.template,
        base_reference=_pullable(wish.base, planned),
    )
    shop.progress.say("render", f"{len(planned.layers)} layers over {planned.base.reference}")


def _pullable(base: str | None, plan: ImagePlan) -> str | None:
    """Give the reference by which any builder pulls the very base: with its registry and digest.

    One by tag alone may have got another digest here than the registry knows it by, and one that
    was made from an image there is in no registry.
    """
    from imagesmith.registry.reference import names_registry, parse

    if base is None or not names_registry(base):
        return None
    return base if parse(base).digest == plan.base.manifest.digest else None


def plan_for(capture: Capture, wish: BuildWish, shop: Workshop) -> tuple[ImagePlan, Lock]:
    """Plan a capture's image, and give its lock; what that names is then in the store."""
    from imagesmith.fetch import fetch
    from imagesmith.image.conda_archive import check
    from imagesmith.image.plan import plan

    base = base_for(capture, wish.base, shop)
    lock = lock_for(capture, base, wish.index_url, shop)
    fetch(lock, shop.store, shop.progress, index_url=wish.index_url)
    findings = check(lock.packages, shop.store)
    stop_on_errors(findings)
    for finding in findings:
        shop.progress.find(finding)
    return plan(capture, lock, base, runtime_folder(), shop.store, created()), lock


def base_for(capture: Capture, reference: str | None, shop: Workshop) -> Image:
    """Give the base that a capture's image stands on, made from Debian's packages if need be.

    Raises ImagesmithError: capture.python where the base named has another Python than the
    capture, since byte code, wheels and pickles belong to a minor version.
    """
    from imagesmith import base
    from imagesmith.image import oci

    if reference is None:
        return base.ensure(shop.store, capture.python_minor, shop.progress)
    found = base.find(shop.store, reference, shop.progress)
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
    python = found.config.labels[oci.LABEL_PYTHON]
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
    """Start and ask an image that is built; the samples' file may hold answers (a bundle's does).

    Raises ImagesmithError: usage.samples, verify.…
    """
    from imagesmith.capture.samples import load
    from imagesmith.image import oci
    from imagesmith.verify.verify import verify

    label = image.config.labels[oci.LABEL_INPUT_TYPE]
    given = load(samples, label) if samples else None
    verdict = verify(image, given, shop.runner, shop.store, rtol=rtol, compare=compare, again=True)
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
