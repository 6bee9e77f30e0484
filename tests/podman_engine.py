"""Podman with a storage of the tests' own: it has no daemon, so nothing is left running."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Podman:
    """The podman command on a folder of its own."""

    folder: Path

    def run(self, *argv, check=True, **options):
        """Run the command; its first word is the subcommand."""
        command, *rest = map(str, argv)
        # What podman would raise to, a root without CAP_SYS_RESOURCE may not.
        limits = _LIMITS if command in ("run", "create") else ()
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        done = subprocess.run(
            [*_command(self.folder), command, *limits, *rest], check=False, **options
        )
        assert not check or done.returncode == 0, f"podman {argv}: {done.stdout}{done.stderr}"
        return done


_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")


def _command(folder):
    """Give the command and what it needs where there is no systemd, and cgroups are hybrid.

    runc, which Docker's engine brings: crun takes no hybrid cgroups.
    """
    return (
        *("podman", "--root", str(folder / "root"), "--runroot", str(folder / "run")),
        *("--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"),
        *("--events-backend", "none", "--runtime", "runc"),
    )


@cache
def lacking_podman():
    """Say why tests can have no podman here; None if they can."""
    for command in ("podman", "runc"):
        if shutil.which(command) is None:
            return f"{command} is not on PATH"
    return None if os.geteuid() == 0 else "only root can have podman's storage in a folder"


@contextmanager
def own_podman():
    """Give a podman that nobody else uses; its containers and images go with the block."""
    with tempfile.TemporaryDirectory(prefix="imagesmith-podman-") as folder:
        podman = Podman(Path(folder))
        try:
            yield podman
        finally:
            podman.run("rm", "--all", "--force", "--time", "0", check=False)
            podman.run("rmi", "--all", "--force", check=False)
