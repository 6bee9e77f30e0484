"""What the stages above ask of whoever starts containers; rootfs.py is the embedded one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imagesmith.image.oci import Image


class Network(StrEnum):
    """What a container can reach: its own loopback alone, or what the host can."""

    NONE = "none"
    HOST = "host"


@dataclass(frozen=True)
class Completed:
    """How a command inside a container ended."""

    status: int
    stdout: bytes
    stderr: bytes


class Container(Protocol):
    """A started container; on the host's network it outlives its starter until it is stopped."""

    @property
    def id(self) -> str:
        """The name under which ``Runner.attach`` finds it again."""

    def status(self) -> int | None:
        """Give the exit status, or None while it runs (a signal N gives 128 + N)."""

    def execute(self, argv: Sequence[str], stdin: bytes, timeout: float) -> Completed:
        """Run a command inside, as the image's user with the container's environment.

        Raises TimeoutError after ``timeout`` seconds; the command is then dead.
        """

    def log(self) -> str:
        """Give what the container has printed so far, stdout and stderr together."""

    def stop(self, grace: float = 10.0) -> None:
        """End it: SIGTERM, after ``grace`` seconds SIGKILL; then nothing of it is left."""


class Runner(Protocol):
    """Starts containers from images."""

    @property
    def is_engine(self) -> bool:
        """Whether images have to be brought to an engine before they start."""

    def start(
        self,
        image: Image,
        *,
        env: Mapping[str, str],
        network: Network,
        read_only: bool = False,
    ) -> Container:
        """Start a container as its image says; ImagesmithError (build.runner…) if it cannot."""

    def attach(self, container_id: str) -> Container | None:
        """Find a container that an earlier process started; None if it is gone."""
