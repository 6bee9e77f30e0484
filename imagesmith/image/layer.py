"""Layers: a tar, compressed once, kept in the store under what it was made from."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from imagesmith.image.gunzip import gunzip
from imagesmith.image.oci import LAYER_GZIP, Descriptor, Layer
from imagesmith.image.tar import Member, contents, in_order, inflated, tar_pieces
from imagesmith.store import CHUNK, hex_of, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from _typeshed import ReadableBuffer as Buffer

    from imagesmith.store import BlobWriter, Store

# Part of every layer's key: raise it when the same input is to give other bytes.
RECIPE = 2
_LEVEL = 6
# Bytes of a deflated file from which on it is taken over as it is; shorter ones compress better
# together.
_SPLICED = 8 << 10
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # RFC 1952, 2.3: deflated, no name, no time, no system
_PIECE = 4 << 20
# Pieces compressed at a time: more than the stream can bring, and a bound for the memory.
_AHEAD = min(8, os.cpu_count() or 1)


def layer_of(
    store: Store, made_from: object, members: Callable[[], Iterable[Member]], comment: str
) -> Layer:
    """Give the layer made from these inputs (JSON data), written only if the store lacks it."""
    return _kept(store, made_from, lambda: write_layer(store, members(), comment), comment)


def _kept(store: Store, made_from: object, make: Callable[[], Layer], comment: str) -> Layer:
    if known := kept_layer(store, made_from, comment):
        return known
    with store.making("layers", _key(made_from)):
        if known := kept_layer(store, made_from, comment):
            return known
        layer = make()
        fact = {"digest": layer.blob.digest, "size": layer.blob.size, "diff_id": layer.diff_id}
        store.remember("layers", _key(made_from), fact)
        return layer


def kept_layer(store: Store, made_from: object, comment: str) -> Layer | None:
    """Give the layer that was made from these inputs before, if the store still has it."""
    known = known_layer(store, made_from, comment)
    whole = known is not None and store.has(known.blob.digest, known.blob.size)
    return known if whole else None


def known_layer(store: Store, made_from: object, comment: str) -> Layer | None:
    """Give the layer that was made from these inputs before; its blob may be gone since."""
    fact = store.recall("layers", _key(made_from))
    if fact is None:
        return None
    return Layer(Descriptor(LAYER_GZIP, fact["digest"], fact["size"]), fact["diff_id"], comment)


def _key(made_from: object) -> str:
    return key_of("layer", RECIPE, made_from)


def write_layer(store: Store, members: Iterable[Member], comment: str) -> Layer:
    """Write these members as a gzip layer blob into the store."""

    def write(out: _Gzip) -> None:
        for piece in tar_pieces(in_order(members)):
            if not isinstance(piece, Member):
                out.write(piece)
            elif piece.deflated is not None and piece.deflated.size >= _SPLICED:
                out.splice(piece)
            else:
                for chunk in contents(piece):
                    out.write(chunk)

    return _written(store, write, comment)


def compressed(store: Store, diff_id: str, tar: Callable[[], BinaryIO], comment: str) -> Layer:
    """Give the layer that is this tar, as somebody else wrote it; compressed only once.

    Raises ValueError if it is not what its digest (``diff_id``) says.
    """

    def copy(out: _Gzip) -> None:
        with tar() as source:
            shutil.copyfileobj(source, out, CHUNK)
        if out.diff_id != diff_id:
            raise ValueError(f"a layer is {out.diff_id}, not {diff_id}")

    return _kept(store, ["tar", diff_id], lambda: _written(store, copy, comment), comment)


def _written(store: Store, write: Callable[[_Gzip], None], comment: str) -> Layer:
    with store.writer() as blob, ThreadPoolExecutor(_AHEAD) as pool:
        out = _Gzip(blob, pool)
        write(out)
        out.finish()
    store.remember("sizes", hex_of(out.diff_id), out.size)
    return Layer(Descriptor(LAYER_GZIP, blob.digest, blob.size), out.diff_id, comment)


def plain_size(store: Store, layer: Layer, blob: Path) -> int:
    """Give the bytes of a layer's tar; of one made elsewhere they are counted, once."""
    size = store.recall("sizes", hex_of(layer.diff_id))
    if not isinstance(size, int):
        with gunzip(blob) as plain:
            size = sum(map(len, iter(partial(plain.read, CHUNK), b"")))
        store.remember("sizes", hex_of(layer.diff_id), size)
    return size


class _Gzip(io.BufferedIOBase):
    """Compresses a stream on all cores: each piece becomes a gzip member (RFC 1952, 2.2).

    What an archive holds deflated already becomes a member as it is. The bytes depend on the
    stream, those archives, the pinned compressor, its level and the size of a piece; not on the
    host, its zlib, or the number of cores.
    """

    def __init__(self, blob: BlobWriter, pool: ThreadPoolExecutor) -> None:
        self._blob = blob
        self._pool = pool
        self._hash = hashlib.sha256()
        self.size = 0  # of the stream so far, in bytes
        self._rest = bytearray()
        self._pending: deque[Callable[[], bytes]] = deque()

    @property
    def diff_id(self) -> str:
        """The digest of the uncompressed stream so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        view = memoryview(data)
        self._take(view)
        self._rest += view
        while len(self._rest) >= _PIECE:
            self._submit(bytes(self._rest[:_PIECE]))
            del self._rest[:_PIECE]
        return len(view)

    def splice(self, member: Member) -> None:
        """Append a deflated file; ValueError if it is not as announced."""
        assert member.deflated is not None
        self._flush()
        self._put(_HEADER)
        for chunk, plain in inflated(member):
            self._take(plain)
            self._put(chunk)
        self._put(struct.pack("<2L", member.deflated.crc, member.size % (1 << 32)))

    def finish(self) -> None:
        """Compress what is left and hand all of it on."""
        self._flush()
        if not self.size:
            self._submit(b"")
        self._drain(keep=0)

    def _take(self, data: Buffer) -> None:
        self._hash.update(data)
        self.size += len(memoryview(data))

    def _flush(self) -> None:
        if self._rest:
            self._submit(bytes(self._rest))
            self._rest.clear()

    def _submit(self, piece: bytes) -> None:
        self._pending.append(self._pool.submit(_compress, piece).result)
        self._drain(keep=2 * _AHEAD)

    def _put(self, data: bytes) -> None:
        """Append bytes of the compressed stream, after those that are being made still."""
        self._pending.append(lambda: data)
        self._drain(keep=2 * _AHEAD)

    def _drain(self, keep: int) -> None:
        while len(self._pending) > keep:
            self._blob.write(self._pending.popleft()())


def _compress(piece: bytes) -> bytes:
    import deflate

    return bytes(deflate.gzip_compress(piece, _LEVEL))
