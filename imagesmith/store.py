"""The content-addressed store, and files that appear whole or not at all.

The store's root is an OCI image layout (image-spec, image-layout.md): ``blobs/sha256/`` holds
everything that is named by its content (wheels, compressed layers, configs, manifests),
``index.json`` the images by name. Beside it stand ``records/`` (small JSON facts under the hash of
what they were made from), ``folders/`` (trees made once, such as unpacked layers) and ``locks/``
(what is being made now, by whoever holds the lock on its file).
Blobs are never changed once they are there; the time that they bear is that of their last use. What
is being written lies beside its place under a hidden name (partial.py); what a crash leaves of it,
the next build clears away.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import platformdirs

from imagesmith.findings import ImagesmithError, error
from imagesmith.partial import clear_partial, held_file, held_folder
from imagesmith.presence import use_file, use_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedWriter

CHUNK = 1 << 20


def canonical(data: Any) -> bytes:
    """Serialise JSON data to the same bytes every time: sorted keys, no spare blanks."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(data: bytes) -> str:
    """Give the digest of some bytes as ``sha256:<hex>``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def sha256_file(path: Path) -> str:
    """Give the digest of a file as ``sha256:<hex>``."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def key_of(*parts: Any) -> str:
    """Give the key under which what is made from these inputs (JSON data) is remembered."""
    return hashlib.sha256(canonical(parts)).hexdigest()


def sync_folder(path: Path) -> None:
    """Make a rename inside this folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old bytes or the new, never half."""
    with file_whole(path) as file:
        file.write(data)


@contextmanager
def file_whole(path: Path) -> Iterator[BufferedWriter]:
    """Yield a new file that takes the place of ``path`` only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _written(path.parent, f".{path.name}", lambda: path) as file:
        yield file


@contextmanager
def _written(folder: Path, prefix: str, place: Callable[[], Path]) -> Iterator[BufferedWriter]:
    """Yield a file in a folder; it is moved to its place, asked for last, when all is on disk."""
    handle, beside = held_file(folder, prefix)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
            beside.replace(place())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of the same block on the same folder; leaves no file behind."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # which gives the lock up


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others out of the same block on the same lock file, which is gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _lies_at(path, handle):
                continue  # who had it has removed it: those who come now would not meet us here
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(handle)  # which gives the lock up


def _lies_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextmanager
def folder_whole(path: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of ``path`` only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with held_folder(path.parent, f".{path.name}") as beside:
        beside.chmod(0o755)
        yield beside
        _take_place(beside, path)
    sync_folder(path.parent)


def _take_place(new: Path, path: Path) -> None:
    """Give a folder its name; one that has it is out of sight before anything of it is removed."""
    try:
        new.rename(path)
    except OSError as taken:
        if taken.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        with held_folder(path.parent, f".{path.name}") as old:
            path.rename(old)
            try:
                new.rename(path)
            except BaseException:
                old.rename(path)
                raise
            shutil.rmtree(old, ignore_errors=True)


class DamagedError(ImagesmithError):
    """A blob is not, or no longer, what its digest says; a new build makes it again."""

    def __init__(self, code: str, name: object, digest: str) -> None:
        super().__init__(
            error(
                code,
                name,
                f"{name} is damaged: what was kept of it is not {digest}",
                "build again: that makes it anew; if it comes back, have the disk looked at",
            )
        )
        self.digest = digest


class BlobWriter:
    """Takes the bytes of one blob and knows their digest and size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Append bytes to the blob."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    @property
    def digest(self) -> str:
        """The digest of what was written so far, ``sha256:<hex>``."""
        return f"sha256:{self._hash.hexdigest()}"


