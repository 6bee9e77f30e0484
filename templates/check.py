"""Checks the files beside it against SHA256SUMS; exit status 1, and a line for each that differs.

Where all are as they should be, it makes the empty folder that it is given, if it is given one.
Runs while an image is built, with the base's Python 3.9+ and the standard library alone.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

_CHUNK = 1 << 20


def differing(folder: Path) -> list[str]:
    """Give the names in a folder's SHA256SUMS whose files are other than it says, or not there."""
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = (line.partition("  ")[::2] for line in lines)
    return [name for digest, name in sums if _digest(folder / name) != digest]


def _digest(path: Path) -> str | None:
    sha256 = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
    except FileNotFoundError:
        return None
    return sha256.hexdigest()


def main() -> int:
    """Check the folder that this file lies in; give the exit status."""
    wrong = differing(Path(__file__).parent)
    for name in wrong:
        sys.stderr.write(f"{name} is not the file that SHA256SUMS names\n")
    if wrong:
        return 1
    for folder in sys.argv[1:]:
        Path(folder).mkdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
