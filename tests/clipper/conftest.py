"""Fixtures: an embedded Clipper on free ports of its own, a client, and containers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from clipper_peers import PATIENCE, Container, echo, embedded_clipper

from imagesmith.clipper.client import Clipper
from imagesmith.runtime import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imagesmith.clipper.endpoints import Endpoints


@pytest.fixture
def endpoints() -> Iterator[Endpoints]:
    with embedded_clipper() as actual:
        yield actual


@pytest.fixture
def clipper(endpoints: Endpoints) -> Iterator[Clipper]:
    with Clipper.at(endpoints) as client:
        yield client


@pytest.fixture
def query(endpoints: Endpoints) -> Iterator[Callable[..., httpx.Response]]:
    """Post a raw body to an application's predict."""
    with httpx.Client(trust_env=False, timeout=PATIENCE) as http:
        base = f"http://{endpoints.host}:{endpoints.query}"
        yield lambda app, content: http.post(f"{base}/{app}/predict", content=content)


@pytest.fixture
def connect() -> Iterator[Callable[..., Container]]:
    """Connect a container and wait until it is registered."""
    with ExitStack() as stack:

        def start(
            endpoints: Endpoints,
            answer: Callable[[Sequence[bytes]], Sequence[bytes] | None] = echo,
            hello: wire.Hello | None = None,
        ) -> Container:
            hello = hello or wire.Hello("m", "1", wire.InputType.DOUBLES)
            container = Container(endpoints, answer, hello)
            container.start()
            stack.callback(container.stop)
            if hello.rpc_version == wire.RPC_VERSION:
                assert container.registered.wait(PATIENCE)
            return container

        yield start
