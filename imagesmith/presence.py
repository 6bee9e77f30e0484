"""Who uses the store: any number of commands side by side, or one alone that clears it.

The lock is the kernel's (flock), on an empty folder of the store: a process that is killed holds
nothing, and what a command starts does not inherit it. Commands never wait for each other, only for
the seconds that clearing takes.

When a thing was used last is the time that its file or folder bears; it is noted once a day.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_DAY = 24 * 3600.0


@contextmanager
def in_use(root: Path) -> Iterator[None]:
    """Keep all that is in a store there until the block ends."""
    try:
        handle = _opened(root)
    except OSError:  # it cannot be written, so there is nobody who could clear it
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)  # which gives the lock up


@contextmanager
def alone(root: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Have a store to oneself until the block ends.

    Where somebody uses it, ``wait`` is called, and it begins when nobody does any more.
    """
    handle = _opened(root)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _opened(root: Path) -> int:
    folder = root / "use"
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder, os.O_RDONLY)


def use_file(path: Path) -> bool:
    """Note that a file is used; False if there is none."""
    return stat.S_ISREG(_use(path))


def use_folder(path: Path) -> bool:
    """Note that a folder is used; False if there is none."""
    return stat.S_ISDIR(_use(path))


def _use(path: Path) -> int:
    """Note that something is used, at most once a day; give its mode, 0 if it is not there."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return 0
    if time.time() - found.st_mtime > _DAY:
        with suppress(OSError):  # another user's: then it is that user's word that counts
            os.utime(path)
    return found.st_mode
