"""A lock: the exact wheels of an environment on linux-64, and its files.

``pylock.toml`` (PEP 751) is the lock; ``requirements.txt``, in pip's hash-checking form, is
rendered from it for whoever has only pip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.resolve import pylock
from imagesmith.store import sha256, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.resolve.platform import Target

PYLOCK = "pylock.toml"
REQUIREMENTS = "requirements.txt"
_OURS = b"# Locked by imagesmith"


@dataclass(frozen=True)
class LockedWheel:
    """One wheel of a lock.

    ``name`` is normalised (PEP 503), ``url`` http, https or file and without anything secret,
    ``digest`` ``sha256:<hex>``.
    """

    name: str
    version: str
    filename: str
    url: str
    digest: str


@dataclass(frozen=True)
class Lock:
    """The wheels of an environment, sorted by name."""

    target: Target
    wheels: tuple[LockedWheel, ...]

    @property
    def pylock(self) -> bytes:
        """The lock's ``pylock.toml``; the same wheels give the same bytes."""
        return pylock.render(self)

    @property
    def requirements(self) -> bytes:
        """The lock's ``requirements.txt``, which ``pip install --require-hashes -r`` takes."""
        lines = [
            _OURS.decode() + f" for linux-64, Python {self.target.python}, glibc "
            f"{self.target.glibc}; {PYLOCK} beside it is the lock."
        ]
        for wheel in self.wheels:
            lines += [f"{wheel.name}=={wheel.version} \\", f"    --hash={wheel.digest}"]
        return "".join(f"{line}\n" for line in lines).encode()

    @property
    def digest(self) -> str:
        """The digest of ``pylock.toml``."""
        return sha256(self.pylock)


def write(lock: Lock, folder: Path) -> None:
    """Write the lock's files into a folder, each whole, beside what is there.

    Raises ImagesmithError (usage.output) rather than take the place of a file that is not ours.
    """
    files = {PYLOCK: lock.pylock, REQUIREMENTS: lock.requirements}
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
    for name, data in files.items():
        write_whole(folder / name, data)


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
    return not head.startswith(_OURS)
