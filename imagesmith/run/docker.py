"""The Docker runner: containers on an engine, which may be far away.

Nothing of this machine is bound or mounted: what a command inside is told goes in by its standard
input, and what it says comes out by the engine's own connection.
"""

from __future__ import annotations

import math
import os
import secrets
import signal
import socket
import struct
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from imagesmith.engine import connected
from imagesmith.findings import ImagesmithError, error
from imagesmith.run.runner import Completed, Network
from imagesmith.store import hex_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from docker import APIClient, DockerClient
    from docker.models.containers import Container as EngineContainer

    from imagesmith.image.oci import Image
    from imagesmith.publish.publisher import Publisher

LABEL_CONTAINER = "io.imagesmith.container"  # the id that Runner.attach takes
LABEL_STARTER = "io.imagesmith.starter"  # machine and process; on those that end with it
# The name that an image has in the engine while it is tried: that of the model is not moved before
# the image has been verified.
REPOSITORY = "imagesmith-run"
_KEPT = timedelta(hours=1)  # how long such a name stays, for those who run it meanwhile
_KILLED = 128 + signal.SIGKILL
_NOT_ENDED = ("created", "running", "paused", "restarting")  # of a container's states
_STATUS_KNOWN_IN = 5.0  # seconds after the last of a command's output
_FRAME = struct.Struct(">B3xI")  # of the engine's attach stream: which output, how many bytes
_STDERR = 2

# A command says its process id first, by which it can be killed; and nothing before it is let go,
# since the docker library loses what arrives together with the answer's headers.
_LAUNCH = 'read -r _ && echo $$ && exec "$@"'


@dataclass(frozen=True)
class DockerContainer:
    """A container of DockerRunner; see run.runner.Container."""

    id: str
    host: str | None

    def status(self) -> int | None:
        """Give the exit status, None while it runs; one that somebody removed was killed (137)."""
        with self._opened() as found:
            if found is None:
                return _KILLED
            state = found.attrs["State"]
            return None if state["Status"] in _NOT_ENDED else int(state["ExitCode"])

    def execute(self, argv: Sequence[str], stdin: bytes, timeout: float) -> Completed:
        """Run a command inside; TimeoutError after ``timeout`` seconds, the command then dead.

        In a container that has ended every command ends with 137, as if killed with it.
        """
        from docker.errors import APIError

        with connected(self.host) as client:
            found = _find(client, self.id)
            if found is None:
                return Completed(_KILLED, b"", b"")
            try:
                return _execute(found, client.api, argv, stdin, timeout)
            except APIError as refused:
                if refused.status_code in (404, 409):  # it has ended
                    return Completed(_KILLED, b"", b"")
                raise _refused(self.id, refused) from refused

    def log(self) -> str:
        """Give what it has printed so far; nothing once it has been stopped."""
        with self._opened() as found:
            return found.logs().decode(errors="replace") if found is not None else ""

    def stop(self, grace: float = 10.0) -> None:
        """End it and remove it from the engine."""
        with self._opened() as found:
            if found is not None:
                _stop(found, grace)

    @contextmanager
    def _opened(self) -> Iterator[EngineContainer | None]:
        with connected(self.host) as client:
            yield _find(client, self.id)


@dataclass(frozen=True)
class DockerRunner:
    """Starts containers on the engine of ``host``, else of DOCKER_HOST; see run.runner.Runner.

    ``loader`` brings images there under the names that they bear.
    """

    loader: Publisher
    host: str | None = None
    is_engine: bool = field(default=True, init=False)

    def start(
        self,
        image: Image,
        *,
        env: Mapping[str, str],
        network: Network,
        read_only: bool = False,
    ) -> DockerContainer:
        """Start a container; ImagesmithError (build.runner, reach.engine, publish.…) if not."""
        from docker.errors import APIError

        tag = hex_of(image.config_blob.digest)[:12]
        name = f"{REPOSITORY}:{tag}"
        with connected(self.host) as client:
            _sweep(client)
        self.loader.publish(replace(image, reference=name))
        container_id = secrets.token_hex(6)
        with connected(self.host) as client:
            try:
                # Loading does not tell the engine when the name was given; this does.
                client.api.tag(name, REPOSITORY, tag)
                client.api.start(
                    client.api.create_container(
                        name,
                        name=f"imagesmith-{container_id}",
                        environment=dict(env),
                        labels=_labels(container_id, network),
                        host_config=client.api.create_host_config(
                            network_mode=str(network),
                            read_only=read_only,
                            cap_drop=["ALL"],
                            security_opt=["no-new-privileges"],
                        ),
                    )
                )
            except BaseException as problem:
                with suppress(APIError):
                    client.api.remove_container(f"imagesmith-{container_id}", v=True, force=True)
                if isinstance(problem, APIError):
                    raise _refused(image.reference, problem) from problem
                raise
        return DockerContainer(container_id, self.host)

    def attach(self, container_id: str) -> DockerContainer | None:
        """Find a container, running or ended, that has not been stopped."""
        with connected(self.host) as client:
            found = _find(client, container_id)
        return DockerContainer(container_id, self.host) if found is not None else None


def _labels(container_id: str, network: Network) -> dict[str, str]:
    labels = {LABEL_CONTAINER: container_id}
    if network is Network.NONE:  # it serves its starter alone, as the embedded runner has it
        labels[LABEL_STARTER] = f"{_this_machine()} {os.getpid()}"
    return labels


def _find(client: DockerClient, container_id: str) -> EngineContainer | None:
    found = _labelled(client, f"{LABEL_CONTAINER}={container_id}")
    return found[0] if found else None


