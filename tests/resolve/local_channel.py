"""A conda channel of the tests' own: repodata alone, which is all that a solver reads."""

from __future__ import annotations

import base64
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from fixtures.channel import Package, write_channel

if TYPE_CHECKING:
    from pathlib import Path


PY311 = "python >=3.11,<3.12.0a0"


class LocalChannel:
    """A channel in a folder, with a record for each package that is added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._packages: list[Package] = []

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def add(self, name, version, *depends, build="0", subdir="linux-64"):
        """Add a package and write the channel anew."""
        noarch = "python" if subdir == "noarch" else ""
        self._packages.append(
            Package(name, version, build, depends=depends, subdir=subdir, noarch=noarch)
        )
        write_channel(self.folder, self._packages)

    def add_python(self, version="3.11.7"):
        self.add("python", version)

    def damage(self, change):
        """Change the text of linux-64's repodata."""
        path = self.folder / "linux-64" / "repodata.json"
        path.write_text(change(path.read_text()))


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    secret: str
    asked: list[str]

    def log_message(self, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        """Give a file to whoever has the token or the password."""
        self.asked.append(self.path)
        basic = "Basic " + base64.b64encode(f"me:{self.secret}".encode()).decode()
        path, token = self.path, f"/t/{self.secret}/"
        opened = path.startswith(token) or self.headers.get("Authorization") == basic
        file = self.folder / path.removeprefix(token).lstrip("/").removeprefix("channel/")
        status = 403 if not opened else 200 if file.is_file() else 404
        body = file.read_bytes() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            with suppress(BrokenPipeError):  # who only wanted to know whether it is there
                self.wfile.write(body)


@contextmanager
def guarded(channel: LocalChannel, secret: str):
    """Serve a channel at ``/channel`` to whoever has its secret; gives HOST:PORT and the paths
    that were asked for."""
    asked: list[str] = []
    attributes = {"folder": channel.folder, "secret": secret, "asked": asked}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), attributes))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield "{}:{}".format(*server.server_address), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
