"""Debian's packages for a base: chosen, fetched and checked by mmdebstrap, then read one by one.

What a base holds is taken from the packages themselves, never from the root that mmdebstrap makes
of them, so nothing of the host and no state of apt or dpkg can get in.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote

from imagesmith.findings import Finding, ImagesmithError, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SUITES = {"3.9": "bullseye", "3.11": "bookworm", "3.13": "trixie"}

# Debian has distutils, which Python dropped in 3.12, in a package of its own.
_ALSO = {"3.9": ("python3-distutils",), "3.11": ("python3-distutils",), "3.13": ()}
_ARCHIVES = "./var/cache/apt/archives/"
# What apt prints when no mirror answers.
_OUT_OF_REACH = (
    "Could not connect",
    "Could not resolve",
    "Temporary failure resolving",
    "Connection failed",
    "Connection timed out",
    "Network is unreachable",
    "Unable to connect",
)
# And what it prints of names that it does not know, or knows of other packages alone.
_UNKNOWN = re.compile(
    r"^E: (?:Unable to locate package (\S+)|Package '(\S+)' has no installation candidate)$", re.M
)
_LAST_LINES = 20


@dataclass(frozen=True)
class Package:
    """A Debian package by name and version, and the file that holds it."""

    name: str
    version: str
    path: Path

    def __str__(self) -> str:
        return f"{self.name}={self.version}"


def fetch(python: str, wanted: Iterable[str], folder: Path) -> tuple[Package, ...]:
    """Fetch Python X.Y and the wanted packages (a name may say ``{python}``) into a folder.

    They come sorted by name, with all that they depend on.

    Raises ImagesmithError: build.base-python where no suite has that Python, and what
    ``fetch_named`` raises.
    """
    if python not in SUITES:
        raise ImagesmithError(_no_such_python(python))
    names = (name.format(python=python) for name in wanted)
    return fetch_named(SUITES[python], (f"python{python}", *_ALSO[python], *names), folder)


def fetch_named(suite: str, names: Iterable[str], folder: Path) -> tuple[Package, ...]:
    """Fetch the packages of these names out of a suite into a folder, as ``fetch`` does.

    Raises ImagesmithError: build.base-tool without mmdebstrap, reach.base where no mirror answers,
    missing.debian for each name that the suite has not, build.base where mmdebstrap fails.
    """
    if shutil.which("mmdebstrap") is None:
        raise ImagesmithError(_no_mmdebstrap())
    root = folder / "root.tar"
    command = [
        *("mmdebstrap", "--variant=extract", "--architectures=amd64"),
        *(f"--include={','.join(names)}", "--skip=cleanup/apt/cache", "--format=tar"),
        *(suite, str(root)),
    ]
    folder.chmod(0o755)  # apt's own user reads there
    done = subprocess.run(
        command,
        # Its messages are read below; what it leaves when it is killed goes with the folder.
        env={**os.environ, "LC_ALL": "C", "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        log = "\n".join(done.stderr.splitlines()[-_LAST_LINES:])
        raise ImagesmithError(*_failed(suite, done.stderr), log=log)
    packages = tuple(_archives(root, folder))
    root.unlink()
    return packages


def _archives(root: Path, folder: Path) -> Iterator[Package]:
    """Take the packages out of apt's cache in a root; apt names them name_version_arch.deb."""
    with tarfile.open(root) as tar:
        found = {m.name.removeprefix(_ARCHIVES): m for m in tar if m.name.endswith(".deb")}
        for filename, member in sorted(found.items()):
            name, version, _ = unquote(filename).split("_")
            path = folder / f"{name}.deb"
            with path.open("wb") as out, _content(tar, member) as source:
                shutil.copyfileobj(source, out)
            yield Package(name, version, path)


def contents(package: Package) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Give a package's files and links, each with its bytes (b"" for a link).

    Raises ValueError where it is damaged.
    """
    from imagesmith.image.deb import opened

    with opened(package.path, "data") as tar:
        for member in tar:
            if member.issym():
                yield member, b""
            elif member.isreg() or member.islnk():
                with _content(tar, member) as source:
                    yield member, source.read()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    source = tar.extractfile(member)
    assert source is not None  # a file, or a hard link to one
    return source


def _no_such_python(python: str) -> Finding:
    return error(
        "build.base-python",
        python,
        f"no base can be made for Python {python}: Debian has {', '.join(SUITES)}",
        "use an environment of one of these, or name an image that has your Python with --base",
    )


def _no_mmdebstrap() -> Finding:
    return error(
        "build.base-tool",
        "mmdebstrap",
        "a base is made from Debian's packages by mmdebstrap, which is not on PATH",
        "apt-get install mmdebstrap, or name a base with --base",
    )


def _failed(suite: str, log: str) -> tuple[Finding, ...]:
    if any(sign in log for sign in _OUT_OF_REACH):
        return (
            error(
                "reach.base",
                suite,
                f"no mirror of Debian {suite} can be reached",
                "check the network and http_proxy, or name a base with --base",
            ),
        )
    if unknown := dict.fromkeys("".join(found) for found in _UNKNOWN.findall(log)):
        return tuple(_no_such_package(name, suite) for name in unknown)
    return (
        error(
            "build.base",
            suite,
            f"mmdebstrap could not fetch the packages of Debian {suite}",
            "see its last lines in the log, or name a base with --base",
        ),
    )


def _no_such_package(name: str, suite: str) -> Finding:
    return error(
        "missing.debian",
        name,
        f"Debian {suite} has no package {name}",
        f"`apt-cache search WORD` on a Debian {suite} names those that it has",
    )
