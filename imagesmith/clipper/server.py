"""The embedded Clipper in one process: both REST frontends and the RPC side, state in memory.

``python -m imagesmith.clipper.server`` prints one line, the JSON of daemon.Running, when it
listens, serves until SIGTERM or SIGINT, and then exits with status 0; daemon.py keeps it running.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop
import zmq
import zmq.asyncio

from imagesmith.clipper.daemon import Running
from imagesmith.clipper.dispatch import CHECK_EVERY, SILENCE, Dispatcher
from imagesmith.clipper.endpoints import Endpoints
from imagesmith.clipper.management import management_frontend
from imagesmith.clipper.query import query_frontend
from imagesmith.clipper.state import State
from imagesmith.run.rootfs import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.applications import Starlette

_GRACE = 1  # seconds that answers in the making are given at the end


async def serve(
    endpoints: Endpoints,
    started: Callable[[Endpoints], object],
    *,
    silence: float = SILENCE,
    check_every: float = CHECK_EVERY,
) -> None:
    """Serve until cancelled. ``started`` is called once all three ports are listened on.

    It is told the endpoints as they are: a port 0 has become a free one. A replica not heard for
    ``silence`` seconds is dropped; ``check_every`` is the time between two looks. Raises OSError
    or ZMQError, before anything is served, if a port cannot be had.
    """
    state = State()
    with contextlib.ExitStack() as stack:
        management = stack.enter_context(_listen(endpoints.host, endpoints.management))
        query = stack.enter_context(_listen(endpoints.host, endpoints.query))
        context = stack.enter_context(zmq.asyncio.Context())
        router = stack.enter_context(context.socket(zmq.ROUTER))
        router.linger = 0
        router.bind(f"tcp://{endpoints.host}:{endpoints.rpc or '*'}")
        # A ROUTER's send never waits: its future is done when the call returns.
        dispatcher = Dispatcher(state, lambda peer, frames: router.send_multipart([peer, *frames]))
        async with asyncio.TaskGroup() as group:
            group.create_task(_receive(router, dispatcher))
            group.create_task(_watch(dispatcher, silence, check_every))
            started(_actual(endpoints, query, management, router))
            await _serve_rest(
                (management_frontend(state), management),
                (query_frontend(state, dispatcher), query),
            )


@dataclass(frozen=True)
class Served:
    """A Clipper in a thread: where it is; ``ended`` is done before its time if it has failed."""

    endpoints: Endpoints
    ended: Future[None]


@contextlib.contextmanager
def in_thread(endpoints: Endpoints, **timers: float) -> Iterator[Served]:
    """Serve in a thread of this process until the block ends; ``timers`` are serve's."""
    started: Future[Any] = Future()
    loop = uvloop.new_event_loop()
    serving = loop.create_task(serve(endpoints, started.set_result, **timers))
    with ThreadPoolExecutor(1, "clipper") as pool:
        ended: Future[Any] = pool.submit(loop.run_until_complete, serving)
        try:
            wait((started, ended), return_when=FIRST_COMPLETED)
            if ended.done():
                ended.result()
            yield Served(started.result(), ended)
        finally:
            loop.call_soon_threadsafe(serving.cancel)
    loop.close()


async def _receive(router: zmq.asyncio.Socket, dispatcher: Dispatcher) -> None:
    while True:
        identity, *frames = await router.recv_multipart()
        dispatcher.receive(identity, frames)


async def _watch(dispatcher: Dispatcher, silence: float, check_every: float) -> None:
    while True:
        await asyncio.sleep(check_every)
        dispatcher.drop_silent(silence)


class _Frontend(uvicorn.Server):
    """A uvicorn server beside others in one loop: the signals are not its to handle."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()


async def _serve_rest(*frontends: tuple[Starlette, socket.socket]) -> None:
    """Serve HTTP until cancelled, then finish the answers in the making."""
    servers = [_Frontend(_config(application)) for application, _ in frontends]
    tasks = [
        asyncio.create_task(server.serve([listener]))
        for server, (_, listener) in zip(servers, frontends, strict=True)
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)


def _config(application: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http="httptools",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE,
    )


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), backlog=2048)


def _actual(
    endpoints: Endpoints,
    query: socket.socket,
    management: socket.socket,
    router: zmq.asyncio.Socket,
) -> Endpoints:
    rpc = router.getsockopt_string(zmq.LAST_ENDPOINT)
    return replace(
        endpoints,
        query=query.getsockname()[1],
        management=management.getsockname()[1],
        rpc=int(rpc.rpartition(":")[2]),
    )


async def _serve_until_signalled(endpoints: Endpoints) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):  # that is how it is asked to end
        await serve(endpoints, _announce)


def _announce(endpoints: Endpoints) -> None:
    print(Running(Process.of_this(), endpoints).to_json().decode(), flush=True)


def _endpoints(arguments: Sequence[str] | None) -> Endpoints:
    parser = argparse.ArgumentParser(prog="imagesmith.clipper.server", description=__doc__)
    for name, value in asdict(Endpoints()).items():
        option = "--host" if name == "host" else f"--{name}-port"
        parser.add_argument(option, dest=name, type=type(value), default=value)
    return Endpoints(**vars(parser.parse_args(arguments)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the embedded Clipper in this process."""
    endpoints = _endpoints(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_until_signalled(endpoints))


if __name__ == "__main__":
    main()
