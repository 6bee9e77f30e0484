"""Which replica gets which queries; what a container sends never harms the frontend."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.clipper.dispatch import ADAPTIVE_LIMIT, Dispatcher, NoAnswer
from imagesmith.clipper.state import Model, State
from imagesmith.runtime import wire

DOUBLES = wire.InputType.DOUBLES
HELLO = wire.Hello("m", "1", DOUBLES)
UNKNOWN = wire.HeartbeatReply(wire.HeartbeatType.REQUEST_CONTAINER_METADATA)
KNOWN = wire.HeartbeatReply(wire.HeartbeatType.KEEPALIVE)


class Desk:
    """A dispatcher with a hand-moved clock, and what it has sent."""

    def __init__(self, batch_size=-1):
        self.now = 0.0
        self.sent = []
        self.state = State()
        self.state.add_model("m", "1", [], DOUBLES, "", "", batch_size)
        self.model = self.state.model("m", "1")
        self.dispatcher = Dispatcher(self.state, self.send, lambda: self.now)

    def send(self, identity, frames):
        self.sent.append((identity, wire.decode_from_frontend(frames)))

    def receive(self, identity, *messages):
        for message in messages:
            self.dispatcher.receive(identity, wire.encode(message))

    def last(self):
        return self.sent[-1]

    def requests(self):
        return [(who, m.inputs) for who, m in self.sent if isinstance(m, wire.Predict)]

    def answer(self, identity, outputs=None):
        """Answer the last request of a replica."""
        request = [m for who, m in self.sent if who == identity and isinstance(m, wire.Predict)][-1]
        outputs = [b"=" + data for data in request.inputs] if outputs is None else outputs
        self.receive(identity, wire.Response(request.message_id, outputs))

    def ask(self, *inputs, seconds=60.0):
        return asyncio.ensure_future(self.dispatcher.predict(self.model, inputs, seconds))


async def settled():
    """Let everything that can run now run."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_an_unknown_identity_is_asked_who_it_is_until_it_says_so():
    desk = Desk()
    desk.receive(b"A", wire.Heartbeat())
    assert desk.last() == (b"A", UNKNOWN)
    desk.receive(b"A", HELLO, wire.Heartbeat())
    assert desk.last() == (b"A", KNOWN)
    assert desk.state.get_all_containers(False) == ["m:1:0"]


def test_a_hello_unasked_for_registers_and_a_second_one_is_ignored():
    desk = Desk()
    desk.receive(b"A", HELLO, HELLO)
    assert desk.state.get_all_containers(False) == ["m:1:0"]


@pytest.mark.parametrize("version", [0, 2, 4])
def test_another_rpc_version_is_never_registered(version, caplog):
    desk = Desk()
    desk.receive(b"A", wire.Hello("m", "1", DOUBLES, rpc_version=version), wire.Heartbeat())
    assert desk.last() == (b"A", UNKNOWN)
    assert desk.state.get_all_containers(False) == []
    assert f"but the model is running version: {version}" in caplog.text


def test_a_replica_has_one_batch_in_flight_and_then_takes_what_has_queued():
    async def scene():
        desk = Desk()
        desk.receive(b"A", HELLO)
        first, *others = [desk.ask(data) for data in (b"1", b"2", b"3")]
        await settled()
        assert desk.requests() == [(b"A", [b"1"])]
        desk.answer(b"A")
        assert await first == [b"=1"]
        assert desk.requests()[1:] == [(b"A", [b"2", b"3"])]
        desk.answer(b"A")
        assert [await other for other in others] == [[b"=2"], [b"=3"]]

    asyncio.run(scene())


@pytest.mark.parametrize(("batch_size", "most"), [(1, 1), (7, 7), (-1, ADAPTIVE_LIMIT)])
def test_a_batch_holds_at_most_the_models_batch_size(batch_size, most):
    async def scene():
        desk = Desk(batch_size)
        desk.receive(b"A", HELLO)
        prediction = desk.ask(*[b"x"] * (most + 1))
        await settled()
        desk.answer(b"A")
        desk.answer(b"A")
        assert await prediction == [b"=x"] * (most + 1)
        assert [len(inputs) for _, inputs in desk.requests()] == [most, 1]

    asyncio.run(scene())


