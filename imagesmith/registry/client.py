"""One repository of a registry, over the distribution API.

Source: OCI distribution-spec 1.1. Blobs are streamed both ways; an upload that was cut goes on
where the registry says that it stands, a download where the file ends.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import httpx

from imagesmith.image import oci
from imagesmith.registry.auth import Access
from imagesmith.registry.problems import (
    DeniedError,
    OtherDigestError,
    RefusedError,
    RegistryError,
    StoppedError,
    UnreachableError,
)
from imagesmith.registry.reference import is_loopback
from imagesmith.store import CHUNK, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from imagesmith.image.oci import Descriptor
    from imagesmith.registry.reference import Reference
    from imagesmith.store import Store

T = TypeVar("T")

_AT_A_TIME = 4  # blobs
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = (oci.INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
_ACCEPTED = ", ".join((oci.MANIFEST, DOCKER_MANIFEST, *INDEXES))
_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds before each further try
_LONGEST_PAUSE = 60.0
_PROGRESS = 1 << 20  # bytes
_CONNECT = 5.0
_SILENCE = 60.0  # seconds; a registry may copy a blob before it answers
_LONGEST_ANSWER = 16 << 20  # bytes, of a manifest too
_LONGEST_TEXT = 200  # characters of what a registry says


@contextmanager
def opened(
    reference: Reference, actions: str, siblings: Sequence[str] = ()
) -> Iterator[Repository]:
    """Open a reference's repository for ``pull`` or ``pull,push``; siblings are mounted from.

    Raises RegistryError, and ImagesmithError (usage.proxy).
    """
    from imagesmith.fetch.source import client

    names = {reference.repository: actions} | dict.fromkeys(siblings, "pull")
    access = Access(reference.host, [f"repository:{name}:{can}" for name, can in names.items()])
    with client() as http:
        http.timeout = httpx.Timeout(_SILENCE, connect=_CONNECT, pool=None)
        yield Repository(reference, http, access)


@dataclass(frozen=True)
class Answer:
    """What a registry has said, read to its end."""

    url: str  # of the request
    status: int
    headers: httpx.Headers
    content: bytes


class Repository:
    """What can be asked of one repository; safe for several threads."""

    def __init__(self, reference: Reference, http: httpx.Client, access: Access) -> None:
        self._http = http
        self._access = access
        self._origin = f"{_scheme(reference.address)}://{reference.address}"
        self._base = f"{self._origin}/v2/{reference.repository}"
        self.stopping = threading.Event()

    def persist(self, step: Callable[[], T], reached: Callable[[], int] = int) -> T:
        """Do a step, and again after a while where that may help.

        ``reached`` gives the bytes that are through: where there are many more of them than at the
        last failure, patience begins anew. Raises RegistryError, and StoppedError once
        ``stopping`` is set.
        """
        pauses, before = iter(_PAUSES), reached()
        while not self.stopping.is_set():
            try:
                return step()
            except RegistryError as bad:
                if reached() >= before + _PROGRESS:
                    pauses, before = iter(_PAUSES), reached()
                pause = next(pauses, None)
                if pause is None or not bad.passing:
                    raise
                wait = min(max(pause, bad.pause), _LONGEST_PAUSE)
            self.stopping.wait(wait)
        raise StoppedError

    def side_by_side(self, steps: Iterable[Callable[[], None]]) -> None:
        """Do several steps at a time; the first that raises stops all, and is raised."""
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="registry") as pool:
            try:
                doing = [pool.submit(step) for step in steps]
                for done in wait(doing, return_when=FIRST_EXCEPTION).done:
                    done.result()
            except BaseException:
                self.stopping.set()
                pool.shutdown(cancel_futures=True)
                raise

    def digest_of(self, wanted: str) -> str | None:
        """Give the digest of the manifest that a tag or digest names; None if there is none."""
        answer = self.send(
            "HEAD", f"{self._base}/manifests/{wanted}", headers={"Accept": _ACCEPTED}
        )
        if answer.status == 404:
            return None
        _expect(answer, 200)
        digest: str | None = answer.headers.get("Docker-Content-Digest")
        return digest

    def manifest(self, wanted: str) -> tuple[str, bytes]:
        """Give media type and bytes of a manifest, as its digest proves.

        Raises RegistryError: OtherDigestError where the bytes are others.
        """
        answer = self.send("GET", f"{self._base}/manifests/{wanted}", headers={"Accept": _ACCEPTED})
        _expect(answer, 200)
        data = answer.content
        told = answer.headers.get("Docker-Content-Digest") or sha256(data)
        for expected in (told, wanted) if wanted.startswith("sha256:") else (told,):
            if sha256(data) != expected:
                raise OtherDigestError(expected, sha256(data))
        return answer.headers.get("Content-Type", "").partition(";")[0].strip(), data

    def put_manifest(self, wanted: str, media_type: str, data: bytes) -> bool:
        """Name a manifest by its digest or by a tag; say whether it is listed with its subject.

        Raises RegistryError: OtherDigestError where it became another one.
        """
        answer = self.send(
            "PUT",
            f"{self._base}/manifests/{wanted}",
            headers={"Content-Type": media_type},
            body=lambda: (data,),
            size=len(data),
        )
        _expect(answer, 201)
        _same_digest(answer, sha256(data))
        return "OCI-Subject" in answer.headers

    def has(self, digest: str) -> bool:
        """Say whether a blob is there."""
        answer = self.send("HEAD", f"{self._base}/blobs/{digest}")
        if answer.status == 404:
            return False
        _expect(answer, 200)
        return True

    def start(self, mount: str | None, sibling: str | None) -> str | None:
        """Begin an upload and give its URL; None where the blob was mounted from the sibling."""
        url = f"{self._base}/blobs/uploads/"
        if mount and sibling:
            url += f"?mount={quote(mount)}&from={quote(sibling, safe='')}"
        answer = self.send("POST", url, headers={"Content-Length": "0"})
        if mount and sibling and answer.status == 201:
            _same_digest(answer, mount)
            return None
        _expect(answer, 202)
        return self.location(answer)

    def location(self, answer: Answer) -> str:
        """Give the URL that an answer names for the next step of an upload.

        On the registry's own host scheme and port stay ours: one behind a proxy may not know them.
        """
        own = urlsplit(self._origin)
        try:
            named = urlsplit(urljoin(answer.url, answer.headers["Location"]))
            if named.hostname == own.hostname and named.port in (own.port, None, 443):
                named = named._replace(scheme=own.scheme, netloc=own.netloc)
        except (KeyError, ValueError):
            raise RefusedError(answer.status, "and names no place for the blob") from None
        if named.scheme != "https" and named.netloc != own.netloc:
            raise RefusedError(answer.status, "and sends the blob to a place without TLS")
        return named.geturl()

    def standing(self, location: str) -> tuple[str, int] | None:
        """Ask where an upload goes on, and how many bytes of it are there; None if it is lost."""
        try:
            answer = self.send("GET", location)
        except DeniedError:
            return None
        reached = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", ""))
        if answer.status != 204 or reached is None or reached[1] == "0":
            return None
        return self.location(answer), int(reached[1]) + 1

    def append(
        self, location: str, part: range, body: Callable[[], Iterator[bytes]], *, is_all: bool
    ) -> str:
        """Send a part of a blob, and give where the upload goes on."""
        headers = {"Content-Type": "application/octet-stream"}
        if not is_all:  # some registries take no whole blob as a range
            headers["Content-Range"] = f"{part.start}-{part.stop - 1}"
        answer = self.send("PATCH", location, headers=headers, body=body, size=len(part))
        _expect(answer, 202)
        return self.location(answer)

    def commit(self, location: str, digest: str) -> None:
        """End an upload; OtherDigestError if something else is there then."""
        mark = "&" if "?" in location else "?"
        url = f"{location}{mark}digest={quote(digest)}"
        answer = self.send("PUT", url, headers={"Content-Length": "0"})
        _expect(answer, 201)
        _same_digest(answer, digest)

    def fetch(self, blob: Descriptor, store: Store, advance: Callable[[int], None]) -> None:
        """Bring a blob into the store; a further try goes on where the last one was cut."""
        with store.writer() as file:

            def step() -> None:
                for piece in self._pieces(blob, file.size):
                    file.write(piece)
                    advance(len(piece))
                    if file.size > blob.size:
                        raise OtherDigestError(blob.digest, f"more than {blob.size} bytes")

            self.persist(step, lambda: file.size)
            if file.digest != blob.digest:
                raise OtherDigestError(blob.digest, file.digest)

    def _pieces(self, blob: Descriptor, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        request = ("GET", f"{self._base}/blobs/{blob.digest}")
        with self._stream(*request, headers=headers) as response:
            goes_on = bool(start) and response.status_code == 206
            if not goes_on and response.status_code != 200:
                _expect(_read(response), 200)
            skip = 0 if goes_on else start
            for piece in response.iter_bytes():  # as it comes: what waits for more would be lost
                if self.stopping.is_set():
                    raise StoppedError
                if rest := piece[skip:]:
                    yield rest
                skip = max(0, skip - len(piece))

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: Callable[[], Any] | None = None,
        size: int | None = None,
    ) -> Answer:
        """Ask something, logged in where that is asked for; ``body`` gives it anew for each try.

        Raises UnreachableError, DeniedError (401, 403), and RefusedError where no login comes.
        """
        given = {**(headers or {})} | ({"Content-Length": str(size)} if body else {})
        with self._stream(method, url, headers=given, body=body) as response:
            return _read(response)

    @contextmanager
    def _stream(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        body: Callable[[], Any] | None = None,
    ) -> Iterator[httpx.Response]:
        with _reaching():
            response = self._opened(method, url, headers, body)
            try:
                if response.status_code in (401, 403):
                    raise DeniedError(_said(_read(response)))
                yield response
            finally:
                response.close()

    def _opened(
        self, method: str, url: str, headers: dict[str, str], body: Callable[[], Any] | None
    ) -> httpx.Response:
        """Send a request, once more with a new login where the registry asks for one."""
        own = url.startswith(f"{self._origin}/")  # nobody else gets the login
        for is_last in (False, True):
            used = self._access.header
            login = {"Authorization": used} if own and used else {}
            content = body() if body else None
            request = self._http.build_request(
                method, url, headers={**headers, **login}, content=content
            )
            response = self._http.send(
                request, stream=True, follow_redirects=method in ("GET", "HEAD")
            )
            if response.status_code != 401 or is_last or not own:
                break
            response.close()
            asked = response.headers.get_list("WWW-Authenticate")
            self._access.answer(asked, used, self._http.request)
        return response


def _scheme(address: str) -> str:
    """Choose https; plain http only where this machine's own registry speaks no TLS."""
    if not is_loopback(address):
        return "https"
    parts = urlsplit(f"//{address}")
    host, port = parts.hostname or "", parts.port or 443
    try:
        with (
            socket.create_connection((host, port), timeout=_CONNECT) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host),
        ):
            return "https"
    except ssl.SSLCertVerificationError:
        return "https"
    except OSError:  # what is wrong with it, the request itself will tell
        return "http"


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as bad:
        raise UnreachableError(str(bad) or type(bad).__name__) from bad


