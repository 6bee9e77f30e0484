"""A wheel that a build made: checked against what it should be, and brought into its one form.

Sources: PyPA binary distribution format (file name, RECORD), PEP 425 and 600 (tags).
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from typing import TYPE_CHECKING

from imagesmith.image.tar import check_path

if TYPE_CHECKING:
    from imagesmith.resolve.platform import Target
    from imagesmith.wheels.source import Source

_LARGEST = 4 << 30  # bytes of a wheel's members
_MOST = 200_000  # members of one
_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell
_UNIX = 3


def finished(filename: str, data: bytes, source: Source, target: Target, glibc: str) -> bytes:
    """Give the wheel in a form that depends on its members alone.

    ``glibc`` is the one it was built with. Raises ValueError where it is not a wheel of the source,
    not for the target, or not whole.
    """
    from installer.exceptions import InstallerError
    from installer.sources import WheelFile

    _check_name(filename, source, target, glibc)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(archive)
            archive.filename = filename
            wheel = WheelFile(archive)
            wheel.validate_record()
            _check_metadata(wheel.read_dist_info("METADATA"), filename)
            return _rewritten(archive, wheel.dist_info_dir)
    except (InstallerError, zipfile.BadZipFile, zlib.error, EOFError, csv.Error) as bad:
        raise ValueError(str(bad)) from bad
    except (KeyError, NotImplementedError, RuntimeError) as bad:
        raise ValueError(f"a member cannot be read: {bad}") from bad


def identity_of(filename: str) -> tuple[str, str]:
    """Give the normalised name and the version in a wheel's file name; ValueError if it is none."""
    from packaging.utils import parse_wheel_filename

    name, version, _, _ = parse_wheel_filename(filename)
    return name, str(version)


def _check_name(filename: str, source: Source, target: Target, glibc: str) -> None:
    from packaging.utils import canonicalize_name, parse_wheel_filename
    from packaging.version import Version

    if not (filename.isascii() and filename.isprintable()) or set(filename) & set('/"\\ #'):
        raise ValueError(f"{filename!r} is no name for a wheel")
    name, version, _, tags = parse_wheel_filename(filename)
    if source.name is not None and name != canonicalize_name(source.name):
        raise ValueError(f"it became a wheel of {name}, not of {source.name}")
    if source.version is not None and version != Version(source.version):
        raise ValueError(f"it became a wheel of version {version}, not {source.version}")
    if target.rank(filename) is None:
        raise ValueError(f"it became {filename}, which does not fit Python {target.python}")
    is_pure = all(tag.platform == "any" for tag in tags)
    if not is_pure and Version(glibc) > Version(target.glibc):
        raise ValueError(
            f"it is built with glibc {glibc}, and the image's base has only {target.glibc}"
        )


def _check_members(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if len(entries) > _MOST or sum(entry.file_size for entry in entries) > _LARGEST:
        raise ValueError(f"it holds over {_LARGEST >> 20} MiB, or over {_MOST} files")
    for entry in entries:
        check_path(entry.filename.rstrip("/"))
    if len({entry.filename for entry in entries}) != len(entries):
        raise ValueError("it holds two files of one name")


def _check_metadata(text: str, filename: str) -> None:
    from packaging.metadata import parse_email
    from packaging.utils import canonicalize_name, parse_wheel_filename
    from packaging.version import Version

    raw = parse_email(text)[0]
    name, version, _, _ = parse_wheel_filename(filename)
    told = canonicalize_name(raw.get("name", "")), Version(raw.get("version", ""))
    if told != (name, version):
        raise ValueError(f"its METADATA speaks of {told[0]} {told[1]}")


def _rewritten(archive: zipfile.ZipFile, dist_info: str) -> bytes:
    """Write the zip again: sorted, the metadata last (PEP 427), without times.

    Members are stored as they are: what deflate makes of them differs from zlib to zlib.
    """
    record = f"{dist_info}/RECORD"
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    files.sort(key=lambda e: (e.filename == record, e.filename.startswith(dist_info), e.filename))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as again:
        for entry in files:
            info = zipfile.ZipInfo(entry.filename, _TIME)
            info.create_system = _UNIX
            is_program = (entry.external_attr >> 16) & 0o100
            info.external_attr = (0o100755 if is_program else 0o100644) << 16
            data = archive.read(entry)
            again.writestr(info, _sorted(data, record) if entry.filename == record else data)
    return out.getvalue()


def _sorted(data: bytes, record: str) -> bytes:
    rows = sorted(csv.reader(io.StringIO(data.decode(), newline="")), key=lambda r: r[:1])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [*(row for row in rows if row and row[0] != record), [record, "", ""]]
    )
    return text.getvalue().encode()
