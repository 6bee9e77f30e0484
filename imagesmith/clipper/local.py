"""This machine's own Clipper: finding it, serving one image on it, taking it down."""

from __future__ import annotations

import concurrent.futures
import shlex
from contextlib import ExitStack
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from imagesmith.clipper import daemon
from imagesmith.clipper.client import Clipper
from imagesmith.clipper.deploy import Wish, deploy
from imagesmith.clipper.endpoints import Endpoints
from imagesmith.clipper.manager import LocalManager, replica_died, stop_all, stop_left_over
from imagesmith.findings import ImagesmithError, error, stop_on_errors
from imagesmith.image import oci
from imagesmith.run.rootfs import Process
from imagesmith.store import canonical, hex_of
from imagesmith.verify.verify import ANSWERED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imagesmith.clipper.server import Served
    from imagesmith.findings import Finding
    from imagesmith.image.oci import Image
    from imagesmith.progress import Progress
    from imagesmith.run.runner import Runner
    from imagesmith.store import Store

_LOOK_EVERY = 0.2  # seconds between two looks at the replica that is served

# What a curl line asks of a model whose samples nobody gave.
_QUESTIONS = {
    "doubles": "[1.0, 2.0]",
    "floats": "[1.0, 2.0]",
    "integers": "[1, 2]",
    "strings": '"text"',
    "bytes": '"AAEC"',
}


def state_folder(store: Store) -> Path:
    """Give the folder in which the embedded Clipper keeps its record and log."""
    return store.root / "clipper"


def bring_up(endpoints: Endpoints, runner: Runner, store: Store) -> Endpoints:
    """Start the embedded Clipper in the background and say where it is, as ``daemon.up`` does.

    The replicas of one that has died are stopped: they would come back to this one.
    """
    stop_left_over(runner, store)
    return daemon.up(endpoints, state_folder(store)).endpoints


def take_down(runner: Runner, store: Store) -> bool:
    """Stop the embedded Clipper and its replicas; False if it was not running.

    Its replicas are stopped in either case: it may have died without them.
    """
    stopped = daemon.down(state_folder(store))
    stop_left_over(runner, store)
    return stopped


def reach(management: str | None, store: Store) -> tuple[Clipper, daemon.Running | None]:
    """Reach a Clipper by its management URL; None is this user's embedded one, also given then.

    Raises ImagesmithError (reach.clipper) where no Clipper is named and the embedded one is not
    up. (Another user's may well be.)
    """
    if management is not None:
        return Clipper(management), None
    running = daemon.status(state_folder(store))
    if running is None:
        raise ImagesmithError(_not_up())
    return Clipper.at(running.endpoints), running


def connection(
    management: str | None, rpc: str | None, runner: Runner, store: Store
) -> tuple[Clipper, LocalManager]:
    """Reach a Clipper, as ``reach`` does, and give what runs replicas for it on this machine.

    Without an RPC address it is port 7000 of the management frontend's host. Raises
    ImagesmithError: usage.rpc for an address that is not HOST:PORT, reach.clipper.
    """
    given = address(rpc) if rpc else None
    client, running = reach(management, store)
    if running is None:
        host = urlsplit(management or "").hostname or ""
        return client, LocalManager(runner, store, given or (host, Endpoints.rpc), clipper=None)
    own = (running.endpoints.host, running.endpoints.rpc)
    return client, LocalManager(runner, store, given or own, running.process)


def serve(
    image: Image,
    endpoints: Endpoints,
    runner: Runner,
    store: Store,
    progress: Progress,
    tell: Callable[[str], None],
) -> NoReturn:
    """Serve an image on a Clipper inside this process until interrupted or the replica dies.

    ``tell`` is given a curl line once it serves. Nothing is left running: KeyboardInterrupt ends
    it at any moment, and what a killed process leaves is stopped by the next one. Raises
    ImagesmithError: register.port-in-use, register.… as deploy does, register.replica-died.
    """
    from imagesmith.clipper.server import in_thread

    stop_left_over(runner, store)
    stop_on_errors(daemon.busy_ports(endpoints))
    this = Process.of_this()
    with in_thread(endpoints) as served, ExitStack() as at_last:
        at_last.callback(stop_all, this, runner, store)
        place = served.endpoints
        manager = LocalManager(runner, store, (place.host, place.rpc), this)
        app = image.config.labels[oci.LABEL_MODEL]
        with Clipper.at(place) as client:
            (replica,) = deploy(image, Wish(app), client, manager, progress).replicas
        tell(_curl_line(_question(image, store), place, app))
        _wait(replica, image, runner, served)


def _question(image: Image, store: Store) -> str:
    """Give an input as JSON: one that the image was seen to answer, else any of its type."""
    answered = store.recall(ANSWERED, hex_of(image.manifest.digest))
    if answered is not None:
        return canonical({"input": answered}).decode()
    return f'{{"input":{_QUESTIONS[image.config.labels[oci.LABEL_INPUT_TYPE]]}}}'


def _curl_line(question: str, place: Endpoints, app: str) -> str:
    return (
        f"curl -X POST -H 'Content-Type: application/json' -d {shlex.quote(question)}"
        f" http://{place.host}:{place.query}/{app}/predict"
    )


def _wait(replica: str, image: Image, runner: Runner, served: Served) -> NoReturn:
    """Wait until the replica or the Clipper ends, which neither does by itself."""
    container = runner.attach(replica)
    while container is not None and container.status() is None:
        concurrent.futures.wait([served.ended], timeout=_LOOK_EVERY)
        if served.ended.done():
            served.ended.result()
    if container is None:
        raise ImagesmithError(_replica_gone(replica, image))
    raise replica_died(container, image)


def _replica_gone(replica: str, image: Image) -> Finding:
    return error(
        "register.replica-died",
        image.reference,
        f"the replica {replica} was stopped by somebody else",
        "run it again",
    )


def _not_up() -> Finding:
    return error(
        "reach.clipper",
        "the embedded Clipper",
        "the embedded Clipper is not up",
        "start it with `imagesmith clipper up`, or name another one with --clipper URL",
    )


def address(text: str) -> tuple[str, int]:
    """Read HOST:PORT; ImagesmithError (usage.rpc) if it is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ImagesmithError(
            error("usage.rpc", text, f"{text!r} is not HOST:PORT", "write it as 127.0.0.1:7000")
        )
    return host, int(port)
