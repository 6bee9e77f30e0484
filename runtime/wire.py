"""Clipper's RPC, version 3: every message of both directions, as ZeroMQ frames.

Source: ucbrise/clipper 0.3-0.4, containers/python/rpc.py and src/libclipper/src/rpc_service.cpp.
All integers are little-endian. Every message starts with one empty frame (the delimiter that a
DEALER adds by hand); messages from the frontend carry the RPC version as their second frame,
messages from a container do not. Frames here never include the identity that a ROUTER puts first.

Decoders raise WireError, and nothing else, whatever bytes they are given.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Sequence

RPC_VERSION = 3

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_EMPTY = b""


class WireError(ValueError):
    """The frames are not a message of Clipper's RPC."""


class MessageType(IntEnum):
    """What a message is."""

    NEW_CONTAINER = 0
    CONTAINER_CONTENT = 1
    HEARTBEAT = 2


class HeartbeatType(IntEnum):
    """What the frontend answers a heartbeat with."""

    KEEPALIVE = 0
    REQUEST_CONTAINER_METADATA = 1


class RequestType(IntEnum):
    """What a request asks for; a frontend never sends FEEDBACK."""

    PREDICT = 0
    FEEDBACK = 1


class InputType(IntEnum):
    """The five types of input, by their number on the wire."""

    BYTES = 0
    INTEGERS = 1
    FLOATS = 2
    DOUBLES = 3
    STRINGS = 4

    @property
    def label(self) -> str:
        """The name that Clipper stores and returns: bytes, integers, floats, doubles, strings."""
        return self.name.lower()


_ALIASES = {
    InputType.BYTES: ("b", "bytes", "byte"),
    InputType.INTEGERS: ("i", "ints", "int", "integer", "integers"),
    InputType.FLOATS: ("f", "floats", "float"),
    InputType.DOUBLES: ("d", "doubles", "double"),
    InputType.STRINGS: ("s", "strings", "string", "strs", "str"),
}


def parse_input_type(text: str) -> InputType:
    """Read a type's name or alias as Clipper does (case and outer blanks do not matter).

    Raises ValueError for any other text.
    """
    wanted = text.strip().lower()
    for input_type, aliases in _ALIASES.items():
        if wanted in aliases:
            return input_type
    raise ValueError(f"not an input type of Clipper: {text!r}")


# A prediction passes here twice; to look a member up costs a fraction of constructing it.
_HEARTBEAT_TYPES = tuple(HeartbeatType)
_INPUT_TYPES = tuple(InputType)
_NEW_CONTAINER, _CONTENT, _HEARTBEAT = map(_U32.pack, MessageType)
_PREDICT = _U32.pack(RequestType.PREDICT)


@dataclass(frozen=True)
class Heartbeat:
    """Container to frontend: I am here."""


@dataclass(frozen=True)
class Hello:
    """Container to frontend: the model that I serve."""

    name: str
    version: str
    input_type: InputType
    rpc_version: int = RPC_VERSION


@dataclass(frozen=True)
class Response:
    """Container to frontend: one output for each input, utf-8 text as bytes."""

    message_id: int
    outputs: Sequence[bytes]


@dataclass(frozen=True)
class HeartbeatReply:
    """Frontend to container: I know you, or tell me who you are."""

    kind: HeartbeatType
    rpc_version: int = RPC_VERSION


@dataclass(frozen=True)
class Predict:
    """Frontend to container: a batch of inputs, each the raw bytes of its values."""

    message_id: int
    input_type: InputType
    inputs: Sequence[bytes]
    rpc_version: int = RPC_VERSION


FromContainer = Union[Heartbeat, Hello, Response]
FromFrontend = Union[HeartbeatReply, Predict]


def encode(message: FromContainer | FromFrontend) -> list[bytes]:
    """Give the frames of a message, the empty delimiter first."""
    if isinstance(message, Response):
        return [
            _EMPTY,
            _CONTENT,
            _U32.pack(message.message_id),
            *_sized((len(message.outputs),), message.outputs),
        ]
    if isinstance(message, Heartbeat):
        return [_EMPTY, _HEARTBEAT]
    if isinstance(message, Hello):
        return [
            _EMPTY,
            _NEW_CONTAINER,
            message.name.encode(),
            message.version.encode(),
            b"%d" % message.input_type,
            _U32.pack(message.rpc_version),
        ]
    if isinstance(message, HeartbeatReply):
        return [
            _EMPTY,
            _U32.pack(message.rpc_version),
            _HEARTBEAT,
            _U32.pack(message.kind),
        ]
    return [
        _EMPTY,
        _U32.pack(message.rpc_version),
        _CONTENT,
        _U32.pack(message.message_id),
        _PREDICT,
        *_sized((message.input_type, len(message.inputs)), message.inputs),
    ]