def _labelled(client: DockerClient, label: str) -> list[EngineContainer]:
    return client.containers.list(all=True, filters={"label": label}, ignore_removed=True)


def _sweep(client: DockerClient) -> None:
    """Remove what others have left: containers whose starter is gone, names of long ago."""
    for left in _labelled(client, LABEL_STARTER):
        machine, _, pid = left.labels[LABEL_STARTER].rpartition(" ")
        if machine == _this_machine() and not _is_alive(int(pid)):
            _stop(left, grace=0)
    for image in client.api.images(REPOSITORY):
        for name in image["RepoTags"] or ():
            if name.startswith(f"{REPOSITORY}:"):
                _forget(client, name)


def _forget(client: DockerClient, name: str) -> None:
    """Take a name of ours away that nobody has given for a while."""
    from docker.errors import APIError

    with suppress(APIError):  # somebody else has, or a container runs from it
        tagged = client.images.get(name).attrs["Metadata"]["LastTagTime"]
        given = datetime.fromisoformat(f"{tagged[:19]}+00:00")
        is_known = given.year > 1  # else somebody is about to say it
        if is_known and datetime.now(UTC) - given > _KEPT:
            client.api.remove_image(name)


def _this_machine() -> str:
    """Name what process ids belong to: a host, and on Linux a namespace of it."""
    space = Path("/proc/self/ns/pid")
    inode = space.stat().st_ino if space.exists() else 0
    return f"{socket.gethostname()}-{uuid.getnode():x}-{inode}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _stop(container: EngineContainer, grace: float) -> None:
    from docker.errors import APIError

    try:
        if grace > 0:
            container.stop(timeout=math.ceil(grace))
        container.remove(v=True, force=True)
    except APIError as gone:
        if gone.status_code not in (404, 409):  # somebody else removes it, or has
            raise


def _execute(
    container: EngineContainer, api: APIClient, argv: Sequence[str], stdin: bytes, timeout: float
) -> Completed:
    command = ["sh", "-c", _LAUNCH, "sh", *argv]
    execution = api.exec_create(container.id, command, stdin=True)["Id"]
    stream: Any = api.exec_start(execution, socket=True)
    output = _Output()
    end = time.monotonic() + timeout
    connection = getattr(stream, "_sock", stream)
    writer = Thread(target=_send, args=(connection, b"\n" + stdin), daemon=True)
    writer.start()
    try:
        output.take(connection, end)
    except TimeoutError:
        raise TimeoutError(f"{argv[0]} took over {timeout:g} s") from None
    finally:
        if not output.whole:
            _kill(container, output.pid)
        stream.close()
    pid, stdout, stderr = output.pid, output.stdout, output.stderr
    return Completed(_status(api, execution), stdout if pid else b"", stderr if pid else stdout)


def _send(connection: Any, data: bytes) -> None:
    with suppress(OSError):  # a command need not read what it is told; how it ended says enough
        connection.sendall(data)
        # The plain socket's own: a TLS socket would forget its keys, and read no more.
        if isinstance(connection, socket.socket):
            socket.socket.shutdown(connection, socket.SHUT_WR)
        else:
            connection.shutdown(socket.SHUT_WR)


class _Output:
    """What a command prints, taken apart; its first line is its process id."""

    def __init__(self) -> None:
        self._frames = bytearray()
        self._printed = bytearray()
        self._errors = bytearray()
        self.whole = False

    def take(self, connection: Any, end: float) -> None:
        """Read to the end of it; TimeoutError if that is not there in time."""
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            data = connection.recv(1 << 16)
            if not data:
                self.whole = True
                return
            self._frames += data
            self._sort()

    def _sort(self) -> None:
        while len(self._frames) >= _FRAME.size:
            kind, size = _FRAME.unpack_from(self._frames)
            end = _FRAME.size + size
            if len(self._frames) < end:
                return
            to = self._errors if kind == _STDERR else self._printed
            to += self._frames[_FRAME.size : end]
            del self._frames[:end]

    @property
    def pid(self) -> str:
        """The command's process id in the container, "" if it has not come to its start."""
        line, ended, _ = self._printed.partition(b"\n")
        return line.decode() if ended and line.isdigit() else ""

    @property
    def stdout(self) -> bytes:
        """What it has printed, without the process id."""
        return bytes(self._printed.partition(b"\n")[2] if self.pid else self._printed)

    @property
    def stderr(self) -> bytes:
        """What it has printed as errors."""
        return bytes(self._errors)


def _kill(container: EngineContainer, pid: str) -> None:
    """Kill a command and what it has started: it leads a session, and so a process group."""
    from docker.errors import APIError

    if pid:
        with suppress(APIError):  # the container has ended, and the command with it
            container.exec_run(["sh", "-c", f"kill -9 -{pid}"])


def _status(api: APIClient, execution: str) -> int:
    """Give a command's exit status, which is known a moment after its output has ended."""
    from docker.errors import NotFound

    end = time.monotonic() + _STATUS_KNOWN_IN
    while time.monotonic() < end:
        try:
            state = api.exec_inspect(execution)
        except NotFound:
            break
        if not state["Running"] and state["ExitCode"] is not None:
            return int(state["ExitCode"])
        time.sleep(0.01)
    return _KILLED


def _refused(subject: str, problem: Any) -> ImagesmithError:
    return ImagesmithError(
        error(
            "build.runner",
            subject,
            f"the Docker engine did not start it: {problem.explanation or problem}",
            "mend what it says; build with --no-verify to build without starting it",
        )
    )
