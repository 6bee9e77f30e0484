"""The stage itself: a source archive becomes a wheel, in a container without a network.

Its build requirements are fetched by hash on the host and laid out over the base's toolchain as an
image, each hook of its backend runs in a fresh container of that, and what comes out is checked,
brought into one form and kept by its digest.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

from imagesmith import base as bases
from imagesmith.base.debian import SUITES
from imagesmith.build.layers import LayersBuilder
from imagesmith.fetch import fetch
from imagesmith.findings import ExitCode, Finding, ImagesmithError, error
from imagesmith.image import oci
from imagesmith.image.plan import ImagePlan, environment, search_path
from imagesmith.image.tar import check_path
from imagesmith.image.wheel import ENVIRONMENT
from imagesmith.progress import Silent
from imagesmith.resolve import pylock
from imagesmith.resolve.indexes import configured
from imagesmith.resolve.lock import Lock
from imagesmith.resolve.solver import Question
from imagesmith.run.runner import Network
from imagesmith.store import canonical, key_of
from imagesmith.wheels.archive import opened
from imagesmith.wheels.explain import BY_HAND, explain
from imagesmith.wheels.finish import finished, identity_of
from imagesmith.wheels.project import BuildSystem, build_system, requirements

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagesmith.progress import Progress
    from imagesmith.resolve.lock import LockedWheel
    from imagesmith.resolve.platform import Target
    from imagesmith.resolve.solver import Solver
    from imagesmith.run.runner import Runner
    from imagesmith.store import Store
    from imagesmith.wheels.source import Source

# Part of every key: raise it when the same source is to give another wheel.
_RECIPE = 1
_PATIENCE = 3600.0  # seconds for one hook
_LOGGED = 64 << 10  # characters of a build's log that are kept, its last
_KILLED = 128 + signal.SIGKILL
_KILLED_WHY = "the build was killed; it may need more memory than there is"
_CREATED = "1970-01-01T00:00:00Z"
_SETTINGS = {
    "HOME": "/tmp",  # noqa: S108 - the container's own
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "315532800",  # 1980, before which zip files cannot tell the time
    "VIRTUAL_ENV": f"/{ENVIRONMENT}",
    # Debian's Python compiles with -g, and so would triple what an image holds of the wheel.
    "CFLAGS": "-O2 -g0",
    "CXXFLAGS": "-O2 -g0",
}
# How backends that ask a repository are told which version this is.
_SCM_VERSIONS = ("SETUPTOOLS_SCM_PRETEND_VERSION", "PBR_VERSION", "PDM_BUILD_SCM_VERSION")


@dataclass(frozen=True)
class BuiltWheel:
    """A wheel that was built here; its bytes are in the store under ``digest``.

    ``name`` is normalised, ``requirements`` are the wheels that it was built with.
    """

    name: str
    version: str
    filename: str
    digest: str
    source_digest: str
    requirements: tuple[LockedWheel, ...]


@dataclass(frozen=True)
class WheelBuilder:
    """Builds wheels for one target; a wheel that was built before is taken from the store."""

    target: Target
    solver: Solver
    runner: Runner
    store: Store
    progress: Progress
    index_url: str | None = None

    def build(self, source: Source) -> BuiltWheel:
        """Give the wheel of a source.

        Raises ImagesmithError: build.sdist where it cannot be built, with the build's log;
        reach.index, build.runner, build.store, and what making a base raises.
        """
        if self.target.python not in SUITES:
            raise ImagesmithError(_failed(source, _no_toolchain(self.target)))
        base = bases.toolchain(self.store, self.target.python, self.progress)
        try:
            return _Build(source, self, base).wheel()
        except ValueError as bad:
            raise ImagesmithError(_failed(source, str(bad))) from bad
        except OSError as bad:
            raise self.store.failure(bad) from bad


@dataclass(frozen=True)
class _Build:
    """One source on its way; ValueError says what is wrong with it."""

    source: Source
    builder: WheelBuilder
    base: oci.Image

    def wheel(self) -> BuiltWheel:
        """Give the wheel, built if the store lacks it."""
        store = self.builder.store
        lock = self.lock(self.requires())
        made_with = [wheel.digest for wheel in lock.wheels]
        wanted = [self.source.name, self.source.version, self.builder.target.glibc]
        key = key_of("wheel", _RECIPE, self.identity, wanted, made_with, self.base.manifest.digest)
        with store.making("wheels", key):
            known = store.recall("wheels", key)
            if known is None or not store.has(known["digest"]):
                filename, digest = self.made(lock)
                known = {"filename": filename, "digest": digest}
                store.remember("wheels", key, known)
        filename, digest = known["filename"], known["digest"]
        name, version = identity_of(filename)
        return BuiltWheel(name, version, filename, digest, self.source.digest, lock.wheels)

    @property
    def identity(self) -> list[str | None]:
        """All of the source that its wheel is a function of."""
        source = self.source
        return [source.digest, source.filename, source.subdirectory, source.scm_version]

    def requires(self) -> tuple[str, ...]:
        """Give what the build requires: what the project says, and what its backend asks for."""
        store = self.builder.store
        key = key_of("requires", _RECIPE, self.identity, self.base.manifest.digest)
        with store.making("build-requires", key):
            known = store.recall("build-requires", key)
            if known is None:
                named = self.system.requires
                answer = self.run("get_requires_for_build_wheel", self.lock(named))
                known = requirements([*named, *_asked_for(answer)], self.builder.target)
                store.remember("build-requires", key, known)
        return tuple(known)

    def lock(self, requires: tuple[str, ...]) -> Lock:
        """Lock build requirements for the target, once and for all."""
        builder, store = self.builder, self.builder.store
        if not requires:  # a backend of its own, in the project
            return Lock(builder.target, ())
        indexes = configured(builder.index_url, os.environ)
        question = Question(requires, (), builder.target, indexes)
        key = key_of(question.public, builder.solver.identity)
        known = store.recall("build-locks", key)
        if known is not None:
            return pylock.parse(known.encode(), builder.target)
        try:
            lock = pylock.parse(builder.solver.solve(question), builder.target)
        except ImagesmithError as stopped:
            if stopped.exit_code is ExitCode.UNREACHABLE:
                raise
            found = (_failed(self.source, _of_requirements(f)) for f in stopped.findings)
            raise ImagesmithError(*found) from stopped
        store.remember("build-locks", key, pylock.render(lock).decode())
        return lock

    def made(self, lock: Lock) -> tuple[str, str]:
        """Build the wheel with what is locked; its file name, and its digest in the store."""
        started = time.monotonic()
        name, newline, data = self.run("build_wheel", lock).partition(b"\n")
        if not newline:
            raise ValueError("its backend gave no wheel")
        filename = name.decode(errors="replace")
        glibc = self.base.config.labels[oci.LABEL_GLIBC]
        wheel = finished(filename, data, self.source, self.builder.target, glibc)
        digest = self.builder.store.add(wheel)
        took = time.monotonic() - started
        self.builder.progress.say("wheels", f"{filename}: built from source in {took:.0f} s")
        return filename, digest

    def run(self, hook: str, lock: Lock) -> bytes:
        """Call a hook of the backend in a container of its own; what it answers."""
        order = {
            "backend": self.system.backend,
            "backend_path": self.system.backend_path,
            "project": self.source.subdirectory or ".",
        }
        driver = files("imagesmith.wheels").joinpath("driver.py").read_text()
        argv = [f"/{ENVIRONMENT}/bin/python", "-c", driver, hook, canonical(order).decode()]
        image = self.image(lock)
        container = self.builder.runner.start(image, env={}, network=Network.NONE)
        try:
            done = container.execute(argv, self.tree, timeout=_PATIENCE)
        except TimeoutError:
            raise ValueError(f"it did not end within {_PATIENCE / 60:.0f} minutes") from None
        finally:
            container.stop(grace=0)
        if done.status:
            log = done.stderr.decode(errors="replace")[-_LOGGED:]
            why = _KILLED_WHY if done.status == _KILLED else explain(log)
            raise ImagesmithError(_failed(self.source, why), log=log)
        return done.stdout

    def image(self, lock: Lock) -> oci.Image:
        """Give the image that the build runs in: the toolchain with the build requirements."""
        builder = self.builder
        fetch(lock, builder.store, builder.progress, index_url=builder.index_url)
        told = dict.fromkeys(_SCM_VERSIONS, self.source.scm_version or "")
        config = oci.ImageConfig(
            env={
                **self.base.config.env,
                "PATH": search_path(self.base),
                **_SETTINGS,
                **(told if self.source.scm_version else {}),
            },
            entrypoint=("busybox", "sleep", f"{2 * _PATIENCE:.0f}"),
            user="1000:1000",
        )
        layers = environment(lock, self.base, builder.store)
        plan = ImagePlan(self.base.reference, self.base, layers, config, _CREATED)
        return LayersBuilder(builder.store, Silent()).build(plan)

    @cached_property
    def system(self) -> BuildSystem:
        """What the project says of its build."""
        return self._read[0]

    @cached_property
    def tree(self) -> bytes:
        """The source tree as a tar of ours."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[BuildSystem, bytes]:
        place = self.builder.store.path(self.source.digest)
        folder = self.source.subdirectory and f"{self.source.subdirectory}/"
        check_path(f"{folder}pyproject.toml")
        with opened(place, self.source.filename) as tree:
            pyproject = tree.read(f"{folder}pyproject.toml")
            return build_system(pyproject, self.builder.target), tree.tar()


def _asked_for(answer: bytes) -> Iterable[object]:
    try:
        asked = json.loads(answer)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, list):
        raise ValueError("its backend does not say what it requires")
    return asked


def _no_toolchain(target: Target) -> str:
    return (
        f"its compiled parts would need a Debian with Python {target.python}, and there are "
        f"those with {', '.join(SUITES)}"
    )


def _of_requirements(found: Finding) -> str:
    return f"what its build requires cannot be had: {found.message}"


def _failed(source: Source, why: str) -> Finding:
    subject = source.subject
    message = f"{subject} has no wheel for linux-64, and its source cannot be built: {why}"
    return error("build.sdist", subject, message, BY_HAND)
