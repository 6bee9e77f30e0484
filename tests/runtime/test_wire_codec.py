"""The RPC codec speaks Clipper's bytes, and no bytes can upset it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.runtime import wire
from imagesmith.runtime.wire import (
    Heartbeat,
    HeartbeatReply,
    HeartbeatType,
    Hello,
    InputType,
    Predict,
    Response,
    WireError,
    decode_from_container,
    decode_from_frontend,
    encode,
    parse_input_type,
)


def frames(text):
    """Read frames as Clipper's contract writes them: hex, one bar between two frames."""
    return [bytes.fromhex(frame) for frame in text.split("|")]


# Captured from Clipper's own rpc.py.
FROM_CONTAINER = [
    (Heartbeat(), "|02000000"),
    (Hello("m", "v1", InputType.DOUBLES), "|00000000|6d|7631|33|03000000"),
    (
        Response(7, [b"0", b"1"]),
        "|01000000|07000000|1800000000000000"
        "|0200000000000000 0100000000000000 0100000000000000|30|31",
    ),
]
FROM_FRONTEND = [
    (HeartbeatReply(HeartbeatType.KEEPALIVE), "|03000000|02000000|00000000"),
    (HeartbeatReply(HeartbeatType.REQUEST_CONTAINER_METADATA), "|03000000|02000000|01000000"),
    (
        Predict(
            7,
            InputType.DOUBLES,
            frames("000000000000f83f 0000000000000440|0000000000000840 0000000000001040"),
        ),
        "|03000000|01000000|07000000|00000000|2000000000000000"
        "|0300000000000000 0200000000000000 1000000000000000 1000000000000000"
        "|000000000000f83f 0000000000000440|0000000000000840 0000000000001040",
    ),
]


@pytest.mark.parametrize(("message", "golden"), FROM_CONTAINER + FROM_FRONTEND)
def test_messages_are_written_as_clipper_writes_them(message, golden):
    assert encode(message) == frames(golden)


@pytest.mark.parametrize(("message", "golden"), FROM_CONTAINER)
def test_a_containers_messages_are_read(message, golden):
    assert decode_from_container(frames(golden)) == message


@pytest.mark.parametrize(("message", "golden"), FROM_FRONTEND)
def test_a_frontends_messages_are_read(message, golden):
    assert decode_from_frontend(frames(golden)) == message


numbers = st.integers(0, 2**32 - 1)
payloads = st.lists(st.binary(max_size=20), max_size=5)
types = st.sampled_from(InputType)
words = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.builds(Heartbeat)
    | st.builds(Hello, words, words, types, numbers)
    | st.builds(Response, numbers, payloads)
)
def test_a_containers_messages_survive_the_way(message):
    assert decode_from_container(encode(message)) == message


@given(
    st.builds(HeartbeatReply, st.sampled_from(HeartbeatType), numbers)
    | st.builds(Predict, numbers, types, payloads, numbers)
)
def test_a_frontends_messages_survive_the_way(message):
    assert decode_from_frontend(encode(message)) == message


# Frames of the lengths that matter, and of the small numbers that get past the first checks.
small = st.integers(0, 5)
likely = st.one_of(
    st.just(b""),
    st.binary(max_size=17),
    small.map(lambda n: n.to_bytes(4, "little")),
    st.lists(small | st.just(8) | st.just(24), max_size=4).map(
        lambda fields: b"".join(n.to_bytes(8, "little") for n in fields)
    ),
)


@pytest.mark.parametrize("decode", [decode_from_container, decode_from_frontend])
@given(received=st.lists(st.binary(max_size=17)) | st.lists(likely).map(lambda rest: [b"", *rest]))
def test_no_bytes_raise_anything_but_wire_error(decode, received):
    try:
        message = decode(received)
    except WireError:
        return
    # What is read is read whole; only a hello's type has several spellings ("3", "03").
    assert isinstance(message, Hello) or encode(message) == received


@pytest.mark.parametrize(
    ("message", "decode"),
    [(message, decode_from_container) for message, _ in FROM_CONTAINER]
    + [(message, decode_from_frontend) for message, _ in FROM_FRONTEND],
)
def test_a_message_that_lost_a_frame_is_refused(message, decode):
    sent = encode(message)
    for lost in range(len(sent)):
        with pytest.raises(WireError):
            decode(sent[:lost] + sent[lost + 1 :])


@pytest.mark.parametrize("cut", range(24))
def test_a_header_that_was_cut_is_refused(cut):
    *head, size, header, frame = encode(Predict(7, InputType.DOUBLES, [bytes(8)]))
    with pytest.raises(WireError):
        decode_from_frontend([*head, size, header[:cut], frame])


def test_every_alias_of_an_input_type_is_read():
    aliases = {
        InputType.BYTES: "b bytes byte",
        InputType.INTEGERS: "i ints int integer integers",
        InputType.FLOATS: "f floats float",
        InputType.DOUBLES: "d doubles double",
        InputType.STRINGS: "s strings string strs str",
    }
    for input_type, names in aliases.items():
        for name in names.split():
            assert parse_input_type(f" {name.upper()} ") is input_type
            assert parse_input_type(input_type.label) is input_type


def test_other_input_types_are_refused():
    with pytest.raises(ValueError, match="'images'"):
        wire.parse_input_type("images")
