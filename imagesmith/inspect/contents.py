"""What the layers of an image hold, and how many bytes each thing has there.

A layer is read once, as a stream, and what it holds is remembered by its diff id. Everything is
counted as the layer's tar has it, headers and padding included: so the parts add up to the layer,
and the layers to the image.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from imagesmith.image.find import damaged
from imagesmith.image.gunzip import gunzip
from imagesmith.image.hashed import Hashed
from imagesmith.inspect.owners import Claims, Kind, Owner, is_record
from imagesmith.store import CHUNK, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from imagesmith.image.oci import Image, Layer
    from imagesmith.store import Store

_KIND = "contents"
# Part of every key: raise it when a layer is to be read otherwise.
_RECIPE = 1
_BAD = (ValueError, OverflowError, EOFError, OSError, tarfile.TarError)
_NAMED = 3  # of what a layer holds
_LONGEST = 64 << 20  # bytes of a record; what is longer is none


@dataclass(frozen=True)
class Part:
    """What one owner has in a layer: bytes of its tar, those of byte code apart."""

    owner: Owner
    files: int
    byte_code: int

    @property
    def size(self) -> int:
        """All of it, in bytes."""
        return self.files + self.byte_code


@dataclass(frozen=True)
class Contents:
    """A layer and its parts, the biggest first."""

    layer: Layer
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """The bytes of the layer's tar."""
        return sum(part.size for part in self.parts)

    @property
    def holds(self) -> str:
        """What it holds, in a line: its distributions, the biggest by name; else what it is."""
        names = [str(part.owner) for part in self.parts if part.owner.name]
        names = names or [str(part.owner) for part in self.parts]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + more


def contents(image: Image, store: Store) -> tuple[Contents, ...]:
    """Give what each layer of an image holds.

    Raises ImagesmithError: build.damaged where a layer is not what its digest says, build.store.
    """
    return tuple(Contents(layer, _parts(image, layer, store)) for layer in image.layers)


def gathered(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Put together what each owner has, the biggest first."""
    files: Counter[Owner] = Counter()
    byte_code: Counter[Owner] = Counter()
    for part in parts:
        files[part.owner] += part.files
        byte_code[part.owner] += part.byte_code
    found = (Part(owner, files[owner], byte_code[owner]) for owner in files)
    return tuple(sorted(found, key=lambda part: (-part.size, str(part.owner))))


def _parts(image: Image, layer: Layer, store: Store) -> tuple[Part, ...]:
    key = key_of(_KIND, _RECIPE, layer.diff_id)
    known = store.recall(_KIND, key)
    if known is not None:
        return tuple(map(_part, known))
    try:
        found = gathered(_read(image, layer))
    except _BAD as bad:
        raise damaged(image.reference, bad) from bad
    try:
        store.remember(_KIND, key, [{**asdict(p.owner), **_bytes(p)} for p in found])
    except OSError as bad:
        raise store.failure(bad) from bad
    return found


def _bytes(part: Part) -> dict[str, int]:
    return {"files": part.files, "byte_code": part.byte_code}


def _part(fact: dict[str, object]) -> Part:
    owner = Owner(Kind(str(fact["kind"])), str(fact["name"]), str(fact["version"]))
    return Part(owner, cast("int", fact["files"]), cast("int", fact["byte_code"]))


def _read(image: Image, layer: Layer) -> list[Part]:
    """Read a layer, file by file; ValueError if it is not the tar that it is said to be."""
    claims = Claims()
    with gunzip(image.blob(layer.blob.digest)) as plain:
        stream = Hashed(plain)
        with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|", bufsize=CHUNK) as tar:
            sizes = _sizes(tar, claims)
        stream.drain()
    if stream.digest != layer.diff_id:
        raise ValueError(f"a layer's tar is {stream.digest}, not {layer.diff_id}")
    last, size = sizes.pop() if sizes else ("", 0)
    rest = stream.size - sum(size for _, size in sizes) - size  # the empty blocks at its end
    sizes.append((last, size + rest))
    return [_of(claims.owner(path), path, size) for path, size in sizes]


def _sizes(tar: tarfile.TarFile, claims: Claims) -> list[tuple[str, int]]:
    """Give each file's path and bytes, and have the records read; folders count to what follows."""
    sizes: list[tuple[str, int]] = []
    end = 0
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep all of them
        if member.isdir():
            continue
        path = member.name.removeprefix("./").lstrip("/")
        sizes.append((path, tar.offset - end))
        end = tar.offset
        if member.isreg() and member.size <= _LONGEST and is_record(path):
            claims.record(path, cast("BinaryIO", tar.extractfile(member)).read())
    return sizes


def _of(owner: Owner, path: str, size: int) -> Part:
    return Part(owner, 0, size) if path.endswith(".pyc") else Part(owner, size, 0)
