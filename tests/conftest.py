"""What the stages' tests share: the store, the base, and what a marked test needs of its host.

The store is the user's own (IMAGESMITH_CACHE), so that the base is made once, not in every run.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache, partial
from pathlib import Path

import engines
import podman_engine
import pytest
from uv import find_uv_bin

from imagesmith import base as bases
from imagesmith.findings import ImagesmithError
from imagesmith.progress import Silent
from imagesmith.run.rootfs import RootfsRunner
from imagesmith.store import Store


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # of xdist: its workers share what their parent has
        engines.share()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell does for what it starts in the background; what the tests start would keep it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        engines.unshare()


def pytest_runtest_setup(item):
    for mark, lacking in _LACKING.items():
        if item.get_closest_marker(mark) and (reason := lacking()):
            cannot_run(reason)


def cannot_run(reason):
    """Skip the test; fail it in CI, where everything that it needs must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def store():
    return Store.default()


@pytest.fixture(scope="session")
def base(store):
    try:
        return bases.ensure(store, "3.11", Silent())
    except ImagesmithError as problem:
        return cannot_run(f"{problem}\n{problem.log}")


@pytest.fixture(scope="session")
def toolchain(store):
    try:
        return bases.toolchain(store, "3.11", Silent())
    except ImagesmithError as problem:
        return cannot_run(f"{problem}\n{problem.log}")


@pytest.fixture(scope="session")
def engine():
    """Give the Docker engine in reach, else one of the tests' own; see engines.Engine."""
    return engines.running_engine() or _service("engine")


@pytest.fixture(scope="session")
def registry():
    """Give a registry of the tests' own; see engines.Registry."""
    return _service("registry")


@pytest.fixture(scope="session")
def podman():
    """Give a podman of the tests' own; see podman_engine.Podman."""
    with podman_engine.own_podman() as own:
        yield own


def _service(kind):
    try:
        return engines.shared(kind)
    except engines.CannotStartError as problem:
        return cannot_run(f"no {kind}: {problem}")


@pytest.fixture
def wait_until():
    """Give a function that waits until a condition holds, and fails if it never does."""

    def wait(condition, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the condition never held"
            time.sleep(0.01)

    return wait


@cache
def _lacking_namespaces():
    try:
        with tempfile.TemporaryDirectory() as folder:
            assert RootfsRunner(Store(Path(folder))).privilege
    except ImagesmithError as problem:
        return str(problem)
    return None


@cache
def _lacking_index():
    asked = subprocess.run(
        [find_uv_bin(), "pip", "compile", "--quiet", "--no-cache", "-"],
        input="packaging",
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no package index in reach: {asked.stderr}" if asked.returncode else None


def _lacking_command(name):
    return None if shutil.which(name) else f"{name} is not on PATH"


_LACKING = {
    "engine": engines.lacking_engine,
    "registry": engines.lacking_registry,
    "buildah": partial(_lacking_command, "buildah"),
    "podman": podman_engine.lacking_podman,
    "skopeo": partial(_lacking_command, "skopeo"),
    "chromium": partial(_lacking_command, "chromium"),
    "root": _lacking_namespaces,
    "apt": partial(_lacking_command, "mmdebstrap"),
    "index": _lacking_index,
}
