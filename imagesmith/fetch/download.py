"""The stage itself: every wheel and package of a lock that the store has not, several at a time.

An artifact is in the store whole and with the digest that the lock names, or not at all: so a fetch
that was cut short, by whatever, goes on with those that are still wanting.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from imagesmith.fetch import source
from imagesmith.findings import Finding, error, stop_on_errors
from imagesmith.resolve.indexes import configured
from imagesmith.resolve.lock import LockedPackage
from imagesmith.store import hex_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import httpx

    from imagesmith.progress import Progress
    from imagesmith.resolve.indexes import Indexes
    from imagesmith.resolve.lock import Artifact, Lock
    from imagesmith.store import Store

_PAUSES = (0.5, 1.5)  # seconds before each further try


def fetch(
    lock: Lock,
    store: Store,
    progress: Progress,
    *,
    index_url: str | None = None,
    channels: Sequence[str] = (),
) -> None:
    """Bring every wheel and conda package of a lock into the store, by its digest.

    Credentials are those of ``index_url`` or of the configured indexes, for URLs of their origin,
    and those of ``channels`` or of the user's condarc, else netrc's.

    Raises ImagesmithError with what went wrong for each: build.wheel-hash or build.package-hash,
    missing.wheel-gone or missing.package-gone, reach.index or reach.channel; the others are in the
    store then. The progress listener is called from several threads.
    """
    wanted = [artifact for artifact in lock.artifacts if not store.has(artifact.digest)]
    if not wanted:
        return
    opened = _opener(wanted, configured(index_url, os.environ), channels)
    with source.client() as http:
        jobs = [_Job(artifact, *opened(artifact.url), http, store) for artifact in wanted]
        fetched = _run(jobs, progress)
    if fetched:  # else another build has brought them meanwhile
        progress.say("fetch", f"{_counted(wanted)}, {fetched / 1e6:.0f} MB")


def _counted(artifacts: Iterable[Artifact]) -> str:
    """Say how many there are of each kind."""
    kinds = Counter(_Words.of(artifact).kind for artifact in artifacts)
    counted = (f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in sorted(kinds.items()))
    return " and ".join(counted)


@dataclass(frozen=True)
class _Job:
    """One artifact to bring, and with what."""

    artifact: Artifact
    url: str = field(repr=False)  # perhaps with a token, which the artifact's has not
    login: source.Login = field(repr=False)
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
            with progress.count("fetch", _counted(job.artifact for job in jobs), total) as advance:
                futures = [pool.submit(_bring, job, stopping, dead, advance) for job in jobs]
                outcomes = [future.result() for future in futures]
        except BaseException:
            stopping.set()
            pool.shutdown(cancel_futures=True)
            raise
    stop_on_errors(dict.fromkeys(found for found in outcomes if isinstance(found, Finding)))
    return sum(found for found in outcomes if isinstance(found, int))


def _total(jobs: list[_Job], pool: ThreadPoolExecutor) -> int:
    """Ask how many bytes there are to bring; one whose size nobody says counts nothing.

    This is for the progress bar alone: what is wrong with a server, the download itself will tell.
    """
    silent: set[str] = set()

    def size(job: _Job) -> int:
        server = urlsplit(job.artifact.url).netloc
        try:
            return 0 if server in silent else source.size(job.http, job.url, job.login)
        except source.UnreachableError:
            silent.add(server)
            return 0

    return sum(pool.map(size, jobs))


def _bring(
    job: _Job, stopping: Event, dead: dict[str, Finding], advance: Callable[[int], None]
) -> int | Finding:
    """Bring one artifact: the bytes it has, or what went wrong.

    ``dead`` holds the servers that did not answer after all tries, so that each is waited for once.
    """
    server = urlsplit(job.artifact.url).netloc
    for pause in (*_PAUSES, None):
        if server in dead:
            return dead[server]
        try:
            return _alone(job, stopping, advance)
        except source.GoneError as reason:
            return _gone(job.artifact, reason)
        except _WrongHashError as found:
            return _wrong_hash(job.artifact, str(found))
        except source.RefusedError as reason:
            if pause is None or not reason.passing:
                return _refused(job.artifact, reason)
        except source.UnreachableError as reason:
            if pause is None or not reason.passing:
                return dead.setdefault(server, _unreachable(job.artifact, server, reason))
        if stopping.wait(pause):
            raise _StoppedError
    raise AssertionError("the last try has returned")


def _alone(job: _Job, stopping: Event, advance: Callable[[int], None]) -> int:
    """Try once; nothing has to be brought that another build was bringing at the same time."""
    with job.store.making("blobs", hex_of(job.artifact.digest)):
        return 0 if job.store.has(job.artifact.digest) else _once(job, stopping, advance)


def _once(job: _Job, stopping: Event, advance: Callable[[int], None]) -> int:
    moved = 0
    try:
        with (
            source.opened(job.http, job.url, job.login) as pieces,
            job.store.writer() as blob,
        ):
            for piece in pieces:
                if stopping.is_set():
                    raise _StoppedError
                blob.write(piece)
                moved += len(piece)
                advance(len(piece))
            if blob.digest != job.artifact.digest:
                raise _WrongHashError(blob.digest)
            return blob.size
    except BaseException:
        advance(-moved)
        raise


def _opener(
    artifacts: Iterable[Artifact], indexes: Indexes, named: Sequence[str]
) -> Callable[[str], tuple[str, source.Login]]:
    """Give a function that gives a URL as it is to be asked for, and the login for that."""
    from imagesmith.resolve.conda.channels import channels

    of_conda = any(isinstance(artifact, LockedPackage) for artifact in artifacts)
    opened = channels(named, os.environ).opened if of_conda else str

    def open_with(url: str) -> tuple[str, source.Login]:
        parts = urlsplit(opened(url))
        if parts.username:
            login = unquote(parts.username), unquote(parts.password or "")
            return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), login
        login_of_index = None if parts.scheme == "file" else indexes.credentials(url, os.environ)
        return urlunsplit(parts), login_of_index

    return open_with


@dataclass(frozen=True)
class _Words:
    """What an artifact is called, where it comes from, and where a login for that is taken from."""

    kind: str
    place: str
    login: str

    @classmethod
    def of(cls, artifact: Artifact) -> _Words:
        return _OF_PACKAGES if isinstance(artifact, LockedPackage) else _OF_WHEELS


_OF_WHEELS = _Words(
    "wheel", "index", "put user and password into the index's URL (PIP_INDEX_URL) or into ~/.netrc"
)
_OF_PACKAGES = _Words("package", "channel", "put user and password into ~/.netrc")


def _gone(artifact: Artifact, reason: Exception) -> Finding:
    words = _Words.of(artifact)
    return error(
        f"missing.{words.kind}-gone",
        artifact.url,
        f"{artifact.filename} is no longer where the lock says: {reason}",
        f"lock again; if it is gone from the {words.place} for good, install another version and"
        " capture again",
    )


def _wrong_hash(artifact: Artifact, found: str) -> Finding:
    words = _Words.of(artifact)
    return error(
        f"build.{words.kind}-hash",
        artifact.url,
        f"{artifact.filename} is not what was locked: expected {artifact.digest}, got {found}",
        f"ask who keeps the {words.place} why the file changed; lock again only if that was meant",
    )


def _refused(artifact: Artifact, reason: source.RefusedError) -> Finding:
    words = _Words.of(artifact)
    return error(
        f"reach.{words.place}",
        artifact.url,
        f"the server does not give {artifact.filename}: {reason}",
        words.login
        if reason.status in (401, 403, 407)
        else f"try again later, or use another {words.place}",
    )


def _unreachable(artifact: Artifact, server: str, reason: source.UnreachableError) -> Finding:
    words = _Words.of(artifact)
    return error(
        f"reach.{words.place}",
        server,
        f"{words.kind}s cannot be fetched from {server}: {reason}",
        "put your company's certificate into the system's store, or name its file in SSL_CERT_FILE"
        if reason.untrusted
        else "check the network and the proxy, then run again: what was fetched is kept",
    )
