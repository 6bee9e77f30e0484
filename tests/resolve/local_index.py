"""A package index of the tests' own, on the loopback: tiny wheels, and every fault there is."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from pathlib import Path

_EPOCH = (2020, 1, 1, 0, 0, 0)


def make_wheel(folder: Path, name: str, version: str, tag="py3-none-any", requires=()) -> Path:
    """Write a wheel that holds one module of its own name."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {requirement}" for requirement in requires),
    ]
    members = {
        f"{name.replace('-', '_')}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**members, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(member, _EPOCH), text)
    return path


class NoMaker:
    """Can make a wheel of nothing."""

    def make(self, origin):
        subject = f"{origin.name}=={origin.version}"
        raise ImagesmithError(error("build.sdist", subject, "it cannot be built", "do without"))


class LocalIndex:
    """A simple index (PEP 503 and 691) over a folder; ``faults`` by path or project name."""

    def __init__(self, folder: Path, *, speaks_json: bool) -> None:
        self.folder = folder
        self.speaks_json = speaks_json
        self.faults: dict[str, str] = {}
        self.password: tuple[str, str] | None = None
        self.hashes = True
        self.requests: list[str] = []
        self.released = threading.Event()  # ends the requests that hang
        self.netloc = ""

    @property
    def url(self) -> str:
        return f"http://{self.netloc}/simple"

    def wheel(self, name: str, version: str, tag="py3-none-any", requires=()) -> Path:
        return make_wheel(self.folder, name, version, tag, requires)

    def sdist(self, name: str, version: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}-{version}.tar.gz"
        path.write_bytes(b"never opened")
        return path

    def page(self, project: str) -> tuple[str, bytes] | None:
        """Give the project's page: its content type and bytes; None if there is no such project."""
        files = sorted(
            file
            for file in self.folder.glob("*")
            if file.name.partition("-")[0].lower().replace("_", "-") == project
        )
        if not files:
            return None
        if self.speaks_json:
            entries = [
                {"filename": f.name, "url": f"../../files/{f.name}", "hashes": self._hashes(f)}
                for f in files
            ]
            answer = {"meta": {"api-version": "1.0"}, "name": project, "files": entries}
            return "application/vnd.pypi.simple.v1+json", json.dumps(answer).encode()
        links = [f'<a href="../../files/{f.name}{self._fragment(f)}">{f.name}</a>' for f in files]
        return "text/html", f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()

    def _hashes(self, file: Path) -> dict[str, str]:
        return {"sha256": _sha256(file)} if self.hashes else {}

    def _fragment(self, file: Path) -> str:
        return f"#sha256={_sha256(file)}" if self.hashes else ""


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    index: LocalIndex

    def log_message(self, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.index.requests.append(self.path)
        name = self.path.rstrip("/").rpartition("/")[2]
        match self.index.faults.get(name):
            case "hang":
                self.index.released.wait(60)
            case "500":
                self.answer(500, "text/plain", b"out of order")
            case "html":
                self.answer(200, "text/html", b"<html><body>Please log in<br></html>")
            case "binary":
                self.answer(200, "application/octet-stream", b"\x00\x01")
            case _ if not self.authorized():
                self.answer(401, "text/plain", b"who are you?")
            case _:
                self.give(name)

    def give(self, name: str) -> None:
        if self.path.startswith("/files/"):
            self.answer(200, "application/zip", (self.index.folder / name).read_bytes())
        elif page := self.index.page(name):
            self.answer(200, *page)
        else:
            self.answer(404, "text/plain", b"no such project")

    def authorized(self) -> bool:
        if self.index.password is None:
            return True
        expected = base64.b64encode(":".join(self.index.password).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {expected}"

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def local_index(folder: Path, *, speaks_json: bool = False):
    """Serve a folder's wheels until the block ends."""
    index = LocalIndex(folder, speaks_json=speaks_json)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"index": index}))
    server.daemon_threads = True
    index.netloc = "{}:{}".format(*server.server_address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield index
    finally:
        index.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
