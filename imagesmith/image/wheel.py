"""A wheel as the tar members of its installation; nothing is unpacked on the disk.

Sources: PyPA binary distribution format (wheels, ``.data`` schemes, ``#!python``), recording
installed projects (RECORD, INSTALLER), entry points. What installing means is PyPA's
``installer``'s word; where the files go and in which order is ours.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import stat
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from imagesmith.image.tar import Kind, Member, file_member
from imagesmith.store import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from installer.sources import WheelFile

ENVIRONMENT = "opt/env"
_SHEBANG = b"#!python"


@dataclass(frozen=True)
class Site:
    """Where an environment of one Python minor version keeps things, relative to the image."""

    python: str

    @property
    def packages(self) -> str:
        """The folder of pure and platform libraries: both schemes are one in a venv."""
        return f"{ENVIRONMENT}/lib/python{self.python}/site-packages"

    @property
    def interpreter(self) -> str:
        """The absolute path of the environment's Python inside the image."""
        return f"/{ENVIRONMENT}/bin/python"

    def scheme(self, name: str, distribution: str) -> str:
        """Give the folder of an installation scheme; KeyError if the wheel names an unknown one."""
        return {
            "purelib": self.packages,
            "platlib": self.packages,
            "scripts": f"{ENVIRONMENT}/bin",
            "data": ENVIRONMENT,
            "headers": f"{ENVIRONMENT}/include/site/python{self.python}/{distribution}",
        }[name]


def wheel_members(wheel: Path, filename: str, site: Site, bytecode: Path) -> Iterator[Member]:
    """Give the members that installing a wheel brings, its byte code among them.

    ``wheel`` is a file of any name, ``filename`` the wheel's own name, ``bytecode`` a zip of .pyc
    files by their path below site-packages. Raises ValueError for a wheel whose members would
    leave the environment, and zipfile.BadZipFile or KeyError for one that is none.
    """
    from installer.sources import WheelFile

    archive = zipfile.ZipFile(wheel)
    archive.filename = filename  # in the store a blob bears its digest; installer reads the name
    source = WheelFile(archive)
    record = source.dist_info_dir + "/RECORD"
    files = [
        *(
            _member(archive, entry, source, site)
            for entry in archive.infolist()
            if not entry.is_dir() and entry.filename not in (record, record + ".jws")
        ),
        *_scripts(source, site),
        file_member(f"{site.packages}/{source.dist_info_dir}/INSTALLER", b"imagesmith\n"),
    ]
    compiled = [*_bytecode(bytecode, site)]
    hashes = {path: digest for path, digest, _size in csv.reader(_lines(archive, record))}
    yield from files
    yield from compiled
    yield _record(files, compiled, hashes, f"{site.packages}/{record}", site)


def _member(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, source: WheelFile, site: Site
) -> Member:
    path, scheme = _place(entry.filename, source.distribution, site)
    mode = 0o755 if scheme == "scripts" or (entry.external_attr >> 16) & stat.S_IXUSR else 0o644
    if scheme == "scripts":
        return file_member(path, _with_shebang(archive.read(entry), site), mode)

    def open_entry() -> BinaryIO:
        return cast("BinaryIO", archive.open(entry))

    return Member(path, Kind.FILE, mode, entry.file_size, open_entry)


def _place(name: str, distribution: str, site: Site) -> tuple[str, str]:
    """Give a wheel's member its place in the image, and the scheme that put it there."""
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return f"{site.packages}/{name}", "purelib"
    scheme, _, path = rest.partition("/")
    return f"{site.scheme(scheme, distribution)}/{path}", scheme


def _with_shebang(script: bytes, site: Site) -> bytes:
    if not script.startswith(_SHEBANG):
        return script
    _, newline, body = script.partition(b"\n")
    return b"#!" + site.interpreter.encode() + newline + body


def _scripts(source: WheelFile, site: Site) -> Iterator[Member]:
    from installer.scripts import Script
    from installer.utils import parse_entrypoints

    if "entry_points.txt" not in source.dist_info_filenames:
        return
    for name, module, attribute, section in parse_entrypoints(
        source.read_dist_info("entry_points.txt")
    ):
        script = Script(name, module, attribute, section)
        _, data = script.generate(site.interpreter, "posix")
        yield file_member(f"{site.scheme('scripts', '')}/{name}", data, 0o755)


def _bytecode(bytecode: Path, site: Site) -> Iterator[Member]:
    archive = zipfile.ZipFile(bytecode)
    for entry in archive.infolist():
        yield file_member(f"{site.packages}/{entry.filename}", archive.read(entry))


def _record(
    files: list[Member], compiled: list[Member], hashes: dict[str, str], path: str, site: Site
) -> Member:
    """Make the installation's RECORD; byte code stands in it without a hash, as pip writes it."""
    rows = [(_relative(path, site), "", "")]
    rows += [(_relative(member.path, site), "", "") for member in compiled]
    for member in files:
        name = _relative(member.path, site)
        rows.append((name, hashes.get(name) or _hash(member), str(member.size)))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    return file_member(path, text.getvalue().encode())


def _relative(path: str, site: Site) -> str:
    if path.startswith(site.packages + "/"):
        return path[len(site.packages) + 1 :]
    up = len(PurePosixPath(site.packages).parts) - len(PurePosixPath(ENVIRONMENT).parts)
    return "../" * up + path[len(ENVIRONMENT) + 1 :]


def _hash(member: Member) -> str:
    assert member.open is not None
    digest = hashlib.sha256()
    with member.open() as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return "sha256=" + base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def _lines(archive: zipfile.ZipFile, name: str) -> list[str]:
    return archive.read(name).decode().splitlines()