def test_the_most_urgent_query_is_first():
    async def scene():
        desk = Desk(batch_size=1)
        desk.receive(b"A", HELLO)
        asked = [desk.ask(b"busy"), desk.ask(b"later", seconds=50), desk.ask(b"soon", seconds=40)]
        await settled()
        for _ in asked:
            desk.answer(b"A")
        await asyncio.gather(*asked)
        assert [inputs for _, inputs in desk.requests()] == [[b"busy"], [b"soon"], [b"later"]]

    asyncio.run(scene())


def test_two_replicas_share_the_work():
    async def scene():
        desk = Desk(batch_size=1)
        desk.receive(b"A", HELLO)
        desk.receive(b"B", HELLO)
        asked = asyncio.gather(*(desk.ask(b"x") for _ in range(6)))
        await settled()
        for identity in (b"A", b"B") * 3:
            desk.answer(identity)
        await asked
        served = [identity for identity, _ in desk.requests()]
        assert (served.count(b"A"), served.count(b"B")) == (3, 3)

    asyncio.run(scene())


def test_a_query_past_its_deadline_gets_the_default_and_is_not_sent_any_more():
    async def scene():
        desk = Desk()
        desk.receive(b"A", HELLO)
        busy = desk.ask(b"busy")
        assert await desk.ask(b"x", seconds=0.01) == [NoAnswer.TOO_LATE]
        assert await desk.ask(b"x", seconds=-1) == [NoAnswer.TOO_LATE]
        desk.answer(b"A")
        await busy
        assert desk.requests() == [(b"A", [b"busy"])]

    asyncio.run(scene())


def test_queries_past_answering_do_not_pile_up_behind_a_replica_that_never_answers():
    class Data(bytearray):
        """Bytes that a weak reference can be had to."""

    async def scene():
        desk = Desk()
        desk.receive(b"A", HELLO)
        references = []
        for _ in range(20):
            data = Data(b"x")
            references.append(weakref.ref(data))
            assert await desk.ask(data, seconds=0.001) == [NoAnswer.TOO_LATE]
            del data
        gc.collect()
        held = [reference for reference in references if reference() is not None]
        assert len(held) <= 2  # the one in flight and the one that came last

    asyncio.run(scene())


def test_a_late_answer_is_dropped_and_frees_its_replica():
    async def scene():
        desk = Desk()
        desk.receive(b"A", HELLO)
        assert await desk.ask(b"slow", seconds=0.01) == [NoAnswer.TOO_LATE]
        following = desk.ask(b"next")
        await settled()
        desk.answer(b"A")
        desk.answer(b"A")
        assert await following == [b"=next"]

    asyncio.run(scene())


def test_unsolicited_and_repeated_responses_are_ignored():
    async def scene():
        desk = Desk()
        desk.receive(b"A", wire.Response(1, [b"before hello"]), HELLO)
        desk.receive(b"A", wire.Response(1, [b"unsolicited"]))
        asked = desk.ask(b"x")
        await settled()
        desk.receive(b"A", wire.Response(99, [b"another's"]))
        desk.receive(b"B", wire.Response(desk.last()[1].message_id, [b"a stranger's"]))
        desk.answer(b"A")
        desk.answer(b"A", [b"repeated"])
        assert await asked == [b"=x"]
        following = desk.ask(b"y")
        await settled()
        desk.answer(b"A")
        assert await following == [b"=y"]

    asyncio.run(scene())


@pytest.mark.parametrize("outputs", [[], [b"1"], [b"1", b"2", b"3"]])
def test_a_wrong_number_of_outputs_gives_the_default_and_keeps_the_replica(outputs):
    async def scene():
        desk = Desk()
        desk.receive(b"A", HELLO)
        asked = desk.ask(b"x", b"y")
        await settled()
        desk.answer(b"A", outputs)
        assert await asked == [NoAnswer.TOO_LATE] * 2
        following = desk.ask(b"z")
        await settled()
        desk.answer(b"A")
        assert await following == [b"=z"]

    asyncio.run(scene())


def test_a_response_that_cannot_be_read_gives_up_its_batch_only():
    async def scene():
        desk = Desk()
        desk.receive(b"A", HELLO)
        asked = desk.ask(b"x")
        await settled()
        good = wire.encode(wire.Response(desk.last()[1].message_id, [b"1"]))
        desk.dispatcher.receive(b"A", [*good, b"trailing"])
        assert await asked == [NoAnswer.TOO_LATE]
        following = desk.ask(b"y")
        await settled()
        desk.answer(b"A")
        assert await following == [b"=y"]

    asyncio.run(scene())


