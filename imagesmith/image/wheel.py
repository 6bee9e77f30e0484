"""A wheel as the tar members of its installation; nothing is unpacked on the disk.

Sources: PyPA binary distribution format (wheels, ``.data`` schemes, ``#!python``), recording
installed projects (RECORD, INSTALLER), entry points. What installing means is PyPA's
``installer``'s word; where the files go and in which order is ours.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from imagesmith.image.tar import Deflated, Kind, Member, contents, file_member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from installer.sources import WheelFile

    from imagesmith.image.bytecode import ByteCode

ENVIRONMENT = "opt/env"
_SHEBANG = b"#!python"
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_PLAIN = (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)  # 0: the archive says nothing of it
_LOCAL = struct.Struct("<26x2H")  # the header before each entry: how long name and extra are
# Members are read in the order of their paths, so wheel after wheel: few need be open at a time.
_OPEN_AT_A_TIME = 16


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
        """Give the folder of an installation scheme; ValueError if there is none of that name."""
        folders = {
            "purelib": self.packages,
            "platlib": self.packages,
            "scripts": f"{ENVIRONMENT}/bin",
            "data": ENVIRONMENT,
            "headers": f"{ENVIRONMENT}/include/site/python{self.python}/{distribution}",
        }
        if name not in folders:
            raise ValueError(f"it has files of an unknown installation scheme, {name!r}")
        return folders[name]


def archives() -> Callable[[Path], zipfile.ZipFile]:
    """Give a function that opens zip files and keeps the few open that were asked for last."""
    return lru_cache(_OPEN_AT_A_TIME)(zipfile.ZipFile)


def check_wheel(wheel: Path) -> None:
    """Raise ValueError where a member of the zip cannot be read as it was written."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError) as damage:
        raise ValueError(str(damage)) from damage
    if bad is not None:
        raise ValueError(f"{bad!r} in it is damaged")


def wheel_members(
    wheel: Path,
    filename: str,
    site: Site,
    bytecode: ByteCode,
    opened: Callable[[Path], zipfile.ZipFile],
) -> Iterator[Member]:
    """Give the members that installing a wheel brings, its byte code among them.

    ``wheel`` is a file of any name, ``filename`` the wheel's own name, ``bytecode`` is
    by its path below site-packages, ``opened`` what ``archives`` gives. Raises ValueError
    for a wheel that is none, or whose members would leave the environment.
    """
    from installer.exceptions import InstallerError

    try:
        yield from _installation(wheel, filename, site, bytecode, opened)
    except KeyError as bad:
        raise ValueError(bad.args[0]) from bad
    except (InstallerError, zipfile.BadZipFile, zlib.error, EOFError, csv.Error) as bad:
        raise ValueError(str(bad)) from bad


def _installation(
    wheel: Path,
    filename: str,
    site: Site,
    bytecode: ByteCode,
    opened: Callable[[Path], zipfile.ZipFile],
) -> Iterator[Member]:
    from installer.sources import WheelFile

    archive = opened(wheel)
    archive.filename = filename  # in the store a blob bears its digest; installer reads the name
    source = WheelFile(archive)
    record = source.dist_info_dir + "/RECORD"
    # By path, since a zip may hold a name twice; then the last one counts, as when it is unpacked.
    files: dict[str, Member] = {}
    for entry in archive.infolist():
        if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _READABLE:
            raise ValueError(f"{entry.filename!r} is encrypted, or compressed in an uncommon way")
        _check_mode(entry)
        if not entry.is_dir() and entry.filename not in (record, record + ".jws"):
            member = _member(wheel, entry, source, site, opened)
            files[member.path] = member
    files.update((script.path, script) for script in _scripts(source, site))
    installer = f"{site.packages}/{source.dist_info_dir}/INSTALLER"
    files[installer] = file_member(installer, b"imagesmith\n")
    compiled = [*bytecode.members(f"{site.packages}/")]
    yield from files.values()
    yield from compiled
    hashes = _hashes(archive.read(record).decode())
    yield _record([*files.values()], compiled, hashes, f"{site.packages}/{record}", site)


