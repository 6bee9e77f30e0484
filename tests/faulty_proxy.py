"""A proxy of the tests' own before a registry: it counts what passes, and makes every fault."""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_KINDS = {
    "manifests": re.compile(r"/v2/.+/manifests/"),
    "uploads": re.compile(r"/v2/.+/blobs/uploads/"),
    "blobs": re.compile(r"/v2/.+/blobs/sha256:"),
}


class FaultyProxy:
    """``faults`` holds, by ``METHOD kind``, what each coming request meets, the last for good.

    A fault is "" (none), a status, ``cut:N`` (the connection ends after N bytes of the body, sent
    or received), ``keep:N`` (likewise, but the registry keeps the N bytes that it got), ``lose:N``
    (likewise, but the registry sees nothing of it, as behind a proxy that waits for the whole
    request), ``lie`` (another Docker-Content-Digest, another body), or ``subject`` (an OCI-Subject
    is answered, as by a registry that lists referrers).
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.address = ""
        self.faults: dict[str, list[str]] = {}
        self.refused: dict[str, str] = {}  # a header that a kind of request may not have, else 416
        self.headers: dict[str, str] = {}  # sent with a fault that is a status
        self.requests: list[str] = []
        self.logins: list[str | None] = []
        self.received = 0  # bytes of bodies of requests
        self.sent = 0  # bytes of bodies of answers
        self.moved: dict[str, str] = {}  # uploads that went on without their client
        self.lock = threading.Lock()

    def meet(self, method: str, path: str, headers) -> str:
        """Note a request and give its fault."""
        kind = next((kind for kind, form in _KINDS.items() if form.match(path)), "other")
        with self.lock:
            self.requests.append(f"{method} {kind}")
            if self.refused.get(f"{method} {kind}", "none") in headers:
                return "416"
            coming = self.faults.get(f"{method} {kind}", [""])
            return coming.pop(0) if len(coming) > 1 else coming[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def log_message(self, *args) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _do(self) -> None:
        self.proxy.logins.append(self.headers.get("Authorization"))
        fault = self.proxy.meet(self.command, self.path, self.headers)
        if fault.isdigit():
            self._answer(int(fault), self.proxy.headers, b"")
            self.close_connection = True
            return
        self.path = self.proxy.moved.get(self.path, self.path)
        kind, _, limited = fault.partition(":")
        limit = int(limited) if limited else None
        body = self._body(limit, kind)
        if body is None:
            return
        status, headers, data = self._asked(body)
        if fault == "lie":
            headers = {**headers, "Docker-Content-Digest": "sha256:" + "0" * 64}
            data = b"other" + data[5:]
        if fault == "subject":
            headers = {**headers, "OCI-Subject": "sha256:" + "0" * 64}
        self._answer(status, headers, data, limit if self.command == "GET" else None)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._do
        raise AttributeError(name)

    def _body(self, limit: int | None, kind: str) -> bytes | None:
        length = int(self.headers.get("Content-Length") or 0)
        wanted = min(length, limit) if limit is not None else length
        body = self.rfile.read(wanted)
        self.proxy.received += len(body)
        if wanted < length or (limit is not None and self.command != "GET"):
            if kind == "keep":
                self._have_a_part_kept(body)
            elif kind == "cut":
                self._pass_a_part_on(body)
            self.close_connection = True
            self.connection.close()
            return None
        return body

    def _pass_a_part_on(self, body: bytes) -> None:
        """Let the registry see the same cut."""
        upstream = self._upstream()
        upstream.putrequest(self.command, self.path, skip_host=True)
        self._put_headers(upstream)
        upstream.endheaders()
        upstream.send(body)
        upstream.close()

    def _have_a_part_kept(self, body: bytes) -> None:
        """Have the registry take what came as a whole request, which its client does not learn."""
        before = self.path
        self.headers.replace_header("Content-Length", str(len(body)))
        _, headers, _ = self._asked(body)
        place = urlsplit(headers["Location"])
        self.proxy.moved[before] = f"{place.path}?{place.query}"

    def _asked(self, body: bytes):
        upstream = self._upstream()
        upstream.putrequest(self.command, self.path, skip_host=True)
        self._put_headers(upstream)
        upstream.endheaders(body or None)
        response = upstream.getresponse()
        data = response.read()
        headers = {k: v for k, v in response.getheaders() if k.lower() != "transfer-encoding"}
        upstream.close()
        return response.status, headers, data

    def _upstream(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.proxy.upstream, timeout=30)

    def _put_headers(self, upstream: http.client.HTTPConnection) -> None:
        for name, value in self.headers.items():
            upstream.putheader(name, value)

    def _answer(self, status: int, headers, data: bytes, limit: int | None = None) -> None:
        self.send_response_only(status)
        given = {"Content-Length": str(len(data)), **headers}
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            part = data if limit is None else data[:limit]
            self.wfile.write(part)
            self.wfile.flush()
            self.proxy.sent += len(part)
        if limit is not None:
            self.close_connection = True


@contextmanager
def faulty_proxy(upstream: str, certificate=None):
    """Stand before a registry until the block ends; with TLS if there is a certificate (PEM)."""
    proxy = FaultyProxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    proxy.address = "{}:{}".format(*server.server_address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
