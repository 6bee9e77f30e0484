"""Keeps the embedded Clipper running beside its user's commands: up, status, down.

A folder stands for one such Clipper: ``clipper.json`` says which process it is, ``clipper.log``
what it printed. Linux only: a process is told from a later one of the same id by its start time,
and waited for by its pidfd.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from imagesmith.clipper.client import Clipper
from imagesmith.clipper.endpoints import Endpoints
from imagesmith.findings import ImagesmithError, error, stop_on_errors
from imagesmith.store import canonical, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.findings import Finding

_GRACE = 10.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True)
class Running:
    """A Clipper that ``up`` started; ``started`` is in clock ticks after the system's boot."""

    pid: int
    endpoints: Endpoints
    started: int


def up(endpoints: Endpoints, folder: Path) -> Running:
    """Start the embedded Clipper in the background and return once it answers.

    A port 0 takes a free one. Raises ImagesmithError: ``register.already-up``,
    ``register.port-in-use`` for each busy port, or ``register.clipper`` with its log if it dies.
    """
    with _locked(folder):
        running = _running(folder)
        if running is not None:
            raise ImagesmithError(_already_up(running))
        stop_on_errors(_busy_ports(endpoints))
        return _start(endpoints, folder)


def status(folder: Path) -> Running | None:
    """Give the Clipper of this folder if it runs; forget it if it does not."""
    with _locked(folder):
        running = _running(folder)
        if running is None:
            _record(folder).unlink(missing_ok=True)
        return running


def down(folder: Path, grace: float = _GRACE) -> bool:
    """End the Clipper of this folder and say whether there was one.

    SIGTERM, and SIGKILL if it is still there after ``grace`` seconds.
    """
    with _locked(folder):
        running = _running(folder)
        if running is not None:
            _end(running, grace)
        _record(folder).unlink(missing_ok=True)
        return running is not None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".clipper.lock"):
        yield


def _record(folder: Path) -> Path:
    return folder / "clipper.json"


def _running(folder: Path) -> Running | None:
    try:
        record = json.loads(_record(folder).read_bytes())
    except FileNotFoundError:
        return None
    running = Running(record["pid"], Endpoints(**record["endpoints"]), record["started"])
    return running if _start_time(running.pid) == running.started else None


def _start_time(pid: int) -> int | None:
    """Give the start time of a live process (proc(5), /proc/PID/stat), None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name, in parentheses, may hold blanks and parentheses of its own.
    fields = stat.rpartition(")")[2].split()
    is_zombie = fields[0] == "Z"
    return None if is_zombie else int(fields[19])


def _already_up(running: Running) -> Finding:
    place = running.endpoints
    return error(
        "register.already-up",
        f"{place.host}:{place.management}",
        f"the embedded Clipper is up already (process {running.pid})",
        "use it as it is, or end it first with 'imagesmith clipper down'",
    )


def _busy_ports(endpoints: Endpoints) -> list[Finding]:
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
        running = _answering(process.pid, Endpoints(**json.loads(announced)), log)
        write_whole(_record(folder), canonical(asdict(running)))
    except BaseException:
        process.kill()
        process.wait()
        raise
    return running


def _spawn(endpoints: Endpoints, log: Path) -> subprocess.Popen[bytes]:
    """Start the server in a session of its own; its one line of stdout tells its endpoints."""
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


def _answering(pid: int, endpoints: Endpoints, log: Path) -> Running:
    with Clipper.at(endpoints) as clipper:
        clipper.ping()
    started = _start_time(pid)
    if started is None:
        raise _died(None, log)
    return Running(pid, endpoints, started)


def _died(status: int | None, log: Path) -> ImagesmithError:
    return ImagesmithError(
        error(
            "register.clipper",
            log,
            "the embedded Clipper ended while it started"
            + ("" if status is None else f", with status {status}"),
            "its log says why",
        ),
        log=log.read_text(errors="replace"),
    )


def _end(running: Running, grace: float) -> None:
    try:
        handle = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return
    try:
        if _start_time(running.pid) != running.started:
            return  # it ended meanwhile, and its id is another's
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
            signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], patience)[0]:
                return
    finally:
        os.close(handle)
