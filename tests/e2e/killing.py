"""Commands that are killed at random moments, and what must be true of what they leave."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagesmith.image import layout
from imagesmith.store import Store, sha256_file

COMMAND = Path(sys.executable).with_name("imagesmith")
PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Desk:
    """A place to work in: a cache, a folder for temporary files, and room for results."""

    root: Path

    @classmethod
    def make(cls, root, *images):
        """Make one whose store holds some images, and nothing else."""
        desk = cls(root)
        desk.temporary.mkdir(parents=True)
        for image in images:
            for blob in image.descriptors():
                desk.store.add_file(image.blob(blob.digest), blob.digest)
            layout.put(desk.store.root, image)
        return desk

    @property
    def store(self):
        return Store(self.root / "cache")

    @property
    def temporary(self):
        return self.root / "tmp"

    def environment(self):
        own = {"IMAGESMITH_CACHE": str(self.store.root), "TMPDIR": str(self.temporary)}
        kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
        return {**kept, **own, "DOCKER_CONFIG": str(self.root / "docker")}

    def start(self, *arguments, **options):
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            cwd=PROJECT,
            env=self.environment(),
            text=True,
            start_new_session=True,
            **options,
        )

    def run(self, *arguments):
        """Run a command to its good end, and give what it printed and the seconds that it took."""
        began = time.monotonic()
        pipe = subprocess.PIPE
        with self.start(*arguments, stdout=pipe, stderr=pipe) as process:
            out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out.strip(), time.monotonic() - began

    def kill(self, seconds, *arguments):
        """Start a command, and kill it with all of its group after some seconds."""
        with self.start(
            *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def processes(self):
        """Give the processes that work for this desk."""
        mark = f"IMAGESMITH_CACHE={self.store.root}".encode()
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in environ.read_bytes().split(b"\0"):
                    found.append(environ.parent.name)
        return found

    def mounts(self):
        """Give the mounts below the desk."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if f"{self.root}/" in line]

    def left_over(self):
        """Give what is of no use to anybody."""
        return [*self.store.root.rglob("*.partial-*"), *self.temporary.iterdir()]

    def remove(self):
        shutil.rmtree(self.root)


def moments(number, duration):
    """Give random moments of a run; the seed is printed, and shown where a test fails."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}, {number} moments of {duration:.2f} s")
    chance = random.Random(seed)
    return [chance.uniform(0, duration) for _ in range(number)]


def damaged(root):
    """Give what is in a store, or a layout, under a name that its content does not deserve."""
    blobs = (root / "blobs" / "sha256").glob("[!.]*")
    wrong = [path for path in blobs if sha256_file(path) != f"sha256:{path.name}"]
    return wrong + [path for path in root.glob("records/*/[!.]*.json") if not _is_json(path)]


def images(root):
    """Give the digests that a layout names, each image there whole; none if there is none."""
    found = list(layout.images(root)) if root.exists() else []
    assert all(image.blob(blob.digest).is_file() for image in found for blob in image.descriptors())
    return [image.manifest.digest for image in found]


def trees(store):
    """Give what the trees of a store hold: each path with its size."""
    folders = store.root / "folders" / "layers"
    return {
        str(path.relative_to(folders)): path.lstat().st_size
        for path in folders.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }


def _is_json(path):
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True
