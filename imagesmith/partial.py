"""What is being written: beside its place, hidden, and held by a lock until it is whole.

The kernel gives a lock up with its process, however that ends. So what nobody holds nobody will
finish, and whoever comes next clears it away.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTIAL = ".partial-"
_TREE = ".d"  # a partial folder bears the name of the file that holds it, and this
_STALE = 24 * 3600.0  # seconds
_SCRATCH = ".imagesmith"


def held_file(folder: Path, prefix: str) -> tuple[int, Path]:
    """Make a partial file; its handle, which holds it as long as it is open, and its path."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=prefix + PARTIAL)
        if _holds(handle, name):
            return handle, Path(name)
        os.close(handle)


@contextmanager
def held_folder(folder: Path, prefix: str) -> Iterator[Path]:
    """Yield a partial folder, which a file beside it holds; it is removed if the block fails."""
    handle, holder = held_file(folder, prefix)
    path = holder.with_name(holder.name + _TREE)
    try:
        path.mkdir(mode=0o700)
        yield path
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    finally:
        holder.unlink(missing_ok=True)
        os.close(handle)


def _holds(handle: int, path: str) -> bool:
    """Hold what is open as ``handle``; False where somebody cleared it away just before."""
    with suppress(OSError):  # a file system without locks: there only age tells
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))  # noqa: PTH116
    except FileNotFoundError:
        return False


@contextmanager
def scratch(folder: Path | None = None) -> Iterator[Path]:
    """Yield a folder, for this user alone, that is gone when the block has ended.

    It lies in ``folder``, or where temporary files do. What killed processes left there of such
    folders goes first.
    """
    place = folder or Path(tempfile.gettempdir())
    clear_partial(place, _SCRATCH.removeprefix("."))
    with held_folder(place, _SCRATCH) as path:
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def clear_partial(folder: Path, name: str | None = None) -> None:
    """Remove what interrupted writers, of one name or of any, left in a folder.

    What a writer still holds stays; so does what another user's permissions keep from us.
    """
    pattern = "*" if name is None else f".{glob.escape(name)}"
    for path in folder.glob(f"{pattern}{PARTIAL}*"):
        with suppress(OSError):  # another process clears up too, or it is another user's
            _clear(path)


def _clear(path: Path) -> None:
    holder = path.with_name(path.name.removesuffix(_TREE))
    tree = holder.with_name(holder.name + _TREE)
    handle = os.open(holder, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _is_abandoned(handle, holder):
            if tree.is_dir():
                shutil.rmtree(tree)
            holder.unlink()
    finally:
        os.close(handle)


def _is_abandoned(handle: int, holder: Path) -> bool:
    """Take the lock that a writer no longer holds, and say whether it could be had."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # there are no locks here
        return is_stale(holder)
    return True


def is_stale(path: Path) -> bool:
    """Say whether a file, or the list of what is in a folder, has not changed for a day."""
    return time.time() - path.lstat().st_mtime > _STALE
