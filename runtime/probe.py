"""Asks a container, from inside, what it answers: ``python -m imagesmith.runtime.probe``.

It plays Clipper's frontend on the loopback, so that nothing outside the container is bound or
reached. One JSON document on stdin says what to ask:

    {"input_type": "doubles", "batches": [[[1.5, 2.5]], ...], "imports": ["sklearn"],
     "port": 7000, "timeout": 60.0}

and one on stdout says what came of it, exit status 0:

    {"imports": {}, "hello": {"name": "m", "version": "1", "input_type": "doubles"},
     "ready": true, "answers": [["0"], ...], "milliseconds": [1.2, ...]}

``imports`` holds each module that cannot be imported, with the reason. ``timeout`` is in seconds,
for each thing waited for: the hello, the ready file, the answers to one batch. Where the
conversation fails, ``error`` is one line that says why, the rest is as far as it went, and the
exit status is 1.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import zmq

from . import batch, closure_container, rpc, wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_READY_POLL = 0.02

_Kind = TypeVar("_Kind", bound=wire.FromContainer)


class ProbeError(Exception):
    """The conversation has failed; the message is one line."""


@dataclass(frozen=True)
class Request:
    """What to ask: JSON values in batches, as Clipper's REST takes them."""

    input_type: wire.InputType
    batches: Sequence[Sequence[Any]]
    imports: Sequence[str]
    port: int
    timeout: float


def read_request(document: str | bytes) -> Request:
    """Read the JSON document of a request; ProbeError if it is none."""
    try:
        fields = json.loads(document)
        return Request(
            input_type=wire.parse_input_type(fields["input_type"]),
            batches=[list(values) for values in fields["batches"]],
            imports=[str(module) for module in fields["imports"]],
            port=int(fields["port"]),
            timeout=float(fields["timeout"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProbeError(f"not a request: {type(error).__name__}: {error}") from error


def probe(request: Request) -> Iterator[tuple[str, Any]]:
    """Give each thing that a report says, as soon as it is known; ProbeError ends it."""
    yield "imports", failed_imports(request.imports)
    batches = [_frames(n, b, request.input_type) for n, b in enumerate(request.batches)]
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        _bind(socket, request.port)
        frontend = _Frontend(socket, request.timeout)
        hello = frontend.meet()
        yield "hello", _described(hello)
        if hello.input_type is not request.input_type:
            raise ProbeError(
                f"the container takes {hello.input_type.label}, not {request.input_type.label}"
            )
        frontend.wait_for_file(rpc.ready_file(os.environ))
        yield "ready", True
        answers: list[list[str]] = []
        milliseconds: list[float] = []
        yield "answers", answers  # both grow from here on
        yield "milliseconds", milliseconds
        for number, inputs in enumerate(batches):
            begin = time.perf_counter()
            answers.append(frontend.ask(wire.Predict(number, request.input_type, inputs)))
            milliseconds.append(round(1000 * (time.perf_counter() - begin), 3))


def failed_imports(modules: Iterable[str]) -> dict[str, str]:
    """Import modules as the function would; give the reason of each that cannot be imported."""
    model = os.environ.get("CLIPPER_MODEL_PATH")
    if model:
        closure_container.add_modules(Path(model))
    faults = {module: _import_fault(module) for module in modules}
    return {module: fault for module, fault in faults.items() if fault}


def _import_fault(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        return rpc.one_line(error)
    return None


class _Frontend:
    """Clipper's side of the conversation with one container."""

    def __init__(self, socket: zmq.Socket[bytes], timeout: float) -> None:
        self._socket = socket
        self._timeout = timeout  # seconds, for each thing waited for
        self._container = b""  # the identity of the one that has said hello

    def meet(self) -> wire.Hello:
        """Wait until a container has said hello, which is then acknowledged."""
        return self._expect(wire.Hello, "no container has said hello")

    def wait_for_file(self, path: Path) -> None:
        """Wait for the ready file, which appears when the acknowledgement has arrived."""
        deadline = time.monotonic() + self._timeout
        while not path.exists():
            if time.monotonic() > deadline:
                raise ProbeError(f"the container did not become ready: {path} is not there")
            self._listen(_READY_POLL)

    def ask(self, request: wire.Predict) -> list[str]:
        """Send a batch and give its answers."""
        self._send(self._container, request)
        response = self._expect(wire.Response, f"no answer to batch {request.message_id}")
        if response.message_id != request.message_id:
            raise ProbeError(f"message {response.message_id} was answered without being asked")
        if len(response.outputs) != len(request.inputs):
            raise ProbeError(f"{len(response.outputs)} answers to {len(request.inputs)} inputs")
        try:
            return [output.decode() for output in response.outputs]
        except UnicodeDecodeError as error:
            raise ProbeError(f"batch {request.message_id}: an answer is not utf-8") from error

    def _expect(self, kind: type[_Kind], complaint: str) -> _Kind:
        """Listen until a message of this kind comes."""
        deadline = time.monotonic() + self._timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ProbeError(f"{complaint} in time")
            message = self._listen(left)
            if isinstance(message, kind):
                return message

    def _listen(self, seconds: float) -> wire.FromContainer | None:
        """Give the next message, if one comes in this time; heartbeats are answered here."""
        if not self._socket.poll(int(1000 * seconds)):
            return None
        identity, *frames = self._socket.recv_multipart()
        try:
            message = wire.decode_from_container(frames)
        except wire.WireError as error:
            raise ProbeError(f"the container sent no message of Clipper's RPC: {error}") from error
        if isinstance(message, wire.Hello):
            self._container = identity
        if isinstance(message, wire.Heartbeat):
            known = identity == self._container
            kinds = wire.HeartbeatType
            kind = kinds.KEEPALIVE if known else kinds.REQUEST_CONTAINER_METADATA
            self._send(identity, wire.HeartbeatReply(kind))
        return message

    def _send(self, identity: bytes, message: wire.FromFrontend) -> None:
        self._socket.send_multipart([identity, *wire.encode(message)])


def _frames(number: int, values: Sequence[Any], input_type: wire.InputType) -> list[bytes]:
    try:
        return batch.frames_of(values, input_type.label)
    except batch.InputError as error:
        raise ProbeError(f"batch {number}: {error}") from error


def _bind(socket: zmq.Socket[bytes], port: int) -> None:
    socket.linger = 0
    try:
        socket.bind(f"tcp://127.0.0.1:{port}")
    except zmq.ZMQError as error:
        raise ProbeError(f"cannot bind 127.0.0.1:{port}: {error}") from error


def _described(hello: wire.Hello) -> dict[str, str]:
    return {
        "name": hello.name,
        "version": hello.version,
        "input_type": hello.input_type.label,
    }


def _take_stdout() -> TextIO:
    """Keep stdout for the one document: what a module prints at import goes to stderr."""
    kept = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return kept


def main() -> int:
    """Answer the request on stdin with one document on stdout; give the exit status."""
    stdout = _take_stdout()
    report: dict[str, Any] = {}
    try:
        # Where the probe fails half-way, update() has kept what came before.
        report.update(probe(read_request(sys.stdin.buffer.read())))
    except ProbeError as error:
        report["error"] = " ".join(str(error).split())
    with stdout:
        stdout.write(json.dumps(report) + "\n")
    return 1 if "error" in report else 0


if __name__ == "__main__":
    sys.exit(main())
