"""What an ELF file says that the loader has to find for it. Nothing is run, and no byte is trusted.

Sources: System V ABI, chapters 4 and 5 (ELF-64 headers, the dynamic section), and the Linux
Standard Base, 10.7 (symbol versions).
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Buffer = bytes | mmap.mmap
_Segments = Sequence[tuple[int, int, int, int]]

_MAGIC = b"\x7fELF\x02\x01"  # of 64 bits, little-endian
_X86_64 = 62
_HEADER = struct.Struct("<18xH12xQ14x2H")  # machine; offset, size and number of program headers
_SEGMENT = struct.Struct("<I4x2Q8xQ16x")  # type, offset in the file, address, size in the file
_ENTRY = struct.Struct("<qQ")  # tag, value
_NEED = struct.Struct("<2x H 4x 2I")  # number, offset of auxiliary entries, offset of the next
_AUXILIARY = struct.Struct("<8x2I")  # name, offset of the next
_LOAD, _DYNAMIC = 1, 2
_END, _NEEDED, _STRTAB, _STRSZ, _SONAME = 0, 1, 5, 10, 14
_VERNEED, _VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
# More than any file has: a bound for the time that a made-up one can take.
_MOST = 1 << 16
_LONGEST = 4096  # bytes of a library's name
_GLIBC = re.compile(r"GLIBC_(\d{1,4})\.(\d{1,4})(\.\d+)?")


class ElfError(ValueError):
    """The file is not an ELF file for x86-64 with a dynamic section, or is damaged."""


@dataclass(frozen=True)
class Elf:
    """What a file asks of the loader.

    ``needed`` are DT_NEEDED, ``soname`` is DT_SONAME ("" where there is none), ``glibc`` the newest
    version X.Y of glibc's symbols that it uses ((0, 0) for none), ``is_module`` says whether it
    defines a Python module (it names a PyInit function).
    """

    needed: tuple[str, ...]
    soname: str
    glibc: tuple[int, int]
    is_module: bool


def read(data: Buffer) -> Elf:
    """Read the dynamic section of an ELF file; ElfError if it is none, whatever its bytes are."""
    try:
        return _read(data)
    except (struct.error, IndexError, OverflowError) as bad:
        raise ElfError(f"it is damaged: {bad}") from bad


def _read(data: Buffer) -> Elf:
    segments = [*_segments(data)]
    entries = [*_entries(data, segments)]
    values = dict(entries)
    names = _names(data, segments, values)
    versions = _versions(data, segments, values, names)
    return Elf(
        needed=tuple(_text(names, value) for tag, value in entries if tag == _NEEDED),
        soname=_text(names, values[_SONAME]) if _SONAME in values else "",
        glibc=max(map(_glibc, versions), default=(0, 0)),
        is_module=b"\0PyInit" in names,
    )


def _segments(data: Buffer) -> Iterator[tuple[int, int, int, int]]:
    """Give the type, offset, address and size of each segment."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise ElfError("it is no ELF file of 64 bits")
    machine, offset, size, number = _HEADER.unpack_from(data)
    if machine != _X86_64 or size != _SEGMENT.size:
        raise ElfError("it is not for x86-64")
    for at in range(number):
        yield _SEGMENT.unpack_from(data, offset + at * size)


def _entries(data: Buffer, segments: _Segments) -> Iterator[tuple[int, int]]:
    """Give the tags and values of the dynamic section."""
    for kind, offset, _, size in segments:
        if kind == _DYNAMIC:
            for at in range(min(size // _ENTRY.size, _MOST)):
                tag, value = _ENTRY.unpack_from(data, offset + at * _ENTRY.size)
                if tag == _END:
                    return
                yield tag, value
            return
    raise ElfError("it has no dynamic section")


def _place(segments: _Segments, address: int) -> int:
    """Give where in the file an address is."""
    for kind, offset, begin, size in segments:
        if kind == _LOAD and begin <= address < begin + size:
            return offset + address - begin
    raise ElfError(f"its address {address:#x} is not in the file")


def _names(data: Buffer, segments: _Segments, values: Mapping[int, int]) -> bytes:
    """Give the table of names."""
    if _STRTAB not in values or _STRSZ not in values:
        raise ElfError("it has no names")
    begin = _place(segments, values[_STRTAB])
    return data[begin : begin + values[_STRSZ]]


def _text(names: bytes, at: int) -> str:
    end = names.find(b"\0", at, at + _LONGEST)
    if end < 0:
        raise ElfError("it has a name without an end")
    return names[at:end].decode(errors="replace")


def _versions(
    data: Buffer, segments: _Segments, values: Mapping[int, int], names: bytes
) -> Iterator[str]:
    """Give the versions of symbols that it needs, such as GLIBC_2.34."""
    if _VERNEED not in values:
        return
    at, left = _place(segments, values[_VERNEED]), _MOST
    for _ in range(min(values.get(_VERNEEDNUM, 0), _MOST)):
        number, first, following = _NEED.unpack_from(data, at)
        entry = at + first
        for _ in range(number):
            left -= 1
            name, step = _AUXILIARY.unpack_from(data, entry)
            yield _text(names, name)
            entry += step
        if not following or left < 0:
            return
        at += following


def _glibc(version: str) -> tuple[int, int]:
    match = _GLIBC.fullmatch(version)
    return (int(match[1]), int(match[2])) if match else (0, 0)
