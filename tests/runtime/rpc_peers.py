"""A container in a process of its own, and Clipper's frontend played by hand."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import zmq

from imagesmith.runtime import wire

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds; only a failing test waits so long


def until(condition):
    """Wait for a condition to hold."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Frontend:
    """Clipper's frontend: it receives and sends one message at a time, on a free port."""

    def __init__(self, context, port=0):
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.rcvtimeo = int(1000 * PATIENCE)
        self.socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        self.port = int(self.socket.last_endpoint.rpartition(b":")[2])

    def receive(self):
        self.peer, *frames = self.socket.recv_multipart()
        return wire.decode_from_container(frames)

    def send(self, message):
        self.socket.send_multipart([self.peer, *wire.encode(message)])

    def keep_alive(self):
        self.send(wire.HeartbeatReply(wire.HeartbeatType.KEEPALIVE))

    def ask_who(self):
        self.send(wire.HeartbeatReply(wire.HeartbeatType.REQUEST_CONTAINER_METADATA))

    def expect(self, kind):
        """Give the next message of a kind, answering heartbeats on the way."""
        while not isinstance(message := self.receive(), kind):
            assert isinstance(message, wire.Heartbeat)
            self.keep_alive()
        return message

    def meet(self):
        """Take a container's hello and acknowledge it."""
        assert self.receive() == wire.Heartbeat()
        self.ask_who()
        while not isinstance(hello := self.receive(), wire.Hello):
            assert isinstance(hello, wire.Heartbeat)
        self.expect(wire.Heartbeat)
        self.keep_alive()
        return hello

    def ask(self, input_type, *inputs, message_id=7):
        """Send a batch and give its answers."""
        self.send(wire.Predict(message_id, input_type, inputs))
        response = self.expect(wire.Response)
        assert response.message_id == message_id
        return list(response.outputs)


class Container:
    """A program that serves a model, in a process of its own."""

    def __init__(self, argv, environment, log):
        self._log = log
        self.ready_file = Path(environment["CLIPPER_READY_FILE"])
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *argv],
                env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def lines(self):
        return self._log.read_text().splitlines()

    def exit_status(self):
        return self.process.wait(PATIENCE)

    def wait_for_line(self, text):
        until(lambda: any(text in line for line in self.lines))
