"""A runner that is found when the first container is asked for: most commands start none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagesmith.image.oci import Image
    from imagesmith.run.runner import Container, Network, Runner


@dataclass(frozen=True)
class LateRunner:
    """Does what the runner does that ``find`` gives."""

    find: Callable[[], Runner]

    @cached_property
    def _found(self) -> Runner:
        return self.find()

    @property
    def is_engine(self) -> bool:
        """Whether images have to be brought to an engine before they start."""
        return self._found.is_engine

    def start(
        self,
        image: Image,
        *,
        env: Mapping[str, str],
        network: Network,
        read_only: bool = False,
    ) -> Container:
        """Start a container as its image says; ImagesmithError (build.runner…) if it cannot."""
        return self._found.start(image, env=env, network=network, read_only=read_only)

    def attach(self, container_id: str) -> Container | None:
        """Find a container that an earlier process started; None if it is gone."""
        return self._found.attach(container_id)
