"""This machine's own Clipper: finding it, serving one image on it, taking it down."""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from imagesmith.clipper import daemon
from imagesmith.clipper.client import Clipper
from imagesmith.clipper.deploy import Wish, deploy
from imagesmith.clipper.endpoints import Endpoints
from imagesmith.clipper.manager import LocalManager
from imagesmith.findings import ImagesmithError, error
from imagesmith.image import oci

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagesmith.image.oci import Image
    from imagesmith.progress import Progress
    from imagesmith.run.runner import Runner
    from imagesmith.store import Store

# What a curl line asks of a model whose samples nobody gave.
_QUESTIONS = {
    "doubles": "[1.0, 2.0]",
    "floats": "[1.0, 2.0]",
    "integers": "[1, 2]",
    "strings": '"text"',
    "bytes": '"AAEC"',
}


def state_folder(store: Store) -> Path:
    """Give the folder in which the embedded Clipper keeps its state and log."""
    return store.root / "clipper"


def connection(
    management: str | None, rpc: str | None, runner: Runner, store: Store
) -> tuple[Clipper, LocalManager]:
    """Reach a Clipper by its management URL and RPC address; None is this machine's own.

    Raises ImagesmithError (usage.rpc) for an address that is not HOST:PORT.
    """
    running = daemon.status(state_folder(store))
    own = running.endpoints if running else Endpoints()
    address = _address(rpc) if rpc else (own.host, own.rpc)
    manager = LocalManager(runner, store, address)
    return (Clipper(management) if management else Clipper.at(own)), manager


def take_down(runner: Runner, store: Store) -> bool:
    """Stop the embedded Clipper and its replicas; False if it was not running."""
    running = daemon.status(state_folder(store))
    if running is None:
        return False
    manager = LocalManager(runner, store, (running.endpoints.host, running.endpoints.rpc))
    for replica in manager.replicas():
        manager.stop(replica)
    return daemon.down(state_folder(store))


def serve(
    image: Image,
    endpoints: Endpoints,
    runner: Runner,
    store: Store,
    progress: Progress,
    tell: Callable[[str], None],
) -> NoReturn:
    """Serve an image on an embedded Clipper of its own until interrupted or the replica dies.

    ``tell`` is given a curl line once it serves. Nothing is left running. Raises KeyboardInterrupt
    at SIGINT and SIGTERM, ImagesmithError (register.…) when the replica dies.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="imagesmith-") as folder:
        running = daemon.up(endpoints, Path(folder))
        try:
            _serve(image, running.endpoints, runner, store, progress, tell)
        finally:
            daemon.down(Path(folder))


def _serve(
    image: Image,
    endpoints: Endpoints,
    runner: Runner,
    store: Store,
    progress: Progress,
    tell: Callable[[str], None],
) -> NoReturn:
    manager = LocalManager(runner, store, (endpoints.host, endpoints.rpc))
    app = image.config.labels[oci.LABEL_MODEL]
    with Clipper.at(endpoints) as client:
        deployment = deploy(image, Wish(app), client, manager, progress)
    try:
        question = _QUESTIONS[image.config.labels[oci.LABEL_INPUT_TYPE]]
        tell(
            f"curl -X POST -H 'Content-Type: application/json' -d '{{\"input\": {question}}}'"
            f" http://{endpoints.host}:{endpoints.query}/{app}/predict"
        )
        container = runner.attach(deployment.replicas[0])
        while container is not None and container.status() is None:
            time.sleep(0.2)
        log = container.log() if container is not None else ""
        raise ImagesmithError(
            error(
                "register.replica-died",
                image.reference,
                "the replica has ended",
                "its log above says why",
            ),
            log=log,
        )
    finally:
        for replica in deployment.replicas:
            manager.stop(replica)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ImagesmithError(
            error("usage.rpc", text, f"{text!r} is not HOST:PORT", "write it as 127.0.0.1:7000")
        )
    return host, int(port)
