"""A disk that is full or cannot be written stops a command with words, and leaves no harm."""

import subprocess

import pytest
from killing import COMMAND, PROJECT, Desk, damaged, images

from imagesmith.findings import ExitCode

pytestmark = [pytest.mark.root, pytest.mark.apt, pytest.mark.index]

# Over a folder that keeps what is in it, a disk of this size, or one that cannot be written.
SMALL = """
mount -t tmpfs -o size={size} tmpfs "$0"
mkdir "$0/upper" "$0/work"
mount -t overlay -o "lowerdir=$1,upperdir=$0/upper,workdir=$0/work" overlay "$1"
"""
READ_ONLY = """
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
"""


@pytest.fixture(scope="module")
def desk(base, tmp_path_factory):
    """Give a desk with the base and a build of its own."""
    desk = Desk.make(tmp_path_factory.mktemp("full") / "desk", base)
    (desk.root / "disk").mkdir()
    return desk


def build_of(desk, place="out"):
    target = ("fixtures/functions/echo.py:sums", "--name", "sums", "--version", "1")
    return ("build", *target, "--no-verify", "--output", f"oci:{desk.root}/{place}")


def run_on(desk, disk, folder, *arguments):
    """Run a command with a disk of its own over a folder, which ends with the command."""
    folder.mkdir(exist_ok=True)
    script = f'set -e\n{disk}\nshift\nexec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, desk.root / "disk", folder, COMMAND]
    done = subprocess.run(
        [*command, *arguments],
        cwd=PROJECT,
        env=desk.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "has a fault" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    "size", ["200k", *(pytest.param(size, marks=pytest.mark.long) for size in ("8m", "60m"))]
)
def test_a_full_store_is_told_with_its_place_and_what_to_do(desk, size):
    done = run_on(desk, SMALL.format(size=size), desk.store.root, *build_of(desk))
    assert done.returncode == ExitCode.BUILD, done.stderr
    assert "No space left on device" in done.stderr
    assert "free some space" in done.stderr
    assert str(desk.store.root) in done.stderr
    assert images(desk.root / "out") == []


def test_a_store_that_cannot_be_written_is_told_with_its_place_and_what_to_do(desk):
    done = run_on(desk, READ_ONLY, desk.store.root, *build_of(desk))
    assert done.returncode == ExitCode.BUILD, done.stderr
    assert "Read-only file system" in done.stderr
    assert "IMAGESMITH_CACHE" in done.stderr
    assert str(desk.store.root) in done.stderr


@pytest.mark.parametrize("disk", [SMALL.format(size="200k"), READ_ONLY], ids=["full", "read-only"])
def test_a_place_for_the_image_that_cannot_be_written_is_told_and_nothing_half_is_there(desk, disk):
    (desk.root / "place").mkdir(exist_ok=True)
    done = run_on(desk, disk, desk.root / "place", *build_of(desk, "place/out"))
    assert done.returncode == ExitCode.PUBLISH, done.stderr
    assert "place" in done.stderr
    assert "free some space" in done.stderr
    assert list((desk.root / "place").iterdir()) == []


def test_with_room_again_the_same_command_does_it(desk):
    desk.run(*build_of(desk))
    assert damaged(desk.store.root) == damaged(desk.root / "out") == []
    assert desk.left_over() == []
