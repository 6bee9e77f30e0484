"""Where a Clipper is reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoints:
    """A host and Clipper's three ports on it: both REST frontends and the RPC of the replicas."""

    host: str = "127.0.0.1"
    query: int = 1337
    management: int = 1338
    rpc: int = 7000
