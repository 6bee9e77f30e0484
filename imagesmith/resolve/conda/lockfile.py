"""``conda-lock.yml`` and the explicit lock: conda-lock writes, and we write down what it said.

conda-lock solves with whatever command it is given as conda; here that is a script which repeats
the answer that the channels have given (ask.py), so they are read once. It takes a second to start,
so it is started while they are asked, and its script waits. What it writes names its scratch folder
and its version; what is kept depends on the packages alone.

Sources: conda-lock's lock file format, version 1; conda's explicit specification files.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from imagesmith.capture.channels import public
from imagesmith.findings import Finding, ImagesmithError, error, stop_on_errors
from imagesmith.partial import scratch
from imagesmith.resolve.conda.ask import SUBDIR
from imagesmith.resolve.lock import LockedPackage
from imagesmith.store import canonical, key_of, write_whole
from imagesmith.urls import bare, redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from imagesmith.resolve.conda.ask import CondaAnswer, CondaQuestion

_HEX = re.compile(r"[0-9a-f]{64}\Z")
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_.!+-]+\Z")
_CONDA = """\
#!/bin/sh
case $1 in
--version) echo conda 24.1.0 ;;
info) echo '{"pkgs_dirs": []}' ;;
create) until [ -e answer.json ]; do sleep 0.02; done; cat answer.json ;;
*) exit 2 ;;
esac
"""
_HEAD = """\
# Locked by imagesmith for linux-64; conda-lock installs it: conda-lock install -n NAME THIS_FILE
version: 1
metadata:
"""


@contextmanager
def locker(
    question: CondaQuestion,
) -> Iterator[Callable[[CondaAnswer], tuple[LockedPackage, ...]]]:
    """Start conda-lock for a question, and give what lets it lock the solution.

    That raises ImagesmithError: missing.hash and missing.package-name for packages that cannot be
    trusted, unsatisfiable.solver where conda-lock fails.
    """
    with scratch() as folder:
        for file, data in _inputs(question).items():
            (folder / file).write_bytes(data)
        (folder / "conda").chmod(0o755)
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "conda_lock", "lock", "--conda", "./conda"),
                    *("--file", "environment.yml", "--platform", SUBDIR, "--log-level", "ERROR"),
                    *("--virtual-package-spec", "virtual.yml", "--lockfile", "conda-lock.yml"),
                ],
                cwd=folder,
                # What it makes in passing goes with the folder, however it ends.
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
        try:
            yield partial(_lock, process, folder)
        finally:
            if process.poll() is None:  # the answer was that there is nothing to lock
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _lock(
    process: subprocess.Popen[bytes], folder: Path, answer: CondaAnswer
) -> tuple[LockedPackage, ...]:
    solved: dict[str, Any] = {"actions": {"FETCH": answer.records, "LINK": []}}
    write_whole(folder / "answer.json", json.dumps(solved).encode())
    if process.wait() != 0:
        raise ImagesmithError(_failed((folder / "said").read_text(errors="replace")))
    return parse((folder / "conda-lock.yml").read_bytes())


def _inputs(question: CondaQuestion) -> dict[str, bytes]:
    """Give conda-lock's input files: JSON, which is YAML."""
    specs = [pin.name for pin in question.pins]  # which versions hold, the answer decides
    environment = {
        "channels": list(question.channels.urls),
        "platforms": [SUBDIR],
        "dependencies": [*question.base, *specs],
    }
    virtual = {"subdirs": {SUBDIR: {"packages": question.virtual}}}
    return {
        "environment.yml": canonical(environment),
        "virtual.yml": canonical(virtual),
        "conda": _CONDA.encode(),
    }


def parse(data: bytes) -> tuple[LockedPackage, ...]:
    """Read the linux-64 packages of a conda-lock.yml, sorted by name.

    Raises ImagesmithError: usage.lock if it is none, missing.hash and missing.package-name, all at
    once.
    """
    import yaml

    try:
        # By libyaml: a lock of some hundred packages takes whoever reads it in Python a second.
        document = yaml.load(data, yaml.CSafeLoader)
        entries = [entry for entry in document["package"] if entry["platform"] == SUBDIR]
        found = [_package(entry) for entry in entries if entry["manager"] == "conda"]
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as reason:
        raise ImagesmithError(_not_a_lock(str(reason))) from reason
    stop_on_errors(one for one in found if isinstance(one, Finding))
    packages = [one for one in found if isinstance(one, LockedPackage)]
    return tuple(sorted(packages, key=lambda package: package.name))


