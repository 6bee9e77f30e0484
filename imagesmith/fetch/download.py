"""The stage itself: every wheel of a lock that the store has not, several at a time.

A wheel is in the store whole and with the digest that the lock names, or not at all: so a fetch
that was cut short, by whatever, goes on with the wheels that are still wanting.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagesmith.fetch import source
from imagesmith.findings import Finding, error, stop_on_errors
from imagesmith.resolve.indexes import configured

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from imagesmith.progress import Progress
    from imagesmith.resolve.indexes import Indexes
    from imagesmith.resolve.lock import Lock, LockedWheel
    from imagesmith.store import Store

_PAUSES = (0.5, 1.5)  # seconds before each further try


def fetch(lock: Lock, store: Store, progress: Progress, *, index_url: str | None = None) -> None:
    """Bring every wheel of a lock into the store, by its digest.

    Credentials are those of ``index_url`` or of the configured indexes, for URLs of their origin,
    else netrc's. Raises ImagesmithError with what went wrong for each wheel: build.wheel-hash,
    missing.wheel-gone, reach.index; the other wheels are in the store then. The progress listener
    is called from several threads.
    """
    wanted = [wheel for wheel in lock.wheels if not store.has(wheel.digest)]
    if not wanted:
        return
    indexes = configured(index_url, os.environ)
    with source.client() as http:
        jobs = [_Job(wheel, _login(wheel, indexes), http, store) for wheel in wanted]
        fetched = _run(jobs, progress)
    progress.say("fetch", f"{len(wanted)} wheels, {fetched / 1e6:.0f} MB")


@dataclass(frozen=True)
class _Job:
    """One wheel to bring, and with what."""

    wheel: LockedWheel
    login: source.Login
    http: httpx.Client
    store: Store


class _WrongHashError(Exception):
    """The bytes are not those that were locked; the argument is their digest."""


class _StoppedError(Exception):
    """The fetch as a whole was interrupted."""


def _run(jobs: list[_Job], progress: Progress) -> int:
    """Do the jobs in parallel and give the bytes brought; ImagesmithError with all findings."""
    stopping = Event()
    dead: dict[str, Finding] = {}
    with ThreadPoolExecutor(source.CONNECTIONS, thread_name_prefix="fetch") as pool:
        try:
            total = _total(jobs, pool)
            with progress.count("fetch", f"{len(jobs)} wheels", total) as advance:
                futures = [pool.submit(_bring, job, stopping, dead, advance) for job in jobs]
                outcomes = [future.result() for future in futures]
        except BaseException:
            stopping.set()
            pool.shutdown(cancel_futures=True)
            raise
    stop_on_errors(dict.fromkeys(found for found in outcomes if isinstance(found, Finding)))
    return sum(found for found in outcomes if isinstance(found, int))


def _total(jobs: list[_Job], pool: ThreadPoolExecutor) -> int:
    """Ask how many bytes there are to bring; a wheel whose size nobody says counts nothing.

    This is for the progress bar alone: what is wrong with a server, the download itself will tell.
    """
    silent: set[str] = set()

    def size(job: _Job) -> int:
        server = urlsplit(job.wheel.url).netloc
        try:
            return 0 if server in silent else source.size(job.http, job.wheel.url, job.login)
        except source.UnreachableError:
            silent.add(server)
            return 0

    return sum(pool.map(size, jobs))


def _bring(
    job: _Job, stopping: Event, dead: dict[str, Finding], advance: Callable[[int], None]
) -> int | Finding:
    """Bring one wheel: the bytes it has, or what went wrong.

    ``dead`` holds the servers that did not answer after all tries, so that each is waited for once.
    """
    server = urlsplit(job.wheel.url).netloc
    for pause in (*_PAUSES, None):
        if server in dead:
            return dead[server]
        try:
            return _once(job, stopping, advance)
        except source.GoneError as reason:
            return _gone(job.wheel, reason)
        except _WrongHashError as found:
            return _wrong_hash(job.wheel, str(found))
        except source.RefusedError as reason:
            if pause is None or not reason.passing:
                return _refused(job.wheel, reason)
        except source.UnreachableError as reason:
            if pause is None or not reason.passing:
                return dead.setdefault(server, _unreachable(server, reason))
        if stopping.wait(pause):
            raise _StoppedError
    raise AssertionError("the last try has returned")


def _once(job: _Job, stopping: Event, advance: Callable[[int], None]) -> int:
    moved = 0
    try:
        with (
            source.opened(job.http, job.wheel.url, job.login) as pieces,
            job.store.writer() as blob,
        ):
            for piece in pieces:
                if stopping.is_set():
                    raise _StoppedError
                blob.write(piece)
                moved += len(piece)
                advance(len(piece))
            if blob.digest != job.wheel.digest:
                raise _WrongHashError(blob.digest)
            return blob.size
    except BaseException:
        advance(-moved)
        raise


def _login(wheel: LockedWheel, indexes: Indexes) -> source.Login:
    if wheel.url.startswith("file:"):
        return None
    return indexes.credentials(wheel.url, os.environ)


def _gone(wheel: LockedWheel, reason: Exception) -> Finding:
    return error(
        "missing.wheel-gone",
        wheel.url,
        f"{wheel.filename} is no longer where the lock says: {reason}",
        "lock again; if it is gone from the index for good, install another version and capture "
        "again",
    )


def _wrong_hash(wheel: LockedWheel, found: str) -> Finding:
    return error(
        "build.wheel-hash",
        wheel.url,
        f"{wheel.filename} is not what was locked: expected {wheel.digest}, got {found}",
        "ask who keeps the index why the file changed; lock again only if that was meant",
    )


def _refused(wheel: LockedWheel, reason: source.RefusedError) -> Finding:
    login = reason.status in (401, 403, 407)
    return error(
        "reach.index",
        wheel.url,
        f"the server does not give {wheel.filename}: {reason}",
        "put user and password into the index's URL (PIP_INDEX_URL) or into ~/.netrc"
        if login
        else "try again later, or use another index",
    )


def _unreachable(server: str, reason: source.UnreachableError) -> Finding:
    return error(
        "reach.index",
        server,
        f"wheels cannot be fetched from {server}: {reason}",
        "put your company's certificate into the system's store, or name its file in SSL_CERT_FILE"
        if reason.untrusted
        else "check the network and the proxy, then run again: what was fetched is kept",
    )
