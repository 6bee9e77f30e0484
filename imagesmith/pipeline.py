"""The walk down the street: capture, resolve, fetch, plan, build, verify, publish."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error, stop_on_errors
from imagesmith.resolve import Sources, Wish
from imagesmith.store import DamagedError

if TYPE_CHECKING:
    from imagesmith.build.builder import Builder
    from imagesmith.capture.bundle import Capture
    from imagesmith.capture.specification import Specification
    from imagesmith.image.oci import Image
    from imagesmith.image.plan import ImagePlan
    from imagesmith.image.system import SystemPackage
    from imagesmith.inspect.limit import Users
    from imagesmith.progress import Progress
    from imagesmith.publish.publisher import Publisher
    from imagesmith.record.make import Build
    from imagesmith.resolve import Resolved, Target, Wanted
    from imagesmith.resolve.lock import Lock
    from imagesmith.resolve.solver import Solver
    from imagesmith.run.runner import Runner
    from imagesmith.store import Store
    from imagesmith.verify.verify import Verdict


_NAMED = 8  # packages that are named in a line


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
    """What the user wants of an image beyond what was captured.

    ``project`` is the folder whose revision the build record notes.
    """

    base: str | None = None
    sources: Sources = field(default_factory=Sources)
    lock: Wish = field(default_factory=Wish)
    pip_resolver: str = "uv"
    verify: bool = True
    rtol: float = 1e-6
    compare: bool = True
    builder: str = "auto"
    template: Path | None = None
    max_size: int | None = None  # bytes of the image, uncompressed
    apt: tuple[str, ...] = ()


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
    base = _pullable(wish.base, planned)
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
        compared = _verify(image, made.capture, wish, shop) if wish.verify else 0
        record(image, made, shop.store, compared=compared)
        place = delivery.publish(image)
    shop.progress.say("publish", f"{image.pinned} is in {place}")
    return image


def _users(capture: Capture, wish: BuildWish, base: Image) -> Users:
    """Say who needs what of a capture's environment, and what is there by --deps all alone."""
    from imagesmith.inspect.limit import Users
    from imagesmith.resolve.asked import ask_for

    needed = replace(wish.lock, everything=False)
    asked = ask_for(wanted_by(capture), _target(base), needed, wish.sources)
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


def runner_for(store: Store, progress: Progress, *, by_engine: bool) -> Runner:
    """Give what starts containers: imagesmith itself, or the Docker engine.

    The engine does ``by_engine``, and where this machine lets imagesmith start none.
    """
    from imagesmith.engine import is_in_reach
    from imagesmith.run.rootfs import RootfsRunner

    rootfs = RootfsRunner(store)
    if by_engine or (not rootfs.can_start() and is_in_reach()):
        from imagesmith.publish.engine import EnginePublisher
        from imagesmith.run.docker import DockerRunner

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
    findings = libraries.check(capture, lock, base, packages, shop.store, wish.lock.allow_missing)
    stop_on_errors(findings)
    for finding in findings:
        shop.progress.find(finding)
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

    findings = check(lock.packages, shop.store, {wheel.name for wheel in lock.wheels})
    stop_on_errors(findings)
    for finding in findings:
        shop.progress.find(finding)
    return plan(capture, lock, base, runtime, shop.store, created, packages)


