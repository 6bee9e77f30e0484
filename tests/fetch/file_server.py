"""A file server of the tests' own, on the loopback, with every fault there is."""

from __future__ import annotations

import base64
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Files by name; ``faults`` holds, by name, what each coming GET meets, the last for good."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.password: tuple[str, str] | None = None
        self.knows_head = True
        self.requests: list[str] = []  # the names that were asked for with GET
        self.asked = threading.Event()
        self.released = threading.Event()  # ends the requests that hang
        self.netloc = ""

    def url(self, name: str) -> str:
        return f"http://{self.netloc}/{name}"

    def fault(self, name: str) -> str:
        coming = self.faults.get(name, [""])
        return coming.pop(0) if len(coming) > 1 else coming[0]


class _Handler(BaseHTTPRequestHandler):
    server_of_files: FileServer

    def log_message(self, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        files = self.server_of_files
        name = self.path[1:]
        if files.knows_head and name in files.files:
            self.start(200, len(files.files[name]))
        else:
            self.start(405, 0)

    def do_GET(self) -> None:
        files = self.server_of_files
        name = self.path[1:]
        files.requests.append(name)
        files.asked.set()
        fault = files.fault(name)
        if not self.authorized():
            self.start(401, 0)
        elif fault.isdigit():
            self.start(int(fault), 0)
        elif fault.startswith("to:"):
            self.send_response(302)
            self.send_header("Location", fault[3:])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif name not in files.files:
            self.start(404, 0)
        else:
            self.give(files.files[name], fault)

    def give(self, data: bytes, fault: str) -> None:
        self.start(200, len(data))
        if fault in ("cut", "hang"):
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            if fault == "hang":
                self.server_of_files.released.wait(60)
            self.close_connection = True
        else:
            self.wfile.write(b"other" + data[5:] if fault == "changed" else data)

    def start(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def authorized(self) -> bool:
        password = self.server_of_files.password
        if password is None:
            return True
        expected = base64.b64encode(":".join(password).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {expected}"


@contextmanager
def file_server():
    """Serve files until the block ends."""
    files = FileServer()
    handler = type("Handler", (_Handler,), {"server_of_files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    files.netloc = "{}:{}".format(*server.server_address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield files
    finally:
        files.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
