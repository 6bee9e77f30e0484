"""A conda channel of the tests' own: repodata alone, which is all that a solver reads."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TIME = 1_600_000_000_000  # milliseconds


class LocalChannel:
    """A channel in a folder, with a record for each package that is added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: dict[str, dict[str, dict]] = {"linux-64": {}, "noarch": {}}

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def add(self, name, version, *depends, build="0", subdir="linux-64", number=0, **more):
        """Add a package and write the channel anew."""
        filename = f"{name}-{version}-{build}.conda"
        digest = hashlib.sha256(f"{subdir}/{filename}".encode()).hexdigest()
        self._records.setdefault(subdir, {})[filename] = {
            "name": name,
            "version": version,
            "build": build,
            "build_number": number,
            "depends": list(depends),
            "subdir": subdir,
            "sha256": digest,
            "md5": digest[:32],
            "size": 1000,
            "timestamp": _TIME,
            **({"noarch": "python"} if subdir == "noarch" else {}),
            **more,
        }
        for one, records in self._records.items():
            (self.folder / one).mkdir(parents=True, exist_ok=True)
            data = {"info": {"subdir": one}, "packages": {}, "packages.conda": records}
            (self.folder / one / "repodata.json").write_text(json.dumps(data))

    def add_python(self, version="3.11.7"):
        self.add("python", version)


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
