"""Which commit a folder is at, as git says it.

No URL of a remote is asked for, since it may hold a login; no hook and no monitor is run.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE = 10.0  # seconds; a build does not wait longer for a repository that is slow to read
# A git that has called us, by a hook, says here where its own repository is.
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
# The index is left as it is, and no monitor is started.
_COMMAND = ("git", "--no-optional-locks", "-c", "core.fsmonitor=", "status")
_OID = "# branch.oid "


@dataclass(frozen=True)
class Revision:
    """A full commit id, and whether there are changes or files that it does not have."""

    commit: str
    dirty: bool


def revision_of(folder: Path) -> Revision | None:
    """Give the revision that a folder is at; None without git, a repository or a commit."""
    env = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    try:
        done = subprocess.run(
            [*_COMMAND, "--porcelain=v2", "--branch"],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    commit = next((line.removeprefix(_OID) for line in lines if line.startswith(_OID)), "")
    if done.returncode or not commit.isalnum():  # "(initial)" is none yet
        return None
    return Revision(commit, dirty=any(not line.startswith("#") for line in lines))
