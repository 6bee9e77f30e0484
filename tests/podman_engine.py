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

    def run(self, *argv, **options):
        """Run the command; its first word is the subcommand."""
        return self._run("podman", _PODMANS, *argv, **options)

    def buildah(self, *argv, **options):
        """Run buildah on the same storage."""
        return self._run("buildah", (), *argv, **options)

    def _run(self, program, flags, subcommand, *argv, check=True, **options):
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        storage = ("--root", self.folder / "root", "--runroot", self.folder / "run")
        more = _MORE.get((program, subcommand), ())
        command = [program, *storage, "--storage-driver", "overlay", *flags, subcommand]
        command = [*map(str, (*command, *more, *argv))]
        done = subprocess.run(command, check=False, **options)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done


# What podman needs where there is no systemd. runc, which Docker's engine brings, since crun takes
# no cgroups of both versions beside each other.
_PODMANS = ("--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "runc")
_MORE = {
    # podman would raise them further than a root without CAP_SYS_RESOURCE may.
    ("podman", "run"): ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
    # The default of podman's needs limits raised as well.
    ("podman", "build"): ("--isolation", "oci"),
    ("buildah", "build"): ("--isolation", "oci", "--runtime", "runc"),
}


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
            _unmount(folder)


def _unmount(folder):
    """Unmount what a build that was ended has left, and what storage is made of."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in reversed(mounted):
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], check=False)
