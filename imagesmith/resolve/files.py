"""A lock's files, in the formats of the field, on the disk and in an image.

``pylock.toml`` (PEP 751) is the lock of pip's part; ``requirements.txt``, in pip's hash-checking
form, is rendered from it for whoever has only pip. Where there are conda packages,
``conda-lock.yml`` is their lock, and ``conda-linux-64.lock`` what conda itself takes.
``report.json`` stands beside them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.resolve import pylock
from imagesmith.store import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.resolve.lock import Lock
    from imagesmith.resolve.locking import Resolved

PYLOCK = "pylock.toml"
REQUIREMENTS = "requirements.txt"
CONDA_LOCK = "conda-lock.yml"
EXPLICIT = "conda-linux-64.lock"
REPORT = "report.json"
PACKAGES = "conda-packages.txt"
_OURS = b"# Locked by imagesmith"


def contents(lock: Lock) -> dict[str, bytes]:
    """Give the lock's files by name; the same packages and wheels give the same bytes."""
    files = {PYLOCK: pylock.render(lock), REQUIREMENTS: requirements(lock)}
    if lock.packages:
        from imagesmith.resolve.conda import lockfile

        files[CONDA_LOCK] = lockfile.render(lock.packages)
        files[EXPLICIT] = lockfile.explicit(lock.packages)
    return files


def requirements(lock: Lock) -> bytes:
    """Render what ``pip install --require-hashes -r`` takes."""
    lines = [
        _OURS.decode() + f" for linux-64, Python {lock.target.python}, glibc "
        f"{lock.target.glibc}; {PYLOCK} beside it is the lock."
    ]
    for wheel in lock.wheels:
        # Who has no wheel of what was built here builds it anew, of the very same source.
        source = f" --hash={wheel.source.digest}" if wheel.source else ""
        lines += [f"{wheel.name}=={wheel.version} \\", f"    --hash={wheel.digest}{source}"]
    return "".join(f"{line}\n" for line in lines).encode()


def packages(lock: Lock) -> bytes:
    """List the conda packages by what they are, without where this host had them from."""
    head = _OURS.decode() + " for linux-64: each package and its digest"
    lines = [head, *(f"{p.subdir}/{p.filename} {p.digest}" for p in lock.packages)]
    return "".join(f"{line}\n" for line in lines).encode()


def write(lock: Lock, folder: Path) -> None:
    """Write the lock's files into a folder, each whole, beside what is there.

    Raises ImagesmithError (usage.output) rather than take the place of a file that is not ours,
    and where the folder cannot be written to.
    """
    files = contents(lock)
    gone = [] if lock.packages else [CONDA_LOCK, EXPLICIT]
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
        for name in gone:  # of an earlier lock, which this one would contradict
            if not _is_foreign(folder / name):
                (folder / name).unlink(missing_ok=True)
    except OSError as fault:
        raise ImagesmithError(_unwritable(folder, fault)) from fault


def write_report(resolved: Resolved, folder: Path) -> None:
    """Write report.json into a folder, also where resolving has failed.

    Raises ImagesmithError (usage.output) where the folder cannot be written to.
    """
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    findings = [finding.as_dict() for finding in resolved.findings]
    data = {"locked_by": "imagesmith", **resolved.report.as_json(), "findings": findings}
    try:
        write_whole(folder / REPORT, orjson.dumps(data, option=options))
    except OSError as fault:
        raise ImagesmithError(_unwritable(folder, fault)) from fault


def write_page(resolved: Resolved, title: str, path: Path) -> None:
    """Draw the report as an HTML page. Raises ImagesmithError (usage.output)."""
    from imagesmith.resolve.page import page

    try:
        write_whole(path, page(resolved, title))
    except OSError as fault:
        raise ImagesmithError(_unwritable(path, fault)) from fault


def _unwritable(folder: Path, fault: OSError) -> Finding:
    return error(
        "usage.output",
        folder,
        f"the lock cannot be written into {folder}: {fault.strerror}",
        "choose another folder with -o",
    )


def read(folder: Path) -> Lock:
    """Read a lock back from its folder.

    Raises ImagesmithError: usage.lock if there is none or it is damaged, missing.… as ``pylock``'s
    ``parse`` does.
    """
    from imagesmith.resolve.conda import lockfile

    path = folder / PYLOCK
    try:
        data = path.read_bytes()
    except OSError as reason:
        raise ImagesmithError(pylock.not_a_lock(path, reason.strerror or "unreadable")) from reason
    lock = pylock.parse(data, pylock.target_of(data))
    conda = folder / CONDA_LOCK
    if not conda.exists():
        return lock
    return replace(lock, packages=lockfile.parse(conda.read_bytes()))


def _is_foreign(path: Path) -> bool:
    try:
        head = path.read_bytes()[:256]
    except FileNotFoundError:
        return False
    except OSError:  # a folder, or a file that is closed to us
        return True
    return not head.startswith(_OURS)
