"""The RPC side of the embedded Clipper: which connected replica gets which queries, and when.

Work is pulled: each replica has one batch in flight, and takes the next as soon as it has answered.
The dispatcher itself does no I/O; server.py gives it a way to send and hands it what comes in.

Unlike Clipper's query frontend this one survives whatever a container sends, keeps no prediction
cache in this version, and never pads a batch.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from imagesmith.clipper.state import ADAPTIVE_BATCHES
from imagesmith.runtime import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imagesmith.clipper.state import Model, Replica, State

SILENCE = 30.0  # seconds without a message after which a replica is dropped
CHECK_EVERY = 10.0  # seconds between two looks for silent replicas

# What a replica takes at most of a model with batch size -1. Clipper looks for the size that fits
# the SLO instead, and pads short batches with copies of their last query while it explores.
ADAPTIVE_LIMIT = 256

_log = logging.getLogger(__name__)


class NoAnswer(StrEnum):
    """Why a query gets its application's default output, in Clipper's words."""

    NO_REPLICA = "No connected models found for query"
    TOO_LATE = "Failed to retrieve a prediction response within the specified latency SLO"


class _Served(NamedTuple):
    """What a replica offers and a query asks for.

    The input type belongs to it: a replica that names another one than its model was registered
    with is never asked (Clipper's own frontend wedges it instead).
    """

    name: str
    version: str
    input_type: wire.InputType


@dataclass(eq=False)
class _Query:
    data: bytes
    answer: asyncio.Future[bytes | NoAnswer]

    def settle(self, answer: bytes | NoAnswer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


@dataclass(eq=False)
class _Connection:
    """A registered replica: who it is, when it was last heard, and its batch in flight."""

    identity: bytes
    replica: Replica
    pool: _Pool
    heard: float
    message_id: int = 0
    in_flight: Sequence[_Query] = ()


@dataclass(eq=False)
class _Pool:
    """The replicas that serve the same, those of them that wait, and the queries that wait."""

    served: _Served
    members: set[_Connection] = field(default_factory=set)
    idle: deque[_Connection] = field(default_factory=deque)
    queue: list[tuple[float, int, _Query]] = field(default_factory=list)  # a heap, by deadline


class Dispatcher:
    """Keeps the replicas by their ZeroMQ identity and gives them batches of queries.

    ``send`` takes an identity and the frames of a message; ``clock`` gives seconds.
    """

    def __init__(
        self,
        state: State,
        send: Callable[[bytes, list[bytes]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._send = send
        self._clock = clock
        self._connections: dict[bytes, _Connection] = {}
        self._pools: dict[_Served, _Pool] = {}
        self._arrivals = itertools.count()  # among equal deadlines the earlier query is first
        self._message_ids = itertools.count(1)

    async def predict(
        self, model: Model | None, inputs: Sequence[bytes], seconds: float
    ) -> list[bytes | NoAnswer]:
        """Answer each input within ``seconds``, by whichever replica of the model is free."""
        pool = self._pool_of(model)
        if pool is None or not inputs:
            return [NoAnswer.NO_REPLICA for _ in inputs]
        loop = asyncio.get_running_loop()
        queries = [_Query(data, loop.create_future()) for data in inputs]
        self._enqueue(pool, queries, self._clock() + seconds)
        await asyncio.wait([query.answer for query in queries], timeout=max(seconds, 0))
        for query in queries:
            query.settle(NoAnswer.TOO_LATE)
        return [query.answer.result() for query in queries]

    def receive(self, identity: bytes, frames: Sequence[bytes]) -> None:
        """Take in one message of a container, whatever its frames hold."""
        connection = self._connections.get(identity)
        if connection is not None:
            connection.heard = self._clock()
        try:
            message = wire.decode_from_container(frames)
        except wire.WireError as bad:
            _log.warning("Ignored a message that is none of Clipper's RPC: %s", bad)
            if connection is not None:
                self._free(connection)
            return
        if isinstance(message, wire.Heartbeat):
            self._answer_heartbeat(identity)
        elif isinstance(message, wire.Hello):
            self._register(identity, message)
        elif connection is not None:
            self._settle(connection, message)

    def drop_silent(self, silence: float = SILENCE) -> None:
        """Forget the replicas not heard for more than ``silence`` seconds.

        Their batches are not given to others: those queries get the default at their deadline.
        """
        oldest = self._clock() - silence
        for connection in [c for c in self._connections.values() if c.heard < oldest]:
            _log.warning("lost contact with a container: %s", connection.replica)
            self._drop(connection)

    def _pool_of(self, model: Model | None) -> _Pool | None:
        if model is None:
            return None
        return self._pools.get(_Served(model.name, model.version, model.input_type))

    def _enqueue(self, pool: _Pool, queries: Sequence[_Query], deadline: float) -> None:
        while pool.queue and pool.queue[0][2].answer.done():  # past answering, and first in line
            heapq.heappop(pool.queue)
        for query in queries:
            if query.data:
                heapq.heappush(pool.queue, (deadline, next(self._arrivals), query))
            else:  # Clipper sends no empty input either: its replica never works again
                query.settle(NoAnswer.TOO_LATE)
        self._pump(pool)

    def _answer_heartbeat(self, identity: bytes) -> None:
        known = identity in self._connections
        kind = wire.HeartbeatType
        reply = kind.KEEPALIVE if known else kind.REQUEST_CONTAINER_METADATA
        self._send(identity, wire.encode(wire.HeartbeatReply(reply)))

    def _register(self, identity: bytes, hello: wire.Hello) -> None:
        if hello.rpc_version != wire.RPC_VERSION:
            _log.error(
                "Received a new connection for a model %s:%s running the wrong RPC version. "
                "Clipper expects version: %s, but the model is running version: %s",
                *(hello.name, hello.version, wire.RPC_VERSION, hello.rpc_version),
            )
            return
        if identity in self._connections:
            return
        served = _Served(hello.name, hello.version, hello.input_type)
        pool = self._pools.setdefault(served, _Pool(served))
        connection = _Connection(identity, self._state.connect(*served), pool, self._clock())
        _log.info("%s connected", connection.replica)
        self._connections[identity] = connection
        pool.members.add(connection)
        self._wait_for_work(connection)

    def _settle(self, connection: _Connection, response: wire.Response) -> None:
        queries = connection.in_flight
        if not queries or response.message_id != connection.message_id:
            return  # unsolicited, a duplicate, or the answer to a batch given up
        if len(response.outputs) == len(queries):
            for query, output in zip(queries, response.outputs, strict=True):
                query.settle(output)
        else:
            _log.error(
                "%s gave %d outputs for %d inputs",
                *(connection.replica, len(response.outputs), len(queries)),
            )
        self._free(connection)

    def _free(self, connection: _Connection) -> None:
        """End the batch in flight, if any: what it left unanswered gets the default."""
        if not connection.in_flight:
            return
        for query in connection.in_flight:
            query.settle(NoAnswer.TOO_LATE)
        connection.in_flight = ()
        self._wait_for_work(connection)

    def _wait_for_work(self, connection: _Connection) -> None:
        connection.pool.idle.append(connection)
        self._pump(connection.pool)

    def _pump(self, pool: _Pool) -> None:
        while pool.idle and (batch := self._take(pool)):
            connection = pool.idle.popleft()
            connection.in_flight = batch
            connection.message_id = next(self._message_ids) % 2**32
            request = wire.Predict(
                connection.message_id, pool.served.input_type, [query.data for query in batch]
            )
            self._send(connection.identity, wire.encode(request))

    def _take(self, pool: _Pool) -> list[_Query]:
        """Take the most urgent queries, as many as one batch holds; drop those past answering."""
        limit = self._batch_limit(pool.served)
        batch: list[_Query] = []
        while pool.queue and len(batch) < limit:
            _deadline, _arrival, query = heapq.heappop(pool.queue)
            if not query.answer.done():
                batch.append(query)
        return batch

    def _batch_limit(self, served: _Served) -> int:
        model = self._state.model(served.name, served.version)
        if model is None or model.batch_size == ADAPTIVE_BATCHES:
            return ADAPTIVE_LIMIT
        return model.batch_size

    def _drop(self, connection: _Connection) -> None:
        pool = connection.pool
        del self._connections[connection.identity]
        self._state.disconnect(connection.replica)
        pool.members.remove(connection)
        if connection in pool.idle:
            pool.idle.remove(connection)
        if not pool.members:
            del self._pools[pool.served]