def _check_mode(entry: zipfile.ZipInfo) -> None:
    """Raise ValueError for what is no plain file; a link comes as a file that holds its target."""
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in _PLAIN:
        raise ValueError(f"{entry.filename!r} is a device or a pipe")
    if not entry.is_dir() and mode & (stat.S_ISUID | stat.S_ISGID):
        raise ValueError(f"{entry.filename!r} is setuid or setgid")


def _member(
    wheel: Path,
    entry: zipfile.ZipInfo,
    source: WheelFile,
    site: Site,
    opened: Callable[[Path], zipfile.ZipFile],
) -> Member:
    path, scheme = _place(entry.filename, source.distribution, site)
    mode = 0o755 if scheme == "scripts" or (entry.external_attr >> 16) & stat.S_IXUSR else 0o644
    if scheme == "scripts":
        with opened(wheel).open(entry) as script:  # most are short, some are programs of many MB
            if script.read(len(_SHEBANG)) == _SHEBANG:
                _, newline, body = script.read().partition(b"\n")
                data = b"#!" + site.interpreter.encode() + newline + body
                return file_member(path, data, mode)
    return entry_member(path, mode, wheel, entry, opened)


def entry_member(
    path: str,
    mode: int,
    archive: Path,
    entry: zipfile.ZipInfo,
    opened: Callable[[Path], zipfile.ZipFile],
) -> Member:
    """Give a zip's entry as a member, as it lies in the archive where it can be read so."""
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        place = _offset(opened(archive), entry)
        deflated = Deflated(archive, place, entry.compress_size, entry.CRC)
        return Member(path, Kind.FILE, mode, entry.file_size, deflated=deflated)

    def open_entry() -> BinaryIO:
        return cast("BinaryIO", opened(archive).open(entry))

    return Member(path, Kind.FILE, mode, entry.file_size, open_entry)


def _offset(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Give where an entry's data begin (APPNOTE.TXT, 4.3.7): after its header of its own."""
    assert archive.fp is not None
    header = os.pread(archive.fp.fileno(), _LOCAL.size, entry.header_offset)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\3\4"):
        raise ValueError(f"{entry.filename!r} is not where its directory has it")
    name, extra = _LOCAL.unpack(header)
    return int(entry.header_offset + _LOCAL.size + name + extra)


def _place(name: str, distribution: str, site: Site) -> tuple[str, str]:
    """Give a wheel's member its place in the image, and the scheme that put it there."""
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return f"{site.packages}/{name}", "purelib"
    scheme, _, path = rest.partition("/")
    return f"{site.scheme(scheme, distribution)}/{path}", scheme


def _scripts(source: WheelFile, site: Site) -> Iterator[Member]:
    from installer.scripts import Script
    from installer.utils import parse_entrypoints

    if "entry_points.txt" not in source.dist_info_filenames:
        return
    text = source.read_dist_info("entry_points.txt")
    try:
        points = [*parse_entrypoints(text)]
    except (AssertionError, configparser.Error) as bad:
        raise ValueError("its entry_points.txt is not well-formed") from bad
    for name, module, attribute, section in points:
        script = Script(name, module, attribute, section)
        _, data = script.generate(site.interpreter, "posix")
        yield file_member(f"{site.scheme('scripts', '')}/{name}", data, 0o755)


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
    digest = hashlib.sha256()
    for chunk in contents(member):
        digest.update(chunk)
    return "sha256=" + base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def _hashes(record: str) -> dict[str, str]:
    """Read the hashes in a wheel's RECORD; like pip, pass over rows that say nothing."""
    rows = csv.reader(io.StringIO(record, newline=""))
    return {row[0]: row[1] for row in rows if len(row) > 1}