def test_without_a_replica_the_default_comes_at_once():
    async def scene():
        desk = Desk()
        assert await desk.ask(b"x", b"y") == [NoAnswer.NO_REPLICA] * 2
        assert await desk.dispatcher.predict(None, [b"x"], 60) == [NoAnswer.NO_REPLICA]

    asyncio.run(scene())


def test_an_empty_input_is_never_sent():
    async def scene():
        desk = Desk()
        desk.receive(b"A", HELLO)
        assert await desk.ask(b"") == [NoAnswer.TOO_LATE]
        assert desk.requests() == []

    asyncio.run(scene())


def test_a_replica_of_another_input_type_than_its_models_is_never_asked():
    async def scene():
        desk = Desk()
        desk.receive(b"A", wire.Hello("m", "1", wire.InputType.STRINGS))
        assert await desk.ask(b"x") == [NoAnswer.NO_REPLICA]

    asyncio.run(scene())


def test_a_silent_replica_is_dropped_with_its_batch_and_comes_back_as_a_new_one():
    async def scene():
        desk = Desk()
        desk.receive(b"A", HELLO)
        desk.receive(b"B", HELLO)
        lost = desk.ask(b"x", seconds=0.05)
        await settled()
        desk.now = 29.0
        desk.receive(b"B", wire.Heartbeat())
        desk.now = 30.5
        desk.dispatcher.drop_silent()
        assert desk.state.get_all_containers(False) == ["m:1:1"]
        desk.answer(b"A")
        assert await lost == [NoAnswer.TOO_LATE]
        desk.receive(b"A", wire.Heartbeat())
        assert desk.last() == (b"A", UNKNOWN)
        desk.receive(b"A", HELLO)
        assert desk.state.get_all_containers(False) == ["m:1:1", "m:1:2"]

    asyncio.run(scene())


def test_when_the_last_replica_is_gone_the_default_comes_at_once():
    async def scene():
        desk = Desk()
        desk.receive(b"A", HELLO)
        desk.now = 31.0
        desk.dispatcher.drop_silent()
        assert await desk.ask(b"x") == [NoAnswer.NO_REPLICA]

    asyncio.run(scene())


def test_a_replica_may_connect_before_its_model_is_registered():
    async def scene():
        desk = Desk()
        desk.receive(b"A", wire.Hello("early", "1", DOUBLES))
        model = Model("early", "1", DOUBLES, (), "", "", -1)
        asked = asyncio.ensure_future(desk.dispatcher.predict(model, [b"x"], 60))
        await settled()
        desk.answer(b"A")
        assert await asked == [b"=x"]

    asyncio.run(scene())


U32 = st.integers(0, 6).map(lambda n: n.to_bytes(4, "little"))
FRAME = st.one_of(st.binary(max_size=40), U32, st.just(b""))
MESSAGE = st.one_of(
    st.builds(wire.Heartbeat),
    st.builds(wire.Hello, st.text(), st.text(), st.sampled_from(wire.InputType), st.integers(0, 4)),
    st.builds(wire.Response, st.integers(0, 5), st.lists(st.binary(max_size=8), max_size=4)),
).map(wire.encode)
BROKEN = st.tuples(MESSAGE, st.integers(0, 8), st.lists(FRAME, max_size=3)).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
)
FRAMES = st.one_of(st.lists(FRAME, max_size=8), MESSAGE, BROKEN)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([b"A", b"B", b"C"]), FRAMES), max_size=20))
def test_whatever_containers_send_an_honest_one_is_still_asked_and_heard(messages):
    async def scene():
        desk = Desk()
        desk.receive(b"A", HELLO)
        early = desk.ask(b"early", seconds=0.001)
        await settled()
        for identity, frames in messages:
            desk.dispatcher.receive(identity, frames)
        await early
        desk.now = 31.0
        desk.dispatcher.drop_silent()
        desk.receive(b"honest", HELLO)
        asked = desk.ask(b"x")
        await settled()
        desk.answer(b"honest")
        assert await asked == [b"=x"]

    asyncio.run(scene())
