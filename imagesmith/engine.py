"""Reaching a Docker engine, and what is said when there is none or it goes away."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

# Seconds; an engine on a slow disk says nothing for long while it commits a layer.
_SILENCE = 300


@contextmanager
def connected(host: str | None) -> Iterator[DockerClient]:
    """Open the engine of a host, else of DOCKER_HOST, else this machine's.

    Raises ImagesmithError (reach.engine) where none answers, and where it goes away within the
    block; docker.errors.APIError, which is its own answer, passes.
    """
    from http.client import HTTPException

    import docker
    from docker.errors import APIError, DockerException
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    lost = (DockerException, RequestException, HTTPError, HTTPException, ConnectionError)
    environment = {**os.environ, "DOCKER_HOST": host} if host else None
    try:
        client = docker.from_env(timeout=_SILENCE, environment=environment)
    except (*lost, OSError, ValueError) as bad:
        raise _unreachable(host, bad) from bad
    try:
        yield client
    except APIError:
        raise
    except lost as bad:
        raise _unreachable(host, bad) from bad
    finally:
        client.close()


def _unreachable(host: str | None, bad: Exception) -> ImagesmithError:
    where = host or os.environ.get("DOCKER_HOST") or "this machine's engine"
    return ImagesmithError(
        error(
            "reach.engine",
            where,
            f"the Docker engine does not answer, or went away: {bad}",
            "start it, or name another one in DOCKER_HOST; imagesmith needs one only where it is"
            " told to use it",
        )
    )