def _package(entry: Mapping[str, Any]) -> LockedPackage | Finding:
    name, version = str(entry["name"]), str(entry["version"])
    url = bare(str(entry["url"]))
    head, _, filename = url.rpartition("/")
    channel, _, subdir = head.rpartition("/")
    url = f"{public(channel)}/{subdir}/{filename}"
    stem = re.sub(r"\.conda$|\.tar\.bz2$", "", filename)
    build = stem.removeprefix(f"{name}-{version}-")
    sha256, md5 = str(entry["hash"].get("sha256") or ""), str(entry["hash"].get("md5") or "")
    if stem in (filename, build) or not _PLAIN.match(stem) or subdir not in (SUBDIR, "noarch"):
        return _unnamed(f"{name} {version}", filename)
    if not _HEX.match(sha256):
        return _unhashed(f"{name} {version}", filename)
    specs = (f"{other} {spec}".strip() for other, spec in entry["dependencies"].items())
    requires = tuple(sorted(map(str, specs)))
    digest, md5 = f"sha256:{sha256}", md5 if _MD5.match(md5) else ""
    return LockedPackage(name, version, build, subdir, filename, url, digest, md5, requires)


def render(packages: Sequence[LockedPackage]) -> bytes:
    """Write a conda-lock.yml, which conda-lock reads; the same packages give the same bytes."""
    urls = sorted({package.url.rsplit("/", 2)[0] for package in packages})
    metadata = {
        "content_hash": {SUBDIR: key_of([package.digest for package in packages])},
        "channels": [{"url": url, "used_env_vars": []} for url in urls],
        "platforms": [SUBDIR],
        "sources": ["environment.yml"],
    }
    lines = [f"  {key}: {json.dumps(value)}\n" for key, value in metadata.items()]
    return "".join([_HEAD, *lines, "package:\n", *map(_entry, packages)]).encode()


def _entry(package: LockedPackage) -> str:
    hashes = {"md5": package.md5, "sha256": package.digest.partition(":")[2]}
    fields = {
        "name": package.name,
        "version": package.version,
        "manager": "conda",
        "platform": SUBDIR,
        "dependencies": {
            name: spec for name, _, spec in (spec.partition(" ") for spec in package.requires)
        },
        "url": package.url,
        "hash": {key: value for key, value in hashes.items() if value},
        "category": "main",
        "optional": False,
    }
    lines = [f"  {key}: {json.dumps(value)}\n" for key, value in fields.items()]
    return "- " + "".join(lines)[2:]


def explicit(packages: Sequence[LockedPackage]) -> bytes:
    """Write what ``conda create --file`` takes: URLs, what is required before what requires it."""
    lines = ["# Locked by imagesmith", f"# platform: {SUBDIR}", "@EXPLICIT"]
    lines += [f"{p.url}#{p.md5}" if p.md5 else p.url for p in in_order(packages)]
    return "".join(f"{line}\n" for line in lines).encode()


def in_order(packages: Iterable[LockedPackage]) -> Iterator[LockedPackage]:
    """Give packages so that each comes after what it requires, by name where that is free."""
    waiting = {package.name: package for package in packages}
    while waiting:
        ready = [p for p in waiting.values() if not _required(p) & (waiting.keys() - {p.name})]
        # pip and python require each other in some channels: any of a circle may come first.
        for package in sorted(ready or waiting.values(), key=lambda p: p.name)[: len(ready) or 1]:
            yield waiting.pop(package.name)


def _required(package: LockedPackage) -> set[str]:
    return {spec.partition(" ")[0] for spec in package.requires}


def _unnamed(subject: str, filename: str) -> Finding:
    return error(
        "missing.package-name",
        subject,
        f"{subject} cannot be locked: {filename!r} is not the name of a linux-64 package of it",
        "use a channel whose repodata is as conda writes it: --channel URL",
    )


def _unhashed(subject: str, filename: str) -> Finding:
    return error(
        "missing.hash",
        subject,
        f"{subject} cannot be locked: the channel gives no sha256 for {filename}",
        "use a channel that is indexed with sha256 (conda-index), or another version of it",
    )


def _not_a_lock(why: str) -> Finding:
    return error(
        "usage.lock",
        "conda-lock.yml",
        f"this is not a lock of conda-lock: {' '.join(why.split())}",
        "make it anew with imagesmith lock",
    )


def _failed(stderr: str) -> Finding:
    said = [line for line in redacted(stderr).splitlines() if line.strip()]
    return error(
        "unsatisfiable.solver",
        "conda-lock",
        f"conda-lock failed: {said[-1].strip() if said else 'it says nothing'}",
        "run again; if it stays so, report it with what --debug prints",
    )