class Store:
    """A folder of blobs by digest, facts by key and trees by key; safe for several processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs" / "sha256"

    @classmethod
    def default(cls) -> Store:
        """Open the user's store: ``IMAGESMITH_CACHE``, else the platform's cache folder."""
        named = os.environ.get("IMAGESMITH_CACHE")
        return cls(Path(named) if named else platformdirs.user_cache_path("imagesmith"))

    def path(self, digest: str) -> Path:
        """Give the place of a blob, there or not; ValueError if the digest is not a sha256."""
        return self.blobs / hex_of(digest)

    def has(self, digest: str, size: int | None = None) -> bool:
        """Say whether a blob is there, and has its size in bytes if that is given."""
        path = self.path(digest)
        return use_file(path) and size in (None, path.stat().st_size)

    def prove(self, digest: str, name: object) -> None:
        """See that a blob, which holds what has this name, is what its digest says.

        Raises DamagedError (build.damaged) if not; it is dropped then, to be made again.
        """
        if self.drop_damaged(digest):
            raise DamagedError("build.damaged", name, digest)

    def drop_damaged(self, digest: str) -> bool:
        """Remove a blob that is not what its digest says; say whether it was so, or was gone."""
        path = self.path(digest)
        if path.is_file() and sha256_file(path) == digest:
            return False
        path.unlink(missing_ok=True)
        return True

    @contextmanager
    def writer(self, expected: str | None = None) -> Iterator[BlobWriter]:
        """Take a blob's bytes; it is there, whole, once the block has ended well.

        Raises ValueError, and keeps nothing, if ``expected`` is given and is not the digest.
        """
        self.blobs.mkdir(parents=True, exist_ok=True)
        with _written(self.blobs, "", lambda: self.path(blob.digest)) as file:
            blob = BlobWriter(file)
            yield blob
            if expected is not None and blob.digest != expected:
                raise ValueError(f"expected {expected}, got {blob.digest}")

    def add(self, data: bytes) -> str:
        """Keep these bytes as a blob, mended if it was damaged, and give its digest."""
        digest = sha256(data)
        if not self.has(digest) or self.path(digest).read_bytes() != data:
            with self.writer(digest) as blob:
                blob.write(data)
        return digest

    def add_file(self, path: Path, expected: str | None = None) -> str:
        """Copy a file in as a blob and give its digest; ValueError if it is not the expected."""
        with self.writer(expected) as blob, path.open("rb") as source:
            while chunk := source.read(CHUNK):
                blob.write(chunk)
        return blob.digest

    def recall(self, kind: str, key: str) -> Any | None:
        """Give the JSON fact remembered under this key, or None."""
        try:
            fact = json.loads(self._record(kind, key).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        use_file(self._record(kind, key))
        return fact

    def remember(self, kind: str, key: str, fact: Any) -> None:
        """Keep a JSON fact under a key."""
        write_whole(self._record(kind, key), canonical(fact))

    def recall_all(self, kind: str) -> dict[str, Any]:
        """Give every fact of a kind by its key."""
        keys = sorted(path.stem for path in self._record(kind, "*").parent.glob("*.json"))
        facts = {key: self.recall(kind, key) for key in keys}
        return {key: fact for key, fact in facts.items() if fact is not None}

    def forget(self, kind: str, key: str) -> None:
        """Drop a fact; one that is not there is no error."""
        self._record(kind, key).unlink(missing_ok=True)

    def folder(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """Give the tree kept under this key, made by ``make`` in an empty folder if need be."""
        path = self.root / "folders" / kind / key
        if not use_folder(path):
            # One at a time: a tree that somebody uses already must not be put in place again.
            with self.making(f"folders-{kind}", key):
                if not path.is_dir():
                    with folder_whole(path) as beside:
                        make(beside)
        return path

    @contextmanager
    def making(self, kind: str, key: str) -> Iterator[None]:
        """Be alone, among all threads and processes, in making this one thing.

        Who had to wait finds it in the store then, if nothing went wrong with it: so look there
        again inside. One that is killed is waited for no longer.
        """
        with _alone(self.root / "locks" / f"{kind}-{key}"):
            yield

    def sweep(self) -> None:
        """Remove what interrupted writers left in the store."""
        kinds = (*self.root.glob("records/*"), *self.root.glob("folders/*"))
        for folder in (self.root, self.blobs, *kinds):
            clear_partial(folder)

    def failure(self, bad: OSError) -> ImagesmithError:
        """Give the error (build.store) for a store that cannot be written."""
        remedy = "name another folder with IMAGESMITH_CACHE, or mend this one"
        if bad.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "free some space there, or name another folder with IMAGESMITH_CACHE"
        return ImagesmithError(
            error(
                "build.store",
                self.root,
                f"the store cannot be written: {bad.strerror or bad}",
                remedy,
            )
        )

    def _record(self, kind: str, key: str) -> Path:
        return self.root / "records" / kind / f"{key}.json"


def hex_of(digest: str) -> str:
    """Give the hex part of ``sha256:<hex>``; ValueError if it is not a well-formed sha256."""
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError(f"not a sha256 digest: {digest!r}")
    return value
