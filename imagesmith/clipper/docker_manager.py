"""Replicas on a Docker engine, beside a Clipper that runs there too.

Names, labels and environment are those of clipper_admin 0.4.1's DockerContainerManager, so that its
own commands find these replicas. Unlike its containers they have no capabilities.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.clipper.endpoints import Endpoints
from imagesmith.clipper.manager import environment, wait_for_hello
from imagesmith.engine import connected
from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.run.docker import LABEL_CONTAINER, DockerContainer

if TYPE_CHECKING:
    from docker import DockerClient

    from imagesmith.clipper.manager import Model
    from imagesmith.image.oci import Image
    from imagesmith.publish.publisher import Publisher

LABEL_CLUSTER = "ai.clipper.container.label"
LABEL_MODEL = "ai.clipper.model_container.label"
LABEL_FRONTEND = "ai.clipper.query_frontend.label"
NETWORK = "clipper_network"
CLUSTER = "default-cluster"


@dataclass(frozen=True)
class DockerContainerManager:
    """Runs replicas on the engine of ``host``, else of DOCKER_HOST, in a network of the engine's.

    ``loader`` brings images there under the names that they bear. Where ``rpc`` is None, replicas
    say hello to the query frontend's container, by its name in the network.
    """

    loader: Publisher
    network: str = NETWORK
    rpc: tuple[str, int] | None = None
    host: str | None = None
    patience: float = 300.0  # seconds; a large model takes its time to load

    def start(self, image: Image, model: Model) -> str:
        """Start one replica and wait for its ready file.

        Raises ImagesmithError: register.no-frontend, register.network, register.replica, and what
        ``wait_for_hello`` and the loader raise; the replica is gone then.
        """
        from docker.errors import APIError

        self.loader.publish(image)
        replica = DockerContainer(secrets.token_hex(6), self.host)
        try:
            with connected(self.host) as client:
                rpc = self.rpc or (_query_frontend(client), Endpoints.rpc)
                client.containers.run(
                    image.config_blob.digest,
                    detach=True,
                    name=f"{model.name}_{model.version}-{secrets.randbelow(100_001)}",
                    environment=environment(model, *rpc),
                    labels={
                        LABEL_CLUSTER: CLUSTER,
                        LABEL_MODEL: f"{model.name}_{model.version}",
                        LABEL_CONTAINER: replica.id,
                    },
                    network=self.network,
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges"],
                )
            wait_for_hello(replica, image, rpc, self.patience)
        except BaseException as problem:
            replica.stop(grace=0)
            if isinstance(problem, APIError):
                raise ImagesmithError(_refused(self.network, image, problem)) from problem
            raise
        return replica.id

    def stop(self, replica: str) -> None:
        """Stop a replica and remove it from the engine."""
        DockerContainer(replica, self.host).stop()


def _query_frontend(client: DockerClient) -> str:
    """Give the name of the cluster's query frontend, which the engine's DNS resolves."""
    labels = [f"{LABEL_CLUSTER}={CLUSTER}", LABEL_FRONTEND]
    found = client.containers.list(filters={"label": labels})
    if not found:
        raise ImagesmithError(
            error(
                "register.no-frontend",
                CLUSTER,
                "the engine runs no query frontend of Clipper's that replicas could say hello to",
                "start Clipper there, or name the address of its RPC side with --rpc HOST:PORT",
            )
        )
    return str(found[0].name)


def _refused(network: str, image: Image, problem: Any) -> Finding:
    text = str(problem.explanation or problem)
    if network in text and "network" in text:
        return error(
            "register.network",
            network,
            f"the engine has no network {network!r}",
            f"name Clipper's network with --network, or make it: docker network create {network}",
        )
    return error(
        "register.replica",
        image.reference,
        f"the Docker engine did not start the replica: {text}",
        "mend what it says, then deploy again",
    )
