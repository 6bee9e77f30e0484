"""A git repository at one commit, taken into the store as a source archive.

git runs on the host with the user's own keys and helpers; what a URL holds as a login reaches it
by the environment alone and is kept nowhere.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.partial import scratch
from imagesmith.store import key_of
from imagesmith.urls import bare, redacted
from imagesmith.wheels.source import Source, of_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagesmith.progress import Progress
    from imagesmith.store import Store

_KIND = "checkouts"
_RECIPE = 1  # part of every key: raise it when the same commit is to give another archive
_SCHEMES = ("https", "http", "ssh", "git", "file")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ALWAYS = {
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",  # its messages are read below
}
# A git that has called us, by a hook, says here where its own repository is.
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
_SSH = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
# No hooks of the user's; a server that falls silent is given up after 30 s.
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "30",
    "advice.detachedHead": "false",
}
_HELPER = '!f() { echo "username=$IMAGESMITH_USER"; echo "password=$IMAGESMITH_PASSWORD"; }; f'


def checkout(
    url: str,
    revision: str,
    name: str | None,
    store: Store,
    progress: Progress,
    *,
    subdirectory: str = "",
    scm_version: str | None = None,
) -> Source:
    """Take a repository at a revision (commit, tag or branch, "" the default one) into the store.

    ``url`` may be pip's (``git+https://…``). A full commit that was taken before needs no
    repository again. Without an ``scm_version`` the one is told that the last tag gives. Raises
    ImagesmithError: usage.repository, build.git without git, reach.repository, missing.revision,
    build.source.
    """
    place = _place(url)
    if revision.startswith("-") or (revision and not revision.isprintable()):
        raise ImagesmithError(_no_revision(place.public, revision))
    key = key_of(_KIND, _RECIPE, place.public, revision)
    known = store.recall(_KIND, key) if _COMMIT.fullmatch(revision) else None
    if known is None or not store.has(known["digest"]):
        known = _taken(place, revision, store)
        store.remember(_KIND, key_of(_KIND, _RECIPE, place.public, known["commit"]), known)
        progress.say("wheels", f"{place.public} at {known['commit'][:12]}")
    return Source(
        name,
        None,
        f"{name or PurePosixPath(place.public).stem}.tar.gz",
        known["digest"],
        subdirectory=subdirectory,
        scm_version=scm_version or known["version"],
        commit=known["commit"],
    )


@dataclass(frozen=True)
class _Place:
    """A repository: its URL without a secret, and the environment that opens it."""

    public: str
    env: Mapping[str, str]


def _place(url: str) -> _Place:
    """Read a repository's URL; ImagesmithError (usage.repository) if git is not to have it."""
    url = url.removeprefix("git+")
    try:
        parts = urlsplit(url)
        public = bare(url)
        host = public.partition("://")[2].partition("/")[0]
    except ValueError:
        raise ImagesmithError(_no_repository(redacted(url))) from None
    if parts.scheme not in _SCHEMES or (parts.scheme != "file" and not parts.hostname):
        raise ImagesmithError(_no_repository(redacted(url)))
    settings = dict(_SETTINGS)
    # A submodule of somebody's must not name a folder of this host.
    allowed = _SCHEMES if parts.scheme == "file" else _SCHEMES[:-1]
    env = {**_ALWAYS, "GIT_ALLOW_PROTOCOL": ":".join(allowed)}
    if parts.scheme == "ssh" and parts.username:  # a name that everybody has, as git@
        public = f"ssh://{parts.username}@{host}{parts.path}"
    elif parts.username:
        settings[f"credential.{parts.scheme}://{host}.helper"] = _HELPER
        env["IMAGESMITH_USER"] = unquote(parts.username)
        env["IMAGESMITH_PASSWORD"] = unquote(parts.password or "")
    return _Place(public, {**env, **_configuration(settings)})


def _configuration(settings: Mapping[str, str]) -> dict[str, str]:
    """Give settings to git by its environment (git-config(1), GIT_CONFIG_COUNT)."""
    env = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env


