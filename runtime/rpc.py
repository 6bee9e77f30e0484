"""A container's side of Clipper's RPC: it says hello, keeps in touch and answers predictions.

Source: ucbrise/clipper 0.3-0.4, containers/python/rpc.py, whose names, environment variables and
log lines are kept. A container of one's own subclasses ModelContainerBase and calls
``RPCService().start(model)``.

What leaves this module can do a frontend no harm: it answers a request exactly once, with exactly
as many texts as inputs, each valid utf-8, and it never announces a type that Clipper lacks. The
protocol has no message for an error, so a model that fails ends the process.
"""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from . import batch, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

_PREDICT_METHODS = {
    wire.InputType.BYTES: "predict_bytes",
    wire.InputType.INTEGERS: "predict_ints",
    wire.InputType.FLOATS: "predict_floats",
    wire.InputType.DOUBLES: "predict_doubles",
    wire.InputType.STRINGS: "predict_strings",
}
_NEVER = float("-inf")


class ModelContainerBase:
    """A model to serve: implement the method of each input type that it takes.

    A method gets a batch, as ``batch.batch_of`` describes it, and returns one answer for each
    input. ``strings`` says what predict_strings gets: "str" or "bytes".
    """

    strings = "str"

    def predict_ints(self, inputs: Any) -> Any:
        """Answer a batch of int32 arrays."""
        raise NotImplementedError("the model takes no ints")

    def predict_floats(self, inputs: Any) -> Any:
        """Answer a batch of float32 arrays."""
        raise NotImplementedError("the model takes no floats")

    def predict_doubles(self, inputs: Any) -> Any:
        """Answer a batch of float64 arrays."""
        raise NotImplementedError("the model takes no doubles")

    def predict_bytes(self, inputs: Any) -> Any:
        """Answer a batch of int8 arrays."""
        raise NotImplementedError("the model takes no bytes")

    def predict_strings(self, inputs: Any) -> Any:
        """Answer a batch of strings."""
        raise NotImplementedError("the model takes no strings")


@dataclass(frozen=True)
class Timers:
    """Seconds between heartbeats while idle, and of silence before a new connection is made."""

    heartbeat: float = 5.0
    silence: float = 30.0


CLIPPERS_TIMERS = Timers()


@dataclass(frozen=True)
class Settings:
    """What a container says of itself, where its frontend is, and where readiness is shown."""

    name: str
    version: str
    input_type: wire.InputType
    host: str
    port: int
    ready_file: Path


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read Clipper's environment variables, saying which defaults are taken.

    Prints an ERROR line and exits with 1 where one is missing that has no default, or is wrong.
    """
    return Settings(
        name=required(environment, "CLIPPER_MODEL_NAME"),
        version=required(environment, "CLIPPER_MODEL_VERSION"),
        host=_defaulted(
            environment, "CLIPPER_IP", "127.0.0.1", "Connecting to Clipper on localhost"
        ),
        port=_port(
            _defaulted(
                environment, "CLIPPER_PORT", "7000", "Connecting to Clipper with default port: 7000"
            )
        ),
        input_type=_input_type(
            _defaulted(
                environment, "CLIPPER_INPUT_TYPE", "doubles", "Using default input type: doubles"
            )
        ),
        ready_file=ready_file(environment),
    )


def ready_file(environment: Mapping[str, str]) -> Path:
    """Give the file that the image's HEALTHCHECK and Clipper's readiness probe look for."""
    return Path(environment.get("CLIPPER_READY_FILE") or "/model_is_ready.check")


def required(environment: Mapping[str, str], name: str) -> str:
    """Give a variable's value; prints an ERROR line and exits with 1 where it has none."""
    value = environment.get(name)
    if not value:
        say(f"ERROR: {name} environment variable must be set")
        _exit(1)
    return value


