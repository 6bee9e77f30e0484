"""Reading an artifact's URL: http, https or file, with patience for what passes by itself."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.store import CHUNK
from imagesmith.urls import path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import httpx

CONNECTIONS = 8
_SILENCE = 10.0  # seconds without a byte
_CONNECT = 5.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

Login = tuple[str, str] | None


class GoneError(Exception):
    """There is nothing at the URL."""


class RefusedError(Exception):
    """The server answers, but not with the file; ``status`` is HTTP's."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answers {status}")
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may be answered in a moment."""
        return self.status in _PASSING


class UnreachableError(Exception):
    """No answer, or none that came to its end; the text says why."""

    @property
    def passing(self) -> bool:
        """Whether the next try may succeed; a certificate does not mend itself."""
        return not self.untrusted

    @property
    def untrusted(self) -> bool:
        """Whether TLS failed on the server's certificate."""
        return "CERTIFICATE" in str(self)


def client() -> httpx.Client:
    """Open the one HTTP client of a fetch: the system's trust store, the environment's proxies.

    Raises ImagesmithError (usage.proxy) where the environment names a proxy that is none.
    """
    import httpx

    try:
        return httpx.Client(
            verify=ssl.create_default_context(),
            follow_redirects=True,
            timeout=httpx.Timeout(_SILENCE, connect=_CONNECT, pool=None),
            limits=httpx.Limits(max_connections=CONNECTIONS),
            # A wheel or package is compressed already, and its digest is that of the file.
            headers={"Accept-Encoding": "identity"},
        )
    except (ValueError, ImportError, httpx.InvalidURL) as reason:
        # What it says may hold the proxy's password.
        raise ImagesmithError(
            error(
                "usage.proxy",
                "proxy",
                "a proxy that the environment names (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is not the"
                f" URL of an HTTP proxy ({type(reason).__name__})",
                "write it as http://HOST:PORT",
            )
        ) from reason


@contextmanager
def opened(http: httpx.Client, url: str, login: Login) -> Iterator[Iterable[bytes]]:
    """Give the bytes behind a URL in pieces; raises GoneError, RefusedError or
    UnreachableError."""
    if url.startswith("file:"):
        with _file(url) as pieces:
            yield pieces
    else:
        with _remote(http, url, login) as pieces:
            yield pieces


def size(http: httpx.Client, url: str, login: Login) -> int:
    """Give how many bytes a URL will bring, 0 if that is not said; UnreachableError."""
    import httpx

    if url.startswith("file:"):
        path = path_of(url)
        return path.stat().st_size if path.is_file() else 0
    try:
        answer = http.request("HEAD", url, auth=login, timeout=_CONNECT)
    except (httpx.HTTPError, httpx.InvalidURL) as reason:
        raise UnreachableError(str(reason)) from reason
    length = answer.headers.get("Content-Length", "")
    return int(length) if answer.is_success and length.isascii() and length.isdigit() else 0


@contextmanager
def _file(url: str) -> Iterator[Iterable[bytes]]:
    try:
        file = path_of(url).open("rb")
    except OSError as reason:
        raise GoneError(reason.strerror) from reason
    with file:
        yield iter(lambda: file.read(CHUNK), b"")


@contextmanager
def _remote(http: httpx.Client, url: str, login: Login) -> Iterator[Iterable[bytes]]:
    import httpx

    try:
        with http.stream("GET", url, auth=login) as response:
            if response.status_code in (404, 410):
                raise GoneError(f"it answers {response.status_code}")
            if not response.is_success:
                raise RefusedError(response.status_code)
            yield response.iter_bytes(CHUNK)
    except (httpx.HTTPError, httpx.InvalidURL) as reason:
        raise UnreachableError(str(reason) or type(reason).__name__) from reason