def _taken(place: _Place, revision: str, store: Store) -> dict[str, str]:
    """Clone, check out and keep; give the archive's digest, the commit and the version."""
    if shutil.which("git") is None:
        raise ImagesmithError(_no_git(place.public))
    with scratch() as folder:
        git = _Git(folder / "clone", place)
        git.clone()
        commit = git.find(revision)
        git.check_out(commit)
        source = of_folder(git.folder, None, store)
        return {"digest": source.digest, "commit": commit, "version": git.version()}


@dataclass(frozen=True)
class _Git:
    """git in one clone."""

    folder: Path
    place: _Place

    def clone(self) -> None:
        """Clone without files; of the history no more than is asked for, if the server can."""
        self.must("clone", "--no-checkout", "--filter=blob:none", self.place.public, ".")

    def find(self, revision: str) -> str:
        """Give the full commit id of a revision; ImagesmithError (missing.revision)."""
        found = self.first(revision, f"origin/{revision}") if revision else self.first("HEAD")
        if found is None and self.run("fetch", "origin", revision).returncode == 0:
            found = self.first("FETCH_HEAD")  # a commit that no branch leads to
        if found is None:
            raise ImagesmithError(_no_revision(self.place.public, revision))
        return found

    def first(self, *names: str) -> str | None:
        """Give the full id of the first of these names that stands for a commit."""
        for name in names:
            done = self.run("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
            if done.returncode == 0:
                return done.stdout.strip()
        return None

    def check_out(self, commit: str) -> None:
        """Write the files of a commit, and those of its submodules."""
        self.must("checkout", "--detach", commit)
        self.must("submodule", "update", "--init", "--recursive")

    def version(self) -> str:
        """Give the version that setuptools-scm would find by default: tag and commits since."""
        from packaging.version import InvalidVersion, Version

        described = self.run("describe", "--tags", "--long", "--match", "*[0-9]*").stdout.strip()
        found = re.fullmatch(r"\D*(\d.*)-(\d+)-(g[0-9a-f]+)", described)
        try:
            tagged = Version(found[1]) if found else None
        except InvalidVersion:
            tagged = None
        if found is None or tagged is None:
            count = self.must("rev-list", "--count", "HEAD").strip()
            return f"0.1.dev{count}+g{self.must('rev-parse', '--short', 'HEAD').strip()}"
        if found[2] == "0":
            return str(tagged)
        head, last = re.split(r"(?=\d+$)", tagged.public, maxsplit=1)
        return f"{head}{int(last) + 1}.dev{found[2]}+{found[3]}"

    def must(self, *arguments: str) -> str:
        """Run git and give what it prints; ImagesmithError (reach.repository) if it fails."""
        done = self.run(*arguments)
        if done.returncode:
            raise ImagesmithError(_failed(self.place.public, done.stderr))
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run git in the clone's folder."""
        self.folder.mkdir(exist_ok=True)
        users = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
        return subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**_SSH, **users, **self.place.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )


def _failed(url: str, printed: str) -> Finding:
    lines = [line.strip() for line in redacted(printed).splitlines()]
    said = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines[-1:]
    why = said[0].partition(": ")[2] or said[0] if said else "git does not say why"
    return error(
        "reach.repository",
        url,
        f"the repository {url} cannot be had: {why}",
        f"see that `git clone {url}` works on this machine without a question",
    )


def _no_revision(url: str, revision: str) -> Finding:
    return error(
        "missing.revision",
        f"{url}@{revision}",
        f"the repository {url} has no commit, tag or branch {revision!r}",
        "push what you have installed, install it again from there, and capture again",
    )


def _no_repository(url: str) -> Finding:
    return error(
        "usage.repository",
        url,
        f"{url} is not the URL of a git repository that can be had from here",
        "install it from git+https:// or git+ssh://, or from a release on an index",
    )


def _no_git(url: str) -> Finding:
    return error(
        "build.git",
        "git",
        f"the source in {url} is had with git, which is not on PATH",
        "apt-get install git",
    )