def _read(response: httpx.Response) -> Answer:
    """Read an answer, which should be short; RefusedError if it is not."""
    content = b""
    for piece in response.iter_bytes(CHUNK):
        content += piece
        if len(content) > _LONGEST_ANSWER:
            raise RefusedError(response.status_code, "and does not stop talking")
    return Answer(str(response.request.url), response.status_code, response.headers, content)


def _expect(answer: Answer, status: int) -> None:
    """Raise RefusedError unless the answer is the one that was needed."""
    if answer.status != status:
        raise RefusedError(answer.status, _said(answer), _asked_pause(answer))


def _same_digest(answer: Answer, expected: str) -> None:
    found = answer.headers.get("Docker-Content-Digest", expected)
    if found != expected:
        raise OtherDigestError(expected, found)


def _said(answer: Answer) -> str:
    """Give what a registry says of an error (distribution-spec, "Error Codes"), in a line."""
    try:
        (first, *_) = oci.json_object(answer.content)["errors"]
        text = f"{first.get('code', '')}: {first.get('message', '')}"
    except (ValueError, KeyError, TypeError, AttributeError):
        text = httpx.codes.get_reason_phrase(answer.status)
    printable = "".join(mark if mark.isprintable() else " " for mark in text)
    return printable[:_LONGEST_TEXT].strip(" :")


def _asked_pause(answer: Answer) -> float:
    """Give the seconds that Retry-After asks for (RFC 9110, 10.2.3), 0 if it asks for none."""
    text = answer.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except ValueError:
        return 0.0
