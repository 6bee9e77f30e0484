"""Reaching a Docker engine, and what is said when there is none or it goes away."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

# Seconds; an engine on a slow disk says nothing for long while it commits a layer.
_SILENCE = 300
_SOCKET = Path("/var/run/docker.sock")  # where an engine is unless DOCKER_HOST names another


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


def is_in_reach() -> bool:
    """Say whether the engine of DOCKER_HOST, else this machine's, answers."""
    if not os.environ.get("DOCKER_HOST") and not _SOCKET.exists():
        return False  # without importing a library to find that out
    try:
        with connected(None):
            return True
    except ImagesmithError:
        return False


def is_named() -> bool:
    """Say whether the user has named an engine."""
    return bool(os.environ.get("DOCKER_HOST"))


def is_named_here() -> bool:
    """Say whether the user has named an engine that runs on this very machine."""
    host = urlsplit(os.environ.get("DOCKER_HOST", ""))
    return host.scheme == "unix" or host.hostname in ("localhost", "127.0.0.1", "::1")


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
