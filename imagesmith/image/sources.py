"""The byte code of Python sources that lie on the disk."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol
from zipfile import ZipFile, ZipInfo

from imagesmith.image.tar import Member, file_member
from imagesmith.store import sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Compiler(Protocol):
    """Gives the byte code of a zip of sources: a zip of .pyc files by the same paths."""

    def __call__(self, sources: Path, digest: str, prefix: str) -> Path:
        """Compile a zip with this digest as it will lie below ``prefix``, absolute or empty."""


def byte_code(sources: Mapping[str, Path], compiler: Compiler) -> Iterator[Member]:
    """Give the byte code of sources by their path in the image."""
    with TemporaryDirectory() as folder:
        zipped = Path(folder, "sources.zip")
        with ZipFile(zipped, "w") as archive:
            for path, source in sorted(sources.items()):
                archive.writestr(ZipInfo(path), source.read_bytes())
        compiled = compiler(zipped, sha256_file(zipped), "")
    with ZipFile(compiled) as archive:
        for entry in archive.infolist():
            yield file_member(entry.filename, archive.read(entry))
