"""What a requirement points at becomes a wheel, and the lock says of what."""

import subprocess

import pytest
from source_archives import project, tarred

from imagesmith.progress import Silent
from imagesmith.resolve.origin import Origin
from imagesmith.resolve.platform import Target
from imagesmith.run.rootfs import RootfsRunner
from imagesmith.wheels.maker import WheelMaker

pytestmark = [pytest.mark.apt, pytest.mark.root]


@pytest.fixture
def make(shop):
    maker = WheelMaker(Target("3.11", "2.36"), RootfsRunner(shop), shop, Silent())
    return lambda *origin: maker.make(Origin(*origin))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "thing"
    folder.mkdir()
    for path, text in project().items():
        (folder / path).write_text(text)
    return folder


def test_a_folder_an_archive_and_a_repository_give_the_same_wheel(make, folder, tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        command = ["git", *identity, *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    archive = tmp_path / "thing-1.0.tar.gz"
    archive.write_bytes(tarred(project()))
    git("init", "--quiet", "--initial-branch=feature/one")
    git("add", "--all")
    git("commit", "--quiet", "--message", "some work")
    commit = git("rev-parse", "HEAD")
    made = [
        make("thing", None, folder.as_uri()),
        make("", None, folder.as_uri()),
        make("thing", "1.0", archive.as_uri()),
        make("", None, archive.as_uri()),
        make("thing", "1.0", f"git+{folder.as_uri()}@{commit}"),
        make("Thing", None, f"git+{folder.as_uri()}@feature/one"),
        make("", None, f"git+{folder.as_uri()}"),
    ]
    assert len({(wheel.name, wheel.version, wheel.filename, wheel.digest) for wheel in made}) == 1
    assert [wheel.source.commit for wheel in made] == ["", "", "", "", commit, commit, commit]
