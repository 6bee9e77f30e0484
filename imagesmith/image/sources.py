"""The byte code of Python sources that lie on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from zipfile import ZipFile, ZipInfo

from imagesmith.partial import scratch
from imagesmith.store import sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagesmith.image.bytecode import ByteCode
    from imagesmith.image.tar import Member


class Compiler(Protocol):
    """Gives the byte code of a zip of sources, by the same paths."""

    def __call__(self, sources: Path, digest: str, prefix: str) -> ByteCode:
        """Compile a zip with this digest as it will lie below ``prefix``, absolute or empty."""


def byte_code(sources: Mapping[str, Path], compiler: Compiler) -> Iterator[Member]:
    """Give the byte code of sources by their path in the image."""
    with scratch() as folder:
        zipped = folder / "sources.zip"
        with ZipFile(zipped, "w") as archive:
            for path, source in sorted(sources.items()):
                archive.writestr(ZipInfo(path), source.read_bytes())
        return compiler(zipped, sha256_file(zipped), "").members()
