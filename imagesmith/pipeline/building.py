"""The walk down the street: capture, resolve, fetch, plan, build, verify, publish."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.pipeline.locking import target_of, wanted_by
from imagesmith.pipeline.planning import plan_for, pullable
from imagesmith.pipeline.trying import runner_for, verified
from imagesmith.pipeline.wishes import CaptureWish
from imagesmith.store import DamagedError

if TYPE_CHECKING:
    from imagesmith.build.builder import Builder
    from imagesmith.capture.bundle import Capture
    from imagesmith.image.oci import Image
    from imagesmith.image.plan import ImagePlan
    from imagesmith.inspect.limit import Users
    from imagesmith.pipeline.wishes import BuildWish, Workshop
    from imagesmith.publish.publisher import Publisher
    from imagesmith.record.make import Build
    from imagesmith.resolve.lock import Lock


def captured(wish: CaptureWish, shop: Workshop) -> Capture:
    """Capture a target from the working folder, or read the bundle of that name.

    Raises ImagesmithError: usage.bundle for what can only be said when a bundle is made.
    """
    from imagesmith.capture.bundle import is_bundle, read, renamed
    from imagesmith.capture.take import capture

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


def project_of(wish: CaptureWish) -> Path | None:
    """Give the folder that a target lies in; None for a bundle, whose target may be anywhere.

    Raises ImagesmithError: capture.bad-target, capture.no-file.
    """
    from imagesmith.capture.bundle import is_bundle
    from imagesmith.capture.target import parse

    return None if is_bundle(Path(wish.target)) else parse(wish.target, Path.cwd()).root


def build(
    capture: Capture,
    wish: BuildWish,
    publisher: Publisher,
    shop: Workshop,
    project: Path | None = None,
) -> Image:
    """Make, verify and publish the image of a capture; the image as published.

    ``project`` is the folder whose revision the build record notes. What is found damaged in the
    store on the way is made again. Raises ImagesmithError with the findings of the stage that
    cannot go on; nothing is published then.
    """
    began = time.time()
    publisher.check()
    check_builder(wish.builder, wish.template)
    mended: set[str] = set()
    while True:
        try:
            return _built(capture, wish, publisher, shop, project, began)
        except DamagedError as bad:
            if bad.digest in mended or not shop.store.drop_damaged(bad.digest):
                raise
            mended.add(bad.digest)
            for found in bad.findings:
                shop.progress.say("store", f"{found.message}; it is made again")


def _built(
    capture: Capture,
    wish: BuildWish,
    publisher: Publisher,
    shop: Workshop,
    project: Path | None,
    began: float,
) -> Image:
    from imagesmith.progress import Noting
    from imagesmith.record.make import Build

    noting = Noting(shop.progress)
    shop = replace(shop, progress=noting)
    planned, lock = plan_for(capture, wish, shop)
    builder, shop = builder_for(planned, lock, wish, shop)
    base = pullable(wish.base, planned)
    made = Build(
        capture, planned, lock, builder.name, wish.template, base, project, began, noting.codes
    )
    return carried_out(builder, made, wish, publisher, shop)


def carried_out(
    builder: Builder, made: Build, wish: BuildWish, publisher: Publisher, shop: Workshop
) -> Image:
    """Have a plan built, verify the image and publish it; the image as published.

    Raises ImagesmithError as ``build`` does.
    """
    from imagesmith.build.builder import nobody
    from imagesmith.record.make import record

    with publisher.delivery() as delivery:
        # An engine that tries the image gets it for that; nothing is to travel twice, and nothing
        # that may be refused.
        early = not (wish.verify and shop.runner.is_engine) and wish.max_size is None
        image = builder.build(made.plan, delivery.layer if early else nobody)
        if wish.max_size is not None:
            from imagesmith.inspect.limit import check

            users = partial(_users, made.capture, wish, made.plan.base)
            check(image, wish.max_size, shop.store, users)
        compared = verified(image, made.capture, wish, shop) if wish.verify else 0
        record(image, made, shop.store, compared=compared)
        place = delivery.publish(image)
    shop.progress.say("publish", f"{image.pinned} is in {place}")
    return image


def _users(capture: Capture, wish: BuildWish, base: Image) -> Users:
    """Say who needs what of a capture's environment, and what is there by --deps all alone."""
    from imagesmith.inspect.limit import Users
    from imagesmith.resolve.asked import ask_for

    needed = replace(wish.lock, everything=False)
    asked = ask_for(wanted_by(capture), target_of(base), needed, wish.sources)
    users = asked.needs.needed_by
    captured = {p.name for p in asked.packages} | {d.name for d in asked.distributions}
    idle = captured - users.keys() if wish.lock.everything else set()
    return Users(users, frozenset(idle))


def push(image: Image, publisher: Publisher, shop: Workshop) -> None:
    """Publish an image that was built before; what of it is damaged, the next build makes again."""
    try:
        publisher.publish(image)
    except DamagedError as bad:
        shop.store.drop_damaged(bad.digest)
        raise


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


def builder_for(
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
    base = pullable(wish.base, plan)
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
        base_reference=pullable(wish.base, planned),
    )
    shop.progress.say("render", f"{len(planned.layers)} layers over {planned.base.reference}")