def decode_from_container(frames: Sequence[bytes]) -> FromContainer:
    """Read what a container sent; WireError if it is no such message."""
    kind = _frame(frames, 1)
    if kind == _CONTENT:
        _kind, message_id, _size = _RESPONSE_HEAD.read(frames)
        outputs = frames[5:]
        _check_sizes(frames[3:], (len(outputs),), outputs)
        return Response(message_id, outputs)
    if kind == _HEARTBEAT:
        _count(frames, 2)
        _HEAD.read(frames)
        return Heartbeat()
    if kind == _NEW_CONTAINER:
        _count(frames, 6)
        _HEAD.read(frames)
        input_type = _input_type(_decimal(frames, 4))
        return Hello(_text(frames, 2), _text(frames, 3), input_type, _u32(frames, 5))
    raise WireError(f"unknown message type: {kind!r}")


def decode_from_frontend(frames: Sequence[bytes]) -> FromFrontend:
    """Read what the frontend sent; WireError if it is no such message.

    A message of another RPC version decodes by the rules of version 3 and says its version.
    """
    kind = _frame(frames, 2)
    if kind == _CONTENT:
        version, _kind, message_id, request, _size = _PREDICT_HEAD.read(frames)
        if request != RequestType.PREDICT:
            raise WireError(f"unknown request type: {request}")
        header, inputs = _frame(frames, 6), frames[7:]
        if len(header) < _U64.size:
            raise WireError(f"a header of {len(header)} bytes has no input type")
        (number,) = _U64.unpack_from(header)
        _check_sizes(frames[5:], (number, len(inputs)), inputs)
        return Predict(message_id, _input_type(number), inputs, version)
    if kind == _HEARTBEAT:
        _count(frames, 4)
        version, _kind, reply = _REPLY_HEAD.read(frames)
        if reply >= len(_HEARTBEAT_TYPES):
            raise WireError(f"unknown heartbeat type: {reply}")
        return HeartbeatReply(_HEARTBEAT_TYPES[reply], version)
    raise WireError(f"unknown message type: {kind!r}")


class _Head:
    """A message's first frames, read at once: the empty delimiter, then numbers of fixed size."""

    def __init__(self, codes: str) -> None:
        self._form = struct.Struct(f"<{codes}")
        self._sizes = [0, *(struct.calcsize(f"<{code}") for code in codes)]

    def read(self, frames: Sequence[bytes]) -> tuple[int, ...]:
        """Give the numbers; WireError if a frame has not its size."""
        head = frames[: len(self._sizes)]
        sizes = list(map(len, head))
        if sizes != self._sizes:
            raise WireError(f"frames of {sizes} bytes, not {self._sizes}")
        return self._form.unpack(b"".join(head))


_HEAD = _Head("I")  # message type
_RESPONSE_HEAD = _Head("IIQ")  # message type, message id, size of the header
_REPLY_HEAD = _Head("III")  # RPC version, message type, heartbeat type
_PREDICT_HEAD = _Head("IIIIQ")  # RPC version, message type, message id, request type, size


def _sized(leading: tuple[int, ...], payload: Sequence[bytes]) -> list[bytes]:
    """Give the frames header size, header and payload; the header ends with each size."""
    fields = (*leading, *map(len, payload))
    header = struct.pack(f"<{len(fields)}Q", *fields)
    return [_U64.pack(len(header)), header, *payload]


def _check_sizes(
    frames: Sequence[bytes], leading: tuple[int, ...], payload: Sequence[bytes]
) -> None:
    """See that these frames are what _sized makes of a payload: every number is redundant."""
    if list(frames) != _sized(leading, payload):
        raise WireError("the header does not fit the frames that follow it")


def _frame(frames: Sequence[bytes], at: int) -> bytes:
    if at >= len(frames):
        raise WireError(f"only {len(frames)} frames")
    return frames[at]


def _u32(frames: Sequence[bytes], at: int) -> int:
    frame = _frame(frames, at)
    if len(frame) != _U32.size:
        raise WireError(f"frame {at} has {len(frame)} bytes, not {_U32.size}")
    return int(_U32.unpack(frame)[0])


def _text(frames: Sequence[bytes], at: int) -> str:
    try:
        return _frame(frames, at).decode()
    except UnicodeDecodeError as bad:
        raise WireError(f"frame {at} is not utf-8") from bad


def _decimal(frames: Sequence[bytes], at: int) -> int:
    text = _text(frames, at)
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise WireError(f"frame {at} is not a decimal number")
    return int(text)


def _input_type(number: int) -> InputType:
    if number >= len(_INPUT_TYPES):
        raise WireError(f"unknown input type: {number}")
    return _INPUT_TYPES[number]


def _count(frames: Sequence[bytes], expected: int) -> None:
    if len(frames) != expected:
        raise WireError(f"{len(frames)} frames, not {expected}")
