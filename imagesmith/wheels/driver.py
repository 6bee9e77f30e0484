"""The inside of a build: unpacks a source tree and calls one hook of its build backend (PEP 517).

The build environment's interpreter runs this text, with the standard library alone (Python 3.9+):
``python -c TEXT HOOK ORDER``. ORDER is JSON: ``backend``, ``backend_path`` and ``project``, the
folder of the project in the tree. The tree comes as a tar on stdin. The answer goes to stdout: of
``get_requires_for_build_wheel`` a JSON list, of ``build_wheel`` the wheel's name, a newline and its
bytes. What the backend prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

# Fixed, since compilers and backends write it into what they make.
TREE, WHEELS = Path("/tmp/build/source"), Path("/tmp/build/wheels")  # noqa: S108


def main(hook: str, order: dict[str, Any]) -> None:
    """Call the hook, and answer on what was stdout."""
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        _unpack()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        project = TREE / order["project"]
        os.chdir(project)
        own = [str(project / path) for path in order["backend_path"]]
        sys.path[:] = [*own, *filter(None, sys.path)]  # the empty one is the project's folder
        backend = _backend(order["backend"])
        if hook == "build_wheel":
            _build(backend, answer)
        else:
            ask: Any = getattr(backend, hook, list)  # a backend need not have it
            answer.write(json.dumps(list(ask())).encode())


def _unpack() -> None:
    """Unpack stdin, all of it as old as zip files can tell and some backends insist on."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])

    def dated(members: tarfile.TarFile) -> Any:
        for member in members:
            member.mtime = epoch
            yield member

    TREE.mkdir(parents=True)
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        # Newer Pythons ask for a filter; nothing here is anybody else's.
        tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        tar.extractall(TREE, dated(tar))  # noqa: S202


def _backend(name: str) -> Any:
    module, _, attributes = name.partition(":")
    return reduce(getattr, filter(None, attributes.split(".")), import_module(module))


def _build(backend: Any, answer: Any) -> None:
    WHEELS.mkdir()
    name = backend.build_wheel(str(WHEELS))
    answer.write(os.fsencode(name) + b"\n")
    with (WHEELS / name).open("rb") as wheel:
        shutil.copyfileobj(wheel, answer)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
