"""Starting and stopping the replicas of a model: the ContainerManager and the local one."""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Protocol

from imagesmith.findings import ImagesmithError, error
from imagesmith.image.plan import READY
from imagesmith.run.rootfs import Process
from imagesmith.run.runner import Network

if TYPE_CHECKING:
    from imagesmith.image.oci import Image
    from imagesmith.run.runner import Container, Runner
    from imagesmith.store import Store

_KIND = "replicas"
# Run inside the replica, where it costs nothing while the model loads.
_WAIT = f"import os, time\nwhile not os.path.exists('/{READY}'): time.sleep(0.02)"


@dataclass(frozen=True)
class Model:
    """What a replica serves: the name, version and input type that it tells Clipper."""

    name: str
    version: str
    input_type: str


class ContainerManager(Protocol):
    """Runs replicas somewhere; the names and labels it gives them are its own affair."""

    def start(self, image: Image, model: Model) -> str:
        """Start one replica and give its id once its hello is acknowledged.

        Raises ImagesmithError (register.replica…) with its log, the replica then being gone.
        """

    def stop(self, replica: str) -> None:
        """Stop a replica; one that is gone already is no error."""


@dataclass(frozen=True)
class LocalManager:
    """Runs replicas on this machine, on the host's network, for one Clipper.

    ``clipper`` is the process of an embedded Clipper, None for any other; a replica is remembered
    with it, so that it does not outlive it for ever (see ``stop_left_over``).
    """

    runner: Runner
    store: Store
    rpc: tuple[str, int]  # where Clipper takes the hello: host, port
    clipper: Process | None
    patience: float = 300.0  # seconds; a large model takes its time to load

    def start(self, image: Image, model: Model) -> str:
        """Start one replica, remember it, and wait for its ready file."""
        env = environment(model, *self.rpc)
        container = self.runner.start(image, env=env, network=Network.HOST)
        try:
            clipper = None if self.clipper is None else astuple(self.clipper)
            fact = {"name": model.name, "version": model.version, "clipper": clipper}
            self.store.remember(_KIND, container.id, fact)
            wait_for_hello(container, image, self.rpc, self.patience)
        except BaseException:
            self.stop(container.id)
            raise
        return container.id

    def stop(self, replica: str) -> None:
        """Stop a replica and forget it."""
        _stop(replica, self.runner, self.store)


def environment(model: Model, host: str, port: int) -> dict[str, str]:
    """Give what a replica is told of its model and of where Clipper takes its hello (A.6, C.2)."""
    return {
        "CLIPPER_MODEL_NAME": model.name,
        "CLIPPER_MODEL_VERSION": model.version,
        "CLIPPER_INPUT_TYPE": model.input_type,
        "CLIPPER_IP": host,
        "CLIPPER_PORT": str(port),
    }


def wait_for_hello(
    container: Container, image: Image, rpc: tuple[str, int], patience: float
) -> None:
    """Wait until the frontend has acknowledged the hello: only then is the ready file there.

    Raises ImagesmithError: register.replica-died, and register.no-hello after ``patience`` seconds.
    """
    python = image.config.entrypoint[0]
    try:
        waited = container.execute([python, "-S", "-c", _WAIT], b"", timeout=patience)
    except TimeoutError as late:
        raise _no_hello(container, image, rpc, patience) from late
    if waited.status != 0:
        _wait_for_end(container)
        raise replica_died(container, image)


def _no_hello(
    container: Container, image: Image, rpc: tuple[str, int], patience: float
) -> ImagesmithError:
    return ImagesmithError(
        error(
            "register.no-hello",
            image.reference,
            f"no Clipper at {rpc[0]}:{rpc[1]} acknowledged the replica's hello"
            f" within {patience:g} s",
            "see that the address of Clipper's RPC side (--rpc HOST:PORT) is right",
        ),
        log=container.log(),
    )


def _wait_for_end(container: Container) -> None:
    """Wait for the status of a container that ends: it is known a moment later than that."""
    end = time.monotonic() + 2.0
    while container.status() is None and time.monotonic() < end:
        time.sleep(0.01)


def replica_died(container: Container, image: Image) -> ImagesmithError:
    """Say that a replica has ended, in the words of its own last line."""
    lines = container.log().strip().splitlines() or ["it printed nothing"]
    return ImagesmithError(
        error(
            "register.replica-died",
            image.reference,
            f"the replica ended with status {container.status()}: {lines[-1]}",
            "its log above has the whole story; `imagesmith verify` shows the same",
        ),
        log=container.log(),
    )


def stop_all(clipper: Process, runner: Runner, store: Store) -> None:
    """Stop the replicas of an embedded Clipper."""
    for replica, fact in store.recall_all(_KIND).items():
        if fact["clipper"] == list(astuple(clipper)):
            _stop(replica, runner, store)


def stop_left_over(runner: Runner, store: Store) -> None:
    """Stop the replicas of embedded Clippers that have ended.

    They would look for it for ever, and be taken in by the next one at its address.
    """
    for replica, fact in store.recall_all(_KIND).items():
        if fact["clipper"] is not None and Process(*fact["clipper"]).wait(0):
            _stop(replica, runner, store)


def _stop(replica: str, runner: Runner, store: Store) -> None:
    container = runner.attach(replica)
    if container is not None:
        container.stop()
    store.forget(_KIND, replica)
