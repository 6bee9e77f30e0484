"""Layers: a tar, compressed once, kept in the store under what it was made from."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from imagesmith.image.oci import LAYER_GZIP, Descriptor, Layer
from imagesmith.image.tar import write_tar
from imagesmith.store import CHUNK, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed import ReadableBuffer as Buffer

    from imagesmith.image.tar import Member
    from imagesmith.store import BlobWriter, Store

# Part of every layer's key: raise it when the same input is to give other bytes.
RECIPE = 1
_LEVEL = 6
_PIECE = 4 << 20
# Pieces compressed at a time: more than the stream can bring, and a bound for the memory.
_AHEAD = min(8, os.cpu_count() or 1)


def layer_of(
    store: Store, made_from: object, members: Callable[[], Iterable[Member]], comment: str
) -> Layer:
    """Give the layer made from these inputs (JSON data), written only if the store lacks it."""
    return _kept(store, made_from, lambda: write_layer(store, members(), comment), comment)


def _kept(store: Store, made_from: object, make: Callable[[], Layer], comment: str) -> Layer:
    known = known_layer(store, made_from, comment)
    if known is not None and store.has(known.blob.digest):
        return known
    layer = make()
    fact = {"digest": layer.blob.digest, "size": layer.blob.size, "diff_id": layer.diff_id}
    store.remember("layers", _key(made_from), fact)
    return layer


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
    return _written(store, lambda gzip: write_tar(members, gzip), comment)


def compressed(store: Store, diff_id: str, tar: Callable[[], BinaryIO], comment: str) -> Layer:
    """Give the layer that is this tar, as somebody else wrote it; compressed only once.

    Raises ValueError if it is not what its digest (``diff_id``) says.
    """

    def copy(gzip: _Gzip) -> None:
        with tar() as source:
            shutil.copyfileobj(source, gzip, CHUNK)
        if gzip.diff_id != diff_id:
            raise ValueError(f"a layer is {gzip.diff_id}, not {diff_id}")

    return _kept(store, ["tar", diff_id], lambda: _written(store, copy, comment), comment)


def _written(store: Store, write: Callable[[_Gzip], None], comment: str) -> Layer:
    with store.writer() as blob, ThreadPoolExecutor(_AHEAD) as pool:
        gzip = _Gzip(blob, pool)
        write(gzip)
        gzip.finish()
    return Layer(Descriptor(LAYER_GZIP, blob.digest, blob.size), gzip.diff_id, comment)


class _Gzip(io.BufferedIOBase):
    """Compresses a stream on all cores: each piece becomes a gzip member (RFC 1952, 2.2).

    The bytes depend on the stream, the pinned compressor, its level and the size of a piece; not
    on the host, its zlib, or the number of cores.
    """

    def __init__(self, blob: BlobWriter, pool: ThreadPoolExecutor) -> None:
        self._blob = blob
        self._pool = pool
        self._hash = hashlib.sha256()
        self._size = 0
        self._rest = bytearray()
        self._pending: deque[Future[bytes]] = deque()

    @property
    def diff_id(self) -> str:
        """The digest of the uncompressed stream so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Buffer) -> int:
        view = memoryview(data)
        self._hash.update(view)
        self._size += len(view)
        self._rest += view
        while len(self._rest) >= _PIECE:
            self._submit(bytes(self._rest[:_PIECE]))
            del self._rest[:_PIECE]
        return len(view)

    def finish(self) -> None:
        """Compress what is left and hand all of it on."""
        if self._rest or not self._pending:
            self._submit(bytes(self._rest))
            self._rest.clear()
        self._drain(keep=0)

    def _submit(self, piece: bytes) -> None:
        self._pending.append(self._pool.submit(_compress, piece))
        self._drain(keep=2 * _AHEAD)

    def _drain(self, keep: int) -> None:
        while len(self._pending) > keep:
            self._blob.write(self._pending.popleft().result())


def _compress(piece: bytes) -> bytes:
    import deflate

    return bytes(deflate.gzip_compress(piece, _LEVEL))
