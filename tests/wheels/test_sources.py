"""Projects' folders and repositories become source archives; what is no source stays behind."""

import os
import stat
import subprocess
import tarfile

import pytest

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.progress import Silent
from imagesmith.store import Store
from imagesmith.wheels import archive
from imagesmith.wheels.git import checkout
from imagesmith.wheels.source import of_folder


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "project"
    for path in ("setup.py", "pkg/__init__.py", "pkg/build/lib.py", "data/venvs.txt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


def names(source, store):
    with tarfile.open(store.path(source.digest)) as tar:
        return {m.name.partition("/")[2] for m in tar if not m.isdir()}


def test_a_folder_is_taken_whole_but_for_what_tools_leave(folder, store):
    before = of_folder(folder, "thing", store)
    assert names(before, store) == {
        "setup.py",
        "pkg/__init__.py",
        "pkg/build/lib.py",
        "data/venvs.txt",
    }
    for path in (
        ".git/HEAD",
        ".venv/bin/python",
        "any/pyvenv.cfg",
        "any/lib/big.py",
        "conda/conda-meta/history",
        "pkg/__pycache__/__init__.cpython-311.pyc",
        "build/lib.linux-x86_64/pkg/__init__.py",
        ".pytest_cache/x",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("left behind")
    os.mkfifo(folder / "pipe")
    assert of_folder(folder, "thing", store) == before


def test_the_same_files_give_the_same_digest_wherever_and_whenever(folder, store, tmp_path):
    before = of_folder(folder, "thing", store)
    moved = folder.rename(tmp_path / "elsewhere")
    os.utime(moved / "setup.py", (0, 0))
    assert of_folder(moved, "thing", store) == before
    (moved / "setup.py").chmod(0o755)
    assert of_folder(moved, "thing", store) != before


def test_a_link_out_of_a_folder_is_a_finding(folder, store):
    (folder / "secrets").symlink_to("/etc")
    with pytest.raises(ImagesmithError, match="secrets leads out") as refused:
        of_folder(folder, "thing", store)
    assert refused.value.findings[0].code == "build.source"


def test_a_folder_that_is_too_large_or_not_there_is_a_finding(folder, store, monkeypatch, tmp_path):
    monkeypatch.setattr(archive, "_LARGEST", 10)
    with pytest.raises(ImagesmithError, match="MiB"):
        of_folder(folder, "thing", store)
    with pytest.raises(ImagesmithError, match="No such file"):
        of_folder(tmp_path / "nowhere", "thing", store)


class Repository:
    """A git repository of the tests' own."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self):
        return self.folder.as_uri()

    def git(self, *arguments):
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        command = ["git", *identity, *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, **files):
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "some work")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


def take(repository, revision, store, **more):
    url = getattr(repository, "url", repository)
    return checkout(url, revision, "thing", store, Silent(), **more)


def test_a_repository_is_taken_at_a_commit_a_tag_and_a_branch(repository, store):
    first = repository.commit(setup="one")
    repository.git("tag", "v1.0")
    repository.git("branch", "old")
    second = repository.commit(setup="two", more="x")
    for revision in (first, first[:8], "v1.0", "old", "origin/old"):
        source = take(repository, revision, store)
        assert (source.commit, names(source, store)) == (first, {"setup"})
    for revision in (second, "main", ""):
        source = take(repository, revision, store)
        assert (source.commit, names(source, store)) == (second, {"setup", "more"})


def test_the_version_is_that_of_the_last_tag_and_what_came_since(repository, store):
    untagged = repository.commit(a="0")
    assert take(repository, "", store).scm_version == f"0.1.dev1+g{untagged[:7]}"
    repository.git("tag", "v1.2.3")
    assert take(repository, "v1.2.3", store).scm_version == "1.2.3"
    later = repository.commit(a="1")
    assert take(repository, "main", store).scm_version == f"1.2.4.dev1+g{later[:7]}"
    repository.git("tag", "2.0rc1")
    later = repository.commit(a="2")
    assert take(repository, "main", store).scm_version == f"2.0rc2.dev1+g{later[:7]}"
    assert take(repository, "main", store, scm_version="9.9").scm_version == "9.9"


def test_a_commit_that_was_taken_needs_no_repository_again(repository, store):
    commit = repository.commit(a="1")
    before = take(repository, commit, store, subdirectory="python")
    repository.folder.rename(repository.folder.with_name("gone"))
    again = checkout(
        f"git+{repository.url}", commit, "thing", store, Silent(), subdirectory="python"
    )
    assert again == before
    assert again.subdirectory == "python"


def test_no_hook_of_the_users_runs(repository, store, tmp_path, monkeypatch):
    commit = repository.commit(a="1")
    hook = tmp_path / "template" / "hooks" / "post-checkout"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    take(repository, commit, store)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("revision", ["no-such-branch", "0" * 40, "--upload-pack=x"])
def test_a_revision_that_is_not_there_is_a_finding(repository, store, revision):
    repository.commit(a="1")
    with pytest.raises(ImagesmithError) as missing:
        take(repository, revision, store)
    assert missing.value.exit_code is ExitCode.MISSING
    assert missing.value.findings[0].code == "missing.revision"


@pytest.mark.parametrize(
    "url",
    ["ext::sh -c 'touch /tmp/x'", "hg+https://example.org/x", "git@host:path", "-x", "https://"],
)
def test_what_git_must_not_be_given_is_a_finding(store, url):
    with pytest.raises(ImagesmithError) as refused:
        take(url, "", store)
    assert refused.value.findings[0].code == "usage.repository"


def test_a_repository_out_of_reach_is_told_without_its_password(store):
    with pytest.raises(ImagesmithError) as failed:
        take("https://someone:hunter2@127.0.0.1:9/x.git", "", store)
    (finding,) = failed.value.findings
    assert failed.value.exit_code is ExitCode.UNREACHABLE
    assert "127.0.0.1:9/x.git" in finding.message
    assert "hunter2" not in repr(finding.as_dict())


def test_a_login_reaches_git_by_the_environment_alone(store, tmp_path, monkeypatch):
    said = tmp_path / "said"
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text(
        f'#!/bin/sh\necho "$@" >> {said}\n'
        f"echo password is $IMAGESMITH_PASSWORD >> {tmp_path}/env\nexit 1\n"
    )
    git.chmod(git.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(git.parent), prepend=os.pathsep)
    with pytest.raises(ImagesmithError):
        take("git+https://someone:hunter%2F2@example.org/x.git", "main", store)
    assert "clone" in said.read_text()
    assert "https://example.org/x.git" in said.read_text()
    assert "hunter" not in said.read_text()
    assert "password is hunter/2" in (tmp_path / "env").read_text()


def test_without_git_the_finding_says_what_to_install(store, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImagesmithError) as failed:
        take("https://example.org/x.git", "", store)
    assert failed.value.findings[0].code == "build.git"
