"""One `docker load` under way: a tarball whose members come one by one, as they are made."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from imagesmith.engine import connected
from imagesmith.findings import ImagesmithError, error
from imagesmith.image.tar import Member, contents, tar_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from docker import DockerClient


class LoadError(Exception):
    """The engine did not take what was loaded; the text is its own."""


@contextmanager
def loading(host: str | None) -> Iterator[DockerClient]:
    """Open the engine; ImagesmithError (publish.engine) with its words where it refuses."""
    from docker.errors import APIError

    with connected(host) as client:
        try:
            yield client
        except (APIError, LoadError) as bad:
            raise _refused(host, bad) from bad


def _refused(host: str | None, bad: Exception) -> ImagesmithError:
    text = str(getattr(bad, "explanation", None) or bad)
    return ImagesmithError(
        error(
            "publish.engine",
            host or os.environ.get("DOCKER_HOST") or "this machine's engine",
            f"the Docker engine does not take the image: {text}",
            "free some space on the engine's disk (`docker system df` shows what is there)"
            if "no space left" in text
            else "see the engine's log; `--output archive:FILE` makes a file for `docker load`",
        )
    )


class _AbandonedError(Exception):
    """What was begun is not to be loaded."""


class Load:
    """Sends members to an engine in a thread of its own; nothing is loaded until it has ended.

    An engine begins to load only when it has the whole tarball, and forgets one that breaks off.
    One that stands on what another brings is sent at the same time, and loaded ``after`` it.
    """

    def __init__(self, host: str | None, pool: Executor, after: Load | None) -> None:
        self._after = after
        self._coming: SimpleQueue[Member | Exception | tuple[Member, ...]] = SimpleQueue()
        self._failure: Exception | None = None
        self._on_sent: Callable[[int], None] = _nobody
        self.sent = 0  # bytes so far
        self._done = pool.submit(self._run, host)

    def add(self, member: Member) -> None:
        """Send a member after those before it."""
        self._coming.put(member)

    def end(self, *members: Member) -> None:
        """Send the last members, when what this stands on is loaded."""
        self._coming.put(members)

    def wait(self, on_sent: Callable[[int], None]) -> None:
        """Wait until all is sent and loaded; ``on_sent`` hears of the bytes that are sent.

        Raises LoadError, ValueError or OSError for a member that cannot be read, and what
        ``connected`` raises.
        """
        on_sent(self.sent)
        self._on_sent = on_sent
        try:
            self._done.result()
        except Exception as bad:
            raise self._failure or bad from bad

    def abandon(self) -> None:
        """Break off, unless it has ended; nothing of it stays in the engine then."""
        self._coming.put(_AbandonedError())
        with suppress(Exception):  # that it fails is what is wanted
            self._done.result()

    def _run(self, host: str | None) -> None:
        with connected(host) as client:
            _take(client.api, self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        try:
            for piece in tar_pieces(self._members()):
                for chunk in contents(piece) if isinstance(piece, Member) else (piece,):
                    yield chunk
                    self.sent += len(chunk)
                    self._on_sent(len(chunk))
        except Exception as bad:
            self._failure = bad  # else only what that has led to at the connection is known
            raise

    def _members(self) -> Iterator[Member]:
        while not isinstance(coming := self._coming.get(), tuple):
            if isinstance(coming, Exception):
                raise coming
            yield coming
        if self._after is not None:
            self._after._done.result()
        yield from coming


def _take(engine: Any, pieces: Iterator[bytes]) -> None:
    """Have the engine load an image tarball; LoadError with its words if it does not."""
    for event in engine.load_image(pieces, quiet=True) or ():
        if "error" in event:
            raise LoadError(event["error"])


def _nobody(_bytes: int) -> None:
    """Hear of what is sent while nobody waits for it."""
