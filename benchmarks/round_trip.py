"""A batch's way to a container and back, beside a bare pyzmq loop.

The model answers at once, so what is seen is runtime/rpc.py: each input is doubles[784]. Both
containers are processes of their own that talk to a ROUTER in this one; the CPU time is the
container's (/proc/PID/task/*/schedstat).
"""

import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import zmq

from benchmarks.measure import PROJECT, Row, medians, timed
from imagesmith.runtime import wire

_ROUNDS = {1: 2000, 100: 200, 1000: 20}  # of a batch of this size, in one measurement
_INPUT = struct.pack("<784d", *[0.5] * 784)
_OURS = """
from imagesmith.runtime import rpc
class Model(rpc.ModelContainerBase):
    def predict_doubles(self, inputs):
        return ["0"] * len(inputs)
rpc.RPCService().start(Model())
"""


class Peer(NamedTuple):
    """A container that has said hello: its process, and its end of the ROUTER's socket."""

    process: subprocess.Popen[bytes]
    socket: zmq.Socket[bytes]
    identity: bytes


def rows() -> Iterator[Row]:
    """Measure both in turn, for each size of a batch."""
    bare_program = str(PROJECT / "benchmarks" / "bare_container.py")
    with _container("-c", _OURS) as ours, _container(bare_program) as bare:
        for size, rounds in _ROUNDS.items():
            cpu: dict[int, list[float]] = {ours.process.pid: [], bare.process.pid: []}
            trips = medians(*(partial(_measure, peer, size, rounds, cpu) for peer in (ours, bare)))
            seconds = [median(cpu[peer.process.pid][1:]) for peer in (ours, bare)]
            yield _row(f"round trip, batch {size}", trips)
            yield _row("  CPU of the container", seconds)


def _row(what: str, seconds: tuple[float, ...] | list[float]) -> Row:
    ours, bare = (1e6 * value for value in seconds)
    return Row(what, "us", ours, "bare pyzmq loop", bare)


def _measure(peer: Peer, size: int, rounds: int, cpu: dict[int, list[float]]) -> float:
    """Give the seconds of one trip of a batch; its CPU time goes into ``cpu``."""
    frames = wire.encode(wire.Predict(7, wire.InputType.DOUBLES, [_INPUT] * size))

    def trips() -> None:
        for _ in range(rounds):
            peer.socket.send_multipart([peer.identity, *frames])
            while len(peer.socket.recv_multipart()) < 5 + size:
                pass  # a heartbeat

    before = _cpu_seconds(peer.process.pid)
    took = timed(trips)
    cpu[peer.process.pid].append((_cpu_seconds(peer.process.pid) - before) / rounds)
    return took / rounds


def _cpu_seconds(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def _container(*program: str) -> Iterator[Peer]:
    """Start a container and take its hello."""
    with (
        tempfile.TemporaryDirectory() as folder,
        zmq.Context() as context,
        context.socket(zmq.ROUTER) as router,
    ):
        router.linger = 0
        port = str(router.bind_to_random_port("tcp://127.0.0.1"))
        environment = {
            "CLIPPER_MODEL_NAME": "m",
            "CLIPPER_MODEL_VERSION": "1",
            "CLIPPER_PORT": port,
            "CLIPPER_READY_FILE": f"{folder}/ready",
            "PYTHONPATH": str(PROJECT),
        }
        with subprocess.Popen(
            [sys.executable, *program, port],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
        ) as process:
            try:
                yield Peer(process, router, _meet(router))
            finally:
                process.terminate()


def _meet(router: zmq.Socket[bytes]) -> bytes:
    """Play Clipper's side of a hello; give the container's identity."""
    known = False
    while True:
        identity, *frames = router.recv_multipart()
        if isinstance(wire.decode_from_container(frames), wire.Hello):
            known = True
            continue
        kind = wire.HeartbeatType
        reply = kind.KEEPALIVE if known else kind.REQUEST_CONTAINER_METADATA
        router.send_multipart([identity, *wire.encode(wire.HeartbeatReply(reply))])
        if known:
            return identity
