"""From what is wanted to a lock, for the base that the image will stand on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.capture.bundle import Capture
    from imagesmith.capture.specification import Specification
    from imagesmith.image.oci import Image
    from imagesmith.pipeline.wishes import BuildWish, Workshop
    from imagesmith.resolve import Resolved, Target, Wanted
    from imagesmith.resolve.lock import Lock
    from imagesmith.resolve.solver import Solver

_NAMED = 8  # packages that are named in a line


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

    target = target_of(base)
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


def target_of(base: Image) -> Target:
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
