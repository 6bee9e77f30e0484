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
            _U32.pack(MessageType.CONTAINER_CONTENT),
            _U32.pack(message.message_id),
            *_sized([len(message.outputs)], message.outputs),
        ]
    if isinstance(message, Heartbeat):
        return [_EMPTY, _U32.pack(MessageType.HEARTBEAT)]
    if isinstance(message, Hello):
        return [
            _EMPTY,
            _U32.pack(MessageType.NEW_CONTAINER),
            message.name.encode(),
            message.version.encode(),
            b"%d" % message.input_type,
            _U32.pack(message.rpc_version),
        ]
    if isinstance(message, HeartbeatReply):
        return [
            _EMPTY,
            _U32.pack(message.rpc_version),
            _U32.pack(MessageType.HEARTBEAT),
            _U32.pack(message.kind),
        ]
    return [
        _EMPTY,
        _U32.pack(message.rpc_version),
        _U32.pack(MessageType.CONTAINER_CONTENT),
        _U32.pack(message.message_id),
        _U32.pack(RequestType.PREDICT),
        *_sized([message.input_type, len(message.inputs)], message.inputs),
    ]


def decode_from_container(frames: Sequence[bytes]) -> FromContainer:
    """Read what a container sent; WireError if it is no such message."""
    _delimiter(frames)
    kind = _u32(frames, 1)
    if kind == MessageType.HEARTBEAT:
        _count(frames, 2)
        return Heartbeat()
    if kind == MessageType.NEW_CONTAINER:
        _count(frames, 6)
        return Hello(
            _text(frames, 2), _text(frames, 3), _input_type(_decimal(frames, 4)), _u32(frames, 5)
        )
    if kind == MessageType.CONTAINER_CONTENT:
        return Response(_u32(frames, 2), _payload(frames, header_at=3, leading=1))
    raise WireError(f"unknown message type: {kind}")


def decode_from_frontend(frames: Sequence[bytes]) -> FromFrontend:
    """Read what the frontend sent; WireError if it is no such message.

    A message of another RPC version decodes by the rules of version 3 and says its version.
    """
    _delimiter(frames)
    version = _u32(frames, 1)
    kind = _u32(frames, 2)
    if kind == MessageType.HEARTBEAT:
        _count(frames, 4)
        reply = _u32(frames, 3)
        if reply not in tuple(HeartbeatType):
            raise WireError(f"unknown heartbeat type: {reply}")
        return HeartbeatReply(HeartbeatType(reply), version)
    if kind == MessageType.CONTAINER_CONTENT:
        request = _u32(frames, 4)
        if request != RequestType.PREDICT:
            raise WireError(f"unknown request type: {request}")
        inputs = _payload(frames, header_at=5, leading=2)
        input_type = _input_type(_U64.unpack_from(frames[6], 0)[0])
        return Predict(_u32(frames, 3), input_type, inputs, version)
    raise WireError(f"unknown message type: {kind}")


def _sized(leading: list[int], payload: Sequence[bytes]) -> list[bytes]:
    """Give the frames header length, header and payload; the header ends with each size."""
    fields = (*leading, *map(len, payload))
    header = struct.pack(f"<{len(fields)}Q", *fields)
    return [_U64.pack(len(header)), header, *payload]


def _payload(frames: Sequence[bytes], *, header_at: int, leading: int) -> Sequence[bytes]:
    """Read what _sized wrote: the payload, checked against every number of the header."""
    announced = _fixed(frames, header_at, _U64)
    header = _frame(frames, header_at + 1)
    if len(header) != announced or len(header) % 8 or len(header) < 8 * leading:
        raise WireError(f"a header of {len(header)} bytes, announced as {announced}")
    fields = struct.unpack(f"<{len(header) // 8}Q", header)
    sizes = fields[leading:]
    payload = frames[header_at + 2 :]
    count = fields[leading - 1]
    if not len(sizes) == len(payload) == count:
        raise WireError(f"{count} items announced, {len(sizes)} sizes, {len(payload)} frames")
    for size, frame in zip(sizes, payload):
        if size != len(frame):
            raise WireError(f"a frame of {len(frame)} bytes, announced as {size}")
    return payload


def _frame(frames: Sequence[bytes], at: int) -> bytes:
    if at >= len(frames):
        raise WireError(f"only {len(frames)} frames")
    return frames[at]


def _fixed(frames: Sequence[bytes], at: int, form: struct.Struct) -> int:
    frame = _frame(frames, at)
    if len(frame) != form.size:
        raise WireError(f"frame {at} has {len(frame)} bytes, not {form.size}")
    return int(form.unpack(frame)[0])


def _u32(frames: Sequence[bytes], at: int) -> int:
    return _fixed(frames, at, _U32)


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
    if number not in tuple(InputType):
        raise WireError(f"unknown input type: {number}")
    return InputType(number)


def _delimiter(frames: Sequence[bytes]) -> None:
    if not frames or frames[0] != _EMPTY:
        raise WireError("no empty frame first")


def _count(frames: Sequence[bytes], expected: int) -> None:
    if len(frames) != expected:
        raise WireError(f"{len(frames)} frames, not {expected}")
