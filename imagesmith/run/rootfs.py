"""The embedded runner: containers from images without an engine, by the kernel's namespaces.

A container is a folder, ``<store>/run/<id>/`` (spec.json, log, process.json, status), and two
processes: its process 1 and the keeper that waits for it (inside.py). Both are detached, so it
outlives whoever started it. Its mounts live in its own mount namespace and end with it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.image.unpack import unpacked
from imagesmith.partial import clear_partial, is_stale
from imagesmith.presence import in_use
from imagesmith.run.runner import Completed, Network
from imagesmith.store import canonical, folder_whole, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagesmith.image.oci import Image
    from imagesmith.store import Store

_INSIDE = (sys.executable, "-I", "-S", str(Path(__file__).with_name("inside.py")))
_ID = re.compile(r"[0-9a-f]{12}")
_KILLED = 128 + signal.SIGKILL


class Privilege(StrEnum):
    """How namespaces may be made here: as root, or in a user namespace of many ids or of one."""

    ROOT = "root"
    MAPPED = "mapped"
    SINGLE = "single"


_HOST_FILES = ("etc/hosts", "etc/resolv.conf")
_MOUNT_POINTS = "points"  # the lowest layer: what an image may lack and something is mounted on

_UNSHARE = {
    Privilege.ROOT: (),
    Privilege.MAPPED: ("--map-root-user", "--map-auto"),
    Privilege.SINGLE: ("--map-root-user",),
}


@dataclass(frozen=True)
class Process:
    """A process by pid and start time (in clock ticks since boot), since pids are used again."""

    pid: int
    started: int | None

    @classmethod
    def of_this(cls) -> Process:
        """Give the running process."""
        return cls(os.getpid(), _start_time(os.getpid()))

    @contextmanager
    def opened(self) -> Iterator[int | None]:
        """Yield a pidfd for the process, None if it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            yield handle if _start_time(self.pid) == self.started else None
        finally:
            os.close(handle)

    def wait(self, timeout: float | None) -> bool:
        """Say whether the process has ended, or ends within ``timeout`` seconds (None: ever)."""
        with self.opened() as handle:
            if handle is None:
                return True
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            return bool(poll.poll(None if timeout is None else timeout * 1000))

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal, if it is there."""
        with self.opened() as handle, suppress(ProcessLookupError):
            if handle is not None:
                signal.pidfd_send_signal(handle, number)


@dataclass(frozen=True)
class RootfsContainer:
    """A container of RootfsRunner; see run.runner.Container."""

    folder: Path
    keeper: Process
    main: Process

    @property
    def id(self) -> str:
        """The name of the container's folder."""
        return self.folder.name

    def status(self) -> int | None:
        """Give the exit status, None while it runs; a killed keeper has killed it (137)."""
        ended = self.keeper.wait(0)  # asked first: the keeper notes the status before it ends
        noted = _read(self.folder / "status")
        if noted is not None:
            return int(noted)
        return _KILLED if ended else None

    def execute(self, argv: Sequence[str], stdin: bytes, timeout: float) -> Completed:
        """Run a command inside; TimeoutError after ``timeout`` seconds, the command then dead.

        In a container that has ended every command ends with 137, as if killed with it.
        """
        if self.status() is not None:
            return Completed(_KILLED, b"", b"")
        spec = str(self.folder / "spec.json")
        command = [*_INSIDE, "enter", spec, str(self.keeper.pid), str(self.main.pid), *argv]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, cwd="/", start_new_session=True
        ) as process:
            try:
                stdout, stderr = process.communicate(stdin, timeout)
            except BaseException as problem:
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(problem, subprocess.TimeoutExpired):
                    raise TimeoutError(f"{argv[0]} took over {timeout:g} s") from None
                raise
        return Completed(process.returncode, stdout, stderr)

    def log(self) -> str:
        """Give what it has printed so far; nothing once it has been stopped."""
        return _read(self.folder / "log") or ""

    def stop(self, grace: float = 10.0) -> None:
        """End it, and remove its folder: nothing of it is left."""
        self.main.send(signal.SIGTERM)
        if not self.main.wait(grace):
            self.main.send(signal.SIGKILL)
        self.main.wait(None)
        self.keeper.wait(None)
        shutil.rmtree(self.folder, ignore_errors=True)