class RPCService:
    """What a container's own main program starts, as Clipper's documentation has it."""

    def get_model_path(self) -> str:
        """Give the folder of the model's data."""
        return required(os.environ, "CLIPPER_MODEL_PATH")

    def get_input_type(self) -> str:
        """Give the type of input that Clipper deployed this container for."""
        return os.environ.get("CLIPPER_INPUT_TYPE") or "doubles"

    def start(
        self,
        model: ModelContainerBase,
        ip: str | None = None,
        port: int | None = None,
        model_name: str | None = None,
        model_version: str | int | None = None,
        input_type: str | None = None,
    ) -> NoReturn:
        """Serve the model until SIGTERM; what is not given comes from the environment."""
        given = {
            "CLIPPER_IP": ip,
            "CLIPPER_PORT": port,
            "CLIPPER_MODEL_NAME": model_name,
            "CLIPPER_MODEL_VERSION": model_version,
            "CLIPPER_INPUT_TYPE": input_type,
        }
        named = {name: str(value) for name, value in given.items() if value is not None}
        serve(model, read_settings({**os.environ, **named}))


def serve(
    model: ModelContainerBase, settings: Settings, timers: Timers = CLIPPERS_TIMERS
) -> NoReturn:
    """Serve the model: exits with 0 on SIGTERM (after the batch in hand), with 1 if it fails."""
    say(f"Serving predictions for {settings.input_type.label} input type.")
    readiness = _Readiness(settings.ready_file)
    readiness.withdraw()
    try:
        with zmq.Context() as context:
            _Session(model, settings, timers, context, readiness).run()
    finally:
        readiness.withdraw()


def say(line: str) -> None:
    """Print a line to the container's log at once."""
    print(line, flush=True)


def fail(what: str, error: BaseException, status: int = 1) -> NoReturn:
    """Print an error's traceback and, last, one line that says what failed; then exit."""
    traceback.print_exception(type(error), error, error.__traceback__)
    say(f"{what}: {one_line(error)}")
    raise SystemExit(status)


