"""Keeps the embedded Clipper running beside its user's commands: up, status, down.

A folder stands for one such Clipper: ``clipper.json`` says which process it is, ``clipper.log``
what it printed. Linux only, as the replicas are.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from imagesmith.clipper.client import Clipper
from imagesmith.clipper.endpoints import Endpoints
from imagesmith.findings import ImagesmithError, error, stop_on_errors
from imagesmith.run.rootfs import Process
from imagesmith.store import canonical, locked, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.findings import Finding

_GRACE = 10.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True)
class Running:
    """An embedded Clipper: the process that serves it, and where."""

    process: Process
    endpoints: Endpoints

    def to_json(self) -> bytes:
        """Give it as one line of JSON."""
        return canonical(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Running:
        """Read what ``to_json`` gave; ValueError, KeyError or TypeError for anything else."""
        record = json.loads(data)
        return cls(Process(**record["process"]), Endpoints(**record["endpoints"]))


def up(endpoints: Endpoints, folder: Path) -> Running:
    """Start the embedded Clipper in the background and return once it answers.

    A port 0 takes a free one. Raises ImagesmithError: ``register.already-up``,
    ``register.port-in-use`` for each busy port, or ``register.clipper`` with its log if it dies.
    """
    with locked(folder):
        running = _running(folder)
        if running is not None:
            raise ImagesmithError(_already_up(running))
        stop_on_errors(busy_ports(endpoints))
        return _start(endpoints, folder)


def status(folder: Path) -> Running | None:
    """Give the Clipper of this folder if it runs; forget it if it does not."""
    with locked(folder):
        running = _running(folder)
        if running is None:
            _record(folder).unlink(missing_ok=True)
        return running


def down(folder: Path, grace: float = _GRACE) -> bool:
    """End the Clipper of this folder and say whether there was one.

    SIGTERM, and SIGKILL if it is still there after ``grace`` seconds.
    """
    with locked(folder):
        running = _running(folder)
        if running is not None:
            _end(running.process, grace)
        _record(folder).unlink(missing_ok=True)
        return running is not None


def _record(folder: Path) -> Path:
    return folder / "clipper.json"


def _running(folder: Path) -> Running | None:
    try:
        running = Running.from_json(_record(folder).read_bytes())
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or none that we wrote
        return None
    return None if running.process.wait(0) else running


def _already_up(running: Running) -> Finding:
    place = running.endpoints
    return error(
        "register.already-up",
        f"{place.host}:{place.management}",
        f"the embedded Clipper is up already (process {running.process.pid})",
        "use it as it is, or end it first with 'imagesmith clipper down'",
    )


def busy_ports(endpoints: Endpoints) -> list[Finding]:
    """Find the ports that cannot be listened on; held together, so that no two are the same."""
    findings = []
    with contextlib.ExitStack() as held:
        for name in ("query", "management", "rpc"):
            place = (endpoints.host, getattr(endpoints, name))
            try:
                held.enter_context(socket.create_server(place))
            except OSError as bad:
                findings.append(_port_in_use(name, place, bad))
    return findings


def _port_in_use(name: str, place: tuple[str, int], bad: OSError) -> Finding:
    return error(
        "register.port-in-use",
        f"{place[0]}:{place[1]}",
        f"the {name} port cannot be had: {os.strerror(bad.errno) if bad.errno else bad}",
        f"end what listens there, or choose another port with --{name}-port",
    )


def _start(endpoints: Endpoints, folder: Path) -> Running:
    log = folder / "clipper.log"
    process = _spawn(endpoints, log)
    try:
        assert process.stdout is not None
        with process.stdout as stdout:
            announced = stdout.readline()
        if not announced:
            raise _died(process.wait(), log)
        running = Running.from_json(announced)
        with Clipper.at(running.endpoints) as clipper:
            clipper.ping()
        write_whole(_record(folder), announced)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return running


def _spawn(endpoints: Endpoints, log: Path) -> subprocess.Popen[bytes]:
    """Start the server in a session of its own; its one line of stdout is its record."""
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "imagesmith.clipper.server"),
                *("--host", endpoints.host),
                *("--query-port", str(endpoints.query)),
                *("--management-port", str(endpoints.management)),
                *("--rpc-port", str(endpoints.rpc)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )


def _died(status: int, log: Path) -> ImagesmithError:
    return ImagesmithError(
        error(
            "register.clipper",
            log,
            f"the embedded Clipper ended while it started, with status {status}",
            "its log says why",
        ),
        log=log.read_text(errors="replace"),
    )


def _end(process: Process, grace: float) -> None:
    process.send(signal.SIGTERM)
    if not process.wait(grace):
        process.send(signal.SIGKILL)
        process.wait(None)
