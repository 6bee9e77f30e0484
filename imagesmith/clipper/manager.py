"""Starting and stopping the replicas of a model: the ContainerManager and the local one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from imagesmith.findings import ImagesmithError, error
from imagesmith.image.plan import READY
from imagesmith.run.runner import Network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagesmith.image.oci import Image
    from imagesmith.run.runner import Container, Runner
    from imagesmith.store import Store

_KIND = "replicas"
_LOOK_EVERY = 0.05  # seconds between two looks at the ready file


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
    """Runs replicas on this machine, on the host's network, beside the embedded Clipper."""

    runner: Runner
    store: Store
    rpc: tuple[str, int]  # where Clipper takes the hello: host, port
    patience: float = 300.0  # seconds; a large model takes its time to load

    def start(self, image: Image, model: Model) -> str:
        """Start one replica, remember it, and wait for its ready file."""
        container = self.runner.start(image, env=self._env(model), network=Network.HOST)
        fact = {"name": model.name, "version": model.version, "rpc": list(self.rpc)}
        self.store.remember(_KIND, container.id, fact)
        try:
            self._wait(container, image)
        except BaseException:
            self.stop(container.id)
            raise
        return container.id

    def stop(self, replica: str) -> None:
        """Stop a replica and forget it."""
        container = self.runner.attach(replica)
        if container is not None:
            container.stop()
        self.store.forget(_KIND, replica)

    def replicas(self) -> list[str]:
        """Give the ids of the replicas that were started towards this Clipper."""
        facts = self.store.recall_all(_KIND)
        return [replica for replica, fact in facts.items() if fact["rpc"] == list(self.rpc)]

    def _env(self, model: Model) -> Mapping[str, str]:
        host, port = self.rpc
        return {
            "CLIPPER_MODEL_NAME": model.name,
            "CLIPPER_MODEL_VERSION": model.version,
            "CLIPPER_INPUT_TYPE": model.input_type,
            "CLIPPER_IP": host,
            "CLIPPER_PORT": str(port),
        }

    def _wait(self, container: Container, image: Image) -> None:
        """Wait until the frontend has acknowledged the hello: only then is the ready file there."""
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            if container.status() is not None:
                lines = container.log().strip().splitlines() or ["it printed nothing"]
                raise ImagesmithError(
                    error(
                        "register.replica-died",
                        image.reference,
                        f"the replica ended with status {container.status()}: {lines[-1]}",
                        "its log above has the whole story; `imagesmith verify` shows the same",
                    ),
                    log=container.log(),
                )
            if container.execute(["test", "-f", f"/{READY}"], b"", timeout=30).status == 0:
                return
            time.sleep(_LOOK_EVERY)
        raise ImagesmithError(
            error(
                "register.no-hello",
                image.reference,
                f"no Clipper at {self.rpc[0]}:{self.rpc[1]} acknowledged the replica's hello"
                f" within {self.patience:.0f} s",
                "see that the address of Clipper's RPC side (--rpc HOST:PORT) is right",
            ),
            log=container.log(),
        )