def one_line(error: BaseException) -> str:
    """Give an error's type and message as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


class _Readiness:
    """The ready file: there while the frontend knows this container."""

    def __init__(self, path: Path) -> None:
        # In an image it is a link to where uid 1000 can write; the link itself must stay.
        self._path = path.resolve()

    def show(self) -> None:
        self._try(lambda: self._path.write_text("READY\n"))

    def withdraw(self) -> None:
        self._try(lambda: self._path.unlink(missing_ok=True))

    def _try(self, change: Callable[[], object]) -> None:
        try:
            change()
        except OSError as error:  # predictions can be served all the same
            say(f"Cannot show readiness: {error}")


class _Session:
    """One container's conversation with its frontend, over one socket after another."""

    def __init__(
        self,
        model: ModelContainerBase,
        settings: Settings,
        timers: Timers,
        context: zmq.Context[zmq.Socket[bytes]],
        readiness: _Readiness,
    ) -> None:
        self._settings = settings
        self._timers = timers
        self._context = context
        self._readiness = readiness
        self._label = settings.input_type.label
        self._strings = model.strings
        self._predict = getattr(model, _PREDICT_METHODS[settings.input_type])
        self._busy = False
        self._terminated = False

    def run(self) -> NoReturn:
        """Serve until SIGTERM; as PID 1 a process without a handler would not even notice it."""
        signal.signal(signal.SIGTERM, self._terminate)
        self._connect(_resolve(self._settings.host) or _exit(1))
        while True:
            try:
                frames = _received(self._socket)
            except zmq.Again:
                self._keep_in_touch()
                continue
            self._busy = True
            self._receive(frames)
            self._busy = False
            if self._terminated:
                _exit(0)

    def _terminate(self, _signal: int, _frame: object) -> None:
        """Handle SIGTERM: at once while waiting, after the batch in hand otherwise."""
        self._terminated = True
        if not self._busy:
            _exit(0)

    def _keep_in_touch(self) -> None:
        if time.monotonic() - self._heard >= self._timers.silence:
            self._reconnect()
        else:
            self._send_heartbeat()

    def _connect(self, address: str) -> None:
        self._socket = self._context.socket(zmq.DEALER)
        # The last answer has this long (ms) to leave when the process ends.
        self._socket.linger = 1000
        self._socket.connect(f"tcp://{address}:{self._settings.port}")
        # So that recv itself waits: a small batch is not kept by a poll before it.
        self._socket.rcvtimeo = int(1000 * self._timers.heartbeat)
        self._heard = time.monotonic()
        self._greeted = _NEVER
        self._known = False
        self._send_heartbeat()

    def _reconnect(self) -> None:
        """Look for the frontend anew, under the address that its name has now."""
        say("Connection timed out, reconnecting...")
        self._forgotten()
        address = _resolve(self._settings.host)
        if address:  # else the old socket serves until the next try
            self._socket.close(linger=0)
            self._connect(address)

    def _receive(self, frames: list[bytes]) -> None:
        self._heard = time.monotonic()
        try:
            message = wire.decode_from_frontend(frames)
        except wire.WireError as error:
            say(f"Ignored a message that Clipper's RPC does not have: {error}")
            return
        if message.rpc_version != wire.RPC_VERSION:
            say(
                f"ERROR: Received an RPC message with version: {message.rpc_version} "
                f"that does not match container version: {wire.RPC_VERSION}"
            )
        if isinstance(message, wire.Predict):
            self._acknowledged()
            self._answer(message)
        else:
            self._take_heartbeat(message.kind)

    def _take_heartbeat(self, kind: wire.HeartbeatType) -> None:
        if not self._known:
            say("Received heartbeat!")
        if kind is wire.HeartbeatType.KEEPALIVE:
            self._acknowledged()
        else:
            self._greet()

    def _greet(self) -> None:
        """Send the hello, and a heartbeat whose answer tells whether it was taken.

        A frontend that refuses the hello answers that heartbeat by asking again; so does one
        that has an earlier heartbeat of ours to answer. Neither must start a race.
        """
        now = time.monotonic()
        if now - self._greeted < self._timers.heartbeat:
            return
        if self._greeted != _NEVER and not self._known:
            say(f"Clipper does not take this container's hello (RPC version {wire.RPC_VERSION})")
        self._forgotten()
        self._greeted = now
        settings = self._settings
        self._send(wire.Hello(settings.name, settings.version, settings.input_type))
        say("Sent container metadata!")
        self._send_heartbeat()

    def _acknowledged(self) -> None:
        if not self._known:
            self._known = True
            self._readiness.show()

    def _forgotten(self) -> None:
        if self._known:
            self._known = False
            self._readiness.withdraw()

    def _send_heartbeat(self) -> None:
        self._send(wire.Heartbeat())
        if not self._known:
            say("Sent heartbeat!")

    def _send(self, message: wire.FromContainer) -> None:
        self._socket.send_multipart(wire.encode(message))

    def _answer(self, request: wire.Predict) -> None:
        """Answer a request, unless no answer to it can be right."""
        if request.input_type is not self._settings.input_type:
            received = request.input_type.label
            say(f"Received incorrect input. Expected {self._label}, received {received}")
            return
        if not request.inputs:
            say("Ignored a request without inputs: an answer without outputs crashes Clipper")
            return
        try:
            inputs = batch.batch_of(request.inputs, self._label, self._strings)
        except batch.InputError as error:
            say(f"Ignored a request: {error}")
            return
        try:
            texts = batch.outputs_of(self._predict(inputs), len(request.inputs))
        except (Exception, SystemExit) as error:
            fail("Prediction failed", error)
        # A lone surrogate has no utf-8 and becomes a question mark.
        self._send(wire.Response(request.message_id, [t.encode("utf-8", "replace") for t in texts]))
        self._heard = time.monotonic()  # until now nobody was listening


def _received(dealer: zmq.Socket[bytes]) -> list[bytes]:
    """Receive a message; zmq.Again where none comes in time.

    As recv_multipart does; but a frame knows whether more follow, and to ask the socket instead
    takes as long again.
    """
    frames = []
    more = True
    while more:
        frame = dealer.recv(copy=False)
        frames.append(frame.bytes)
        more = frame.more
    return frames


def _resolve(host: str) -> str | None:
    """Look up a host's address; None, after a line in the log, where it has none now."""
    try:
        return socket.gethostbyname(host)
    except (OSError, UnicodeError) as error:
        say(f"Error resolving {host}: {error}")
        return None


def _exit(status: int) -> NoReturn:
    raise SystemExit(status)


def _defaulted(environment: Mapping[str, str], name: str, default: str, notice: str) -> str:
    value = environment.get(name)
    if not value:
        say(notice)
        return default
    return value


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**16):
        say(f"ERROR: CLIPPER_PORT is {text!r}, which is no port")
        _exit(1)
    return int(text)


def _input_type(text: str) -> wire.InputType:
    try:
        return wire.parse_input_type(text)
    except ValueError as error:
        say(f"ERROR: CLIPPER_INPUT_TYPE is {error}")
        _exit(1)
