"""An embedded Clipper on free ports of its own, and containers that speak its RPC for the tests."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import zmq

from imagesmith.clipper.endpoints import Endpoints
from imagesmith.clipper.server import in_thread
from imagesmith.runtime import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PATIENCE = 20.0  # seconds after which a wait for a condition is a failure


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@contextmanager
def embedded_clipper(**timers: float) -> Iterator[Endpoints]:
    """Serve in a thread; ``timers`` are serve()'s."""
    with in_thread(Endpoints(query=0, management=0, rpc=0), **timers) as served:
        yield served.endpoints


class Container(threading.Thread):
    """A container with a DEALER of its own that answers by ``answer``; None: it says nothing.

    ``batches`` holds what it was asked, ``replies`` the heartbeats' answers.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        answer: Callable[[Sequence[bytes]], Sequence[bytes] | None],
        hello: wire.Hello,
    ) -> None:
        super().__init__(daemon=True)
        self.address = f"tcp://{endpoints.host}:{endpoints.rpc}"
        self.answer = answer
        self.hello = hello
        self.batches: list[Sequence[bytes]] = []
        self.replies: list[wire.HeartbeatType] = []
        self.registered = threading.Event()
        self.replied = threading.Event()
        self.stopped = threading.Event()

    def run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.connect(self.address)
            socket.send_multipart(wire.encode(wire.Heartbeat()))
            while not self.stopped.is_set():
                if socket.poll(20):
                    message = wire.decode_from_frontend(socket.recv_multipart())
                    for reply in self.respond(message):
                        socket.send_multipart(wire.encode(reply))

    def respond(self, message: wire.FromFrontend) -> Iterator[wire.FromContainer]:
        if isinstance(message, wire.Predict):
            self.batches.append(message.inputs)
            outputs = self.answer(message.inputs)
            if outputs is not None:
                yield wire.Response(message.message_id, outputs)
            return
        self.replies.append(message.kind)
        self.replied.set()
        if message.kind is wire.HeartbeatType.KEEPALIVE:
            self.registered.set()
        elif len(self.replies) < 3:
            yield self.hello
            yield wire.Heartbeat()

    def stop(self) -> None:
        self.stopped.set()
        self.join(PATIENCE)


def echo(inputs: Sequence[bytes]) -> Sequence[bytes]:
    return [b'"%d bytes"' % len(data) for data in inputs]