class RootfsRunner:
    """Starts containers in namespaces, as root or in a user namespace; see run.runner.Runner.

    Where only a user namespace of one id can be had, the container's user owns the image's files,
    and supplementary groups cannot be given up.
    """

    is_engine = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.root.resolve() / "run"

    def start(
        self,
        image: Image,
        *,
        env: Mapping[str, str],
        network: Network,
        read_only: bool = False,
    ) -> RootfsContainer:
        """Start a container; ImagesmithError (build.layer, build.runner, build.store) if not."""
        self.sweep()
        with in_use(self._store.root):  # until there are the container's links to its layers
            return self._started(image, env, network, read_only)

    def _started(
        self, image: Image, env: Mapping[str, str], network: Network, read_only: bool
    ) -> RootfsContainer:
        layers = [
            unpacked(self._store, image.blob(layer.blob.digest), layer) for layer in image.layers
        ]
        folder = self._folder / secrets.token_hex(6)
        spec = self._spec(image, folder, env, network, read_only)
        try:
            with folder_whole(folder) as beside:
                _prepare(beside, spec, layers)
            return self._launch(image, folder)
        except BaseException as problem:
            if container := self.attach(folder.name):
                container.stop(grace=0)
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(problem, OSError):
                raise self._store.failure(problem) from problem
            raise

    def attach(self, container_id: str) -> RootfsContainer | None:
        """Find a container, running or ended, that has not been stopped."""
        folder = self._folder / container_id
        processes = _read(folder / "process.json") if _ID.fullmatch(container_id) else None
        if processes is None:
            return None
        keeper, main = (Process(*identity) for identity in json.loads(processes))
        return RootfsContainer(folder, keeper, main)

    def sweep(self) -> None:
        """Remove what is left of containers that nobody will stop any more; ``start`` does so.

        That is: one without a network runs no longer than its starter, who alone has a use for it;
        one that has ended keeps its log for a day.
        """
        clear_partial(self._folder)
        for spec in self._folder.glob("*/spec.json"):
            with suppress(FileNotFoundError):  # it is being stopped
                self._sweep(spec)

    def _sweep(self, spec: Path) -> None:
        facts = json.loads(spec.read_bytes())
        if not Process(*facts["starter"]).wait(0):
            return
        container = self.attach(spec.parent.name)
        ended = container is None or container.status() is not None
        if container is not None and facts["network"] == Network.NONE:
            container.stop(grace=0)
        elif ended and all(map(is_stale, (spec.parent, *spec.parent.glob("log")))):
            shutil.rmtree(spec.parent, ignore_errors=True)

    def can_start(self) -> bool:
        """Say whether this machine lets us start containers."""
        try:
            return bool(self.privilege)
        except ImagesmithError:
            return False

    @cached_property
    def privilege(self) -> Privilege:
        """The first way that works here; found by trying, since many settings forbid some."""
        tried: tuple[Privilege, ...] = (Privilege.ROOT,) if os.geteuid() == 0 else ()
        for privilege in (*tried, Privilege.MAPPED, Privilege.SINGLE):
            if _can_unshare(privilege):
                return privilege
        raise ImagesmithError(_no_namespaces())

    def _spec(
        self,
        image: Image,
        folder: Path,
        env: Mapping[str, str],
        network: Network,
        read_only: bool,
    ) -> dict[str, Any]:
        """Give all that inside.py needs to know; its keys are read there."""
        config = image.config
        argv = (*config.entrypoint, *config.cmd)
        if not argv:
            raise ImagesmithError(_no_command(image))
        alone = network is Network.NONE
        hosts = {"etc/hosts": str(folder / "hosts")}
        shared = {name: f"/{name}" for name in _HOST_FILES if Path("/", name).exists()}
        return {
            "privilege": self.privilege,
            "network": network,
            "read_only": read_only,
            "hostname": folder.name if alone else socket.gethostname(),
            "lower": [*map(str, range(len(image.layers))), _MOUNT_POINTS],
            "files": hosts if alone else shared,
            "user": config.user,
            "working_dir": config.working_dir,
            "env": {**config.env, **env},
            "argv": argv,
            "starter": astuple(Process.of_this()),
        }

    def _launch(self, image: Image, folder: Path) -> RootfsContainer:
        spec = folder / "spec.json"
        flags = [*_UNSHARE[self.privilege], "--mount", "--pid", "--ipc", "--uts"]
        if json.loads(spec.read_bytes())["network"] == Network.NONE:
            flags.append("--net")
        reading, writing = os.pipe()
        with (folder / "log").open("ab") as log, os.fdopen(reading, "rb") as ready:
            command = ["setsid", "--fork", "unshare", *flags, *_INSIDE]
            subprocess.run(
                [*command, "start", str(spec), str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                cwd="/",
                check=True,
            )
            os.close(writing)
            problem = ready.read().decode()  # ends when process 1 has become its command
        container = self.attach(folder.name)
        if container is None or problem:
            raise ImagesmithError(_refused(image, problem), log=_read(folder / "log") or "")
        return container


def _prepare(folder: Path, spec: Mapping[str, Any], layers: Sequence[Path]) -> None:
    """Fill a container's folder: its spec, the layers by number, the topmost first."""
    for name in ("root", "scratch", "lower"):
        (folder / name).mkdir()
    for number, layer in enumerate(reversed(layers)):
        (folder / "lower" / str(number)).symlink_to(layer.resolve())
    points = folder / "lower" / _MOUNT_POINTS
    for name in ("proc", "sys", "dev", "etc"):
        (points / name).mkdir(parents=True)
    for name in _HOST_FILES:
        (points / name).touch()
    (folder / "hosts").write_text(f"127.0.0.1 localhost {spec['hostname']}\n::1 localhost\n")
    write_whole(folder / "spec.json", canonical(spec))


def _can_unshare(privilege: Privilege) -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", *_UNSHARE[privilege], "--mount", "--pid", "--ipc", "--uts", "--net"]
    return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0


def _start_time(pid: int) -> int | None:
    """Give a process's start time in clock ticks (proc(5), stat, field 22), None if it is gone."""
    text = _read(Path(f"/proc/{pid}/stat"))
    return int(text.rpartition(")")[2].split()[19]) if text else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None


def _no_namespaces() -> Finding:
    return error(
        "build.runner",
        "unshare",
        "containers cannot be started here: neither this user nor a user namespace may make them",
        "run as root, allow user namespaces (sysctl user.max_user_namespaces, "
        "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), "
        "or build with --no-verify",
    )


def _no_command(image: Image) -> Finding:
    return error(
        "build.runner",
        image.reference,
        "the image has neither an entrypoint nor a command",
        "name an image that imagesmith built",
    )


def _refused(image: Image, problem: str) -> Finding:
    return error(
        "build.runner",
        image.reference,
        f"the container did not start: {problem or 'see its log'}",
        "mend what it says; build with --no-verify to build without starting it",
    )