def base_for(minor: str, reference: str | None, shop: Workshop) -> Image:
    """Give the base for a Python minor version, made from Debian's packages if need be.

    Raises ImagesmithError: capture.python where the base named has another Python than was
    captured, since byte code, wheels and pickles belong to a minor version.
    """
    from imagesmith import base
    from imagesmith.image import oci

    if reference is None:
        return base.ensure(shop.store, minor, shop.progress)
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
    if python != minor:
        raise ImagesmithError(
            error(
                "capture.python",
                reference,
                f"the function was captured with Python {minor}, the base has Python {python}",
                f"leave --base out, or name one with Python {minor}",
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


def lock_for(capture: Capture, base: Image, wish: BuildWish, shop: Workshop) -> Lock:
    """Lock what a capture needs for the base that its image will stand on.

    Raises ImagesmithError with all that is missing or in conflict.
    """
    return lock_of(resolved(wanted_by(capture), base, wish, shop), shop)


def wanted(bundle: Path | None, env: Path | None, shop: Workshop) -> Wanted | Specification:
    """Read what is to be locked: the bundle of a function, an environment's folder, or a file.

    Raises ImagesmithError: usage.lock where it is not one of them, usage.bundle,
    usage.specification, capture.….
    """
    if (bundle is None) == (env is None):
        raise ImagesmithError(
            error(
                "usage.lock",
                "lock",
                "there must be one thing to lock: a bundle, or an environment",
                "name a bundle that `imagesmith capture` wrote, or --env PREFIX|FILE",
            )
        )
    if bundle is not None:
        from imagesmith.capture.bundle import read

        return wanted_by(read(bundle))
    assert env is not None
    found: Wanted | Specification
    if os.path.isfile(env):  # noqa: PTH113 (pathlib's raises where a name is too long)
        from imagesmith.capture.sources import read_specification

        found, findings = read_specification(env)
    else:
        from imagesmith.capture.prefix import read_prefix
        from imagesmith.resolve import Wanted

        environment, findings = read_prefix(env)
        found = Wanted(environment)
    for finding in findings:
        shop.progress.find(finding)
    return found


def python_of(wanted: Wanted | Specification, given: str | None, shop: Workshop) -> str:
    """Give the Python (X.Y) that a lock is for; one that is ``given`` counts for a file alone.

    Raises ImagesmithError: capture.python where a file allows none that there is a base for, or
    where the environment has another than is given.
    """
    from imagesmith.base.debian import SUITES
    from imagesmith.resolve import Wanted
    from imagesmith.resolve.specified import minor

    if not isinstance(wanted, Wanted):
        chosen = given or minor(wanted, list(SUITES))
        shop.progress.say("resolve", f"for Python {chosen}; --python X.Y takes another one")
        return chosen
    if given not in (None, wanted.environment.minor):
        raise ImagesmithError(
            error(
                "capture.python",
                str(given),
                f"the environment has Python {wanted.environment.minor}, not {given}: byte code,"
                " wheels and pickles belong to one",
                "leave --python out",
            )
        )
    return wanted.environment.minor


def wanted_by(capture: Capture) -> Wanted:
    """Say what a capture needs of its environment."""
    from imagesmith.resolve import Wanted

    return Wanted(
        capture.environment, capture.modules, capture.cloudpickle, recorded=capture.recorded
    )


def resolved(
    wanted: Wanted | Specification, base: Image, wish: BuildWish, shop: Workshop
) -> Resolved:
    """Resolve what is wanted of an environment for a base."""
    from imagesmith.resolve import resolve
    from imagesmith.wheels.maker import WheelMaker

    target = _target(base)
    return resolve(
        wanted,
        target,
        wish=wish.lock,
        sources=wish.sources,
        solver=_solver(wish.pip_resolver),
        maker=WheelMaker(target, shop.runner, shop.store, shop.progress, wish.sources.index_url),
        store=shop.store,
        progress=shop.progress,
    )


def _target(base: Image) -> Target:
    """Say what a base is to the solver."""
    from imagesmith.image import oci
    from imagesmith.resolve import Target

    labels = base.config.labels
    return Target(labels[oci.LABEL_PYTHON], labels[oci.LABEL_GLIBC])


def _solver(name: str) -> Solver:
    if name == "pip-tools":
        from imagesmith.resolve.pip_tools import PipToolsSolver

        return PipToolsSolver()
    from imagesmith.resolve.uv import UvSolver

    return UvSolver()


def lock_of(resolved: Resolved, shop: Workshop) -> Lock:
    """Give the lock that came of resolving, or raise ImagesmithError with why there is none."""
    if resolved.lock is None:
        raise ImagesmithError(*resolved.findings)
    for finding in resolved.findings:
        shop.progress.find(finding)
    if dropped := resolved.report.dropped:
        names = ", ".join(entry.name for entry in dropped[:_NAMED])
        more = f" and {len(dropped) - _NAMED} more" if len(dropped) > _NAMED else ""
        saved = f"{resolved.report.saved / 1e6:.1f} MB"
        shop.progress.say("resolve", f"left out, since nothing needs it: {names}{more} ({saved})")
    return resolved.lock


def _verify(image: Image, capture: Capture, wish: BuildWish, shop: Workshop) -> int:
    """See that the image answers; how many answers were held against the function's own."""
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
    return verdict.compared


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
