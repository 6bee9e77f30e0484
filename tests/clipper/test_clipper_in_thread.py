"""A Clipper in a thread, as ``imagesmith run`` has it: there for a block, and not longer."""

from __future__ import annotations

import socket
import threading

import pytest

from imagesmith.clipper import server
from imagesmith.clipper.client import Clipper
from imagesmith.clipper.endpoints import Endpoints
from imagesmith.clipper.server import in_thread

FREE = Endpoints(query=0, management=0, rpc=0)


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("clipper")]


def listened_on(endpoints):
    with socket.socket() as probe:
        return probe.connect_ex((endpoints.host, endpoints.management)) == 0


@pytest.mark.parametrize("problem", [None, KeyboardInterrupt])
def test_it_serves_until_the_block_ends_however_that_ends(problem):
    try:
        with in_thread(FREE) as served:
            with Clipper.at(served.endpoints) as clipper:
                clipper.ping()
            if problem:
                raise problem
    except KeyboardInterrupt:
        pass
    assert threads() == []
    assert not listened_on(served.endpoints)


def test_where_a_port_is_taken_nothing_is_served():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), in_thread(Endpoints(query=port)):
            pytest.fail("it serves")
    assert threads() == []


def test_that_it_failed_can_be_seen(monkeypatch):
    async def fail(*_arguments):
        raise RuntimeError("of its own")

    monkeypatch.setattr(server, "_watch", fail)
    with in_thread(FREE) as served:
        problem = served.ended.exception(timeout=20)
    assert "of its own" in str(getattr(problem, "exceptions", problem))
    assert threads() == []
