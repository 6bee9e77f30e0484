"""A lock's files, in the formats of the field, on the disk and in an image.

``pylock.toml`` (PEP 751) is the lock; ``requirements.txt``, in pip's hash-checking form, is
rendered from it for whoever has only pip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.resolve import pylock
from imagesmith.store import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.resolve.lock import Lock

PYLOCK = "pylock.toml"
REQUIREMENTS = "requirements.txt"
_OURS = b"# Locked by imagesmith"


def contents(lock: Lock) -> dict[str, bytes]:
    """Give the lock's files by name; the same wheels give the same bytes."""
    return {PYLOCK: pylock.render(lock), REQUIREMENTS: requirements(lock)}


def requirements(lock: Lock) -> bytes:
    """Render what ``pip install --require-hashes -r`` takes."""
    lines = [
        _OURS.decode() + f" for linux-64, Python {lock.target.python}, glibc "
        f"{lock.target.glibc}; {PYLOCK} beside it is the lock."
    ]
    for wheel in lock.wheels:
        lines += [f"{wheel.name}=={wheel.version} \\", f"    --hash={wheel.digest}"]
    return "".join(f"{line}\n" for line in lines).encode()


def write(lock: Lock, folder: Path) -> None:
    """Write the lock's files into a folder, each whole, beside what is there.

    Raises ImagesmithError (usage.output) rather than take the place of a file that is not ours,
    and where the folder cannot be written to.
    """
    files = contents(lock)
    foreign = [folder / name for name in files if _is_foreign(folder / name)]
    if foreign:
        raise ImagesmithError(
            *(
                error(
                    "usage.output",
                    path,
                    f"{path} is there already and was not written by imagesmith",
                    "choose another folder with -o",
                )
                for path in foreign
            )
        )
    try:
        for name, data in files.items():
            write_whole(folder / name, data)
    except OSError as fault:
        raise ImagesmithError(
            error(
                "usage.output",
                folder,
                f"the lock cannot be written into {folder}: {fault.strerror}",
                "choose another folder with -o",
            )
        ) from fault


def read(folder: Path) -> Lock:
    """Read a lock back from its folder.

    Raises ImagesmithError: usage.lock if there is none or it is damaged, missing.… as ``pylock``'s
    ``parse`` does.
    """
    path = folder / PYLOCK
    try:
        data = path.read_bytes()
    except OSError as reason:
        raise ImagesmithError(pylock.not_a_lock(path, reason.strerror or "unreadable")) from reason
    return pylock.parse(data, pylock.target_of(data))


def _is_foreign(path: Path) -> bool:
    try:
        head = path.read_bytes()[:256]
    except FileNotFoundError:
        return False
    except OSError:  # a folder, or a file that is closed to us
        return True
    return not head.startswith(_OURS)
