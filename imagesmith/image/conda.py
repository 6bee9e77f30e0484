"""Conda packages as the tar members of their installation.

What installing means is py-rattler's word: it unpacks, puts the prefix in its place, and makes
noarch packages fit their Python. Each package is installed by itself, so that its members are a
function of its archive and of the Python's minor version. What they are in the image is ours:
modes, byte code, and records that say nothing of the host. Source: conda's prefix records
(conda-meta/*.json).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from imagesmith.findings import ImagesmithError, error, stop_on_errors
from imagesmith.image.conda_archive import check
from imagesmith.image.sources import byte_code
from imagesmith.image.tar import Kind, Member, disk_member, file_member, folder_member, link_member
from imagesmith.image.wheel import ENVIRONMENT
from imagesmith.store import canonical, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imagesmith.image.sources import Compiler
    from imagesmith.resolve.lock import LockedPackage
    from imagesmith.store import Store

# Part of every key: raise it when the same archive is to be installed otherwise.
_RECIPE = 1
_META = "conda-meta"
# What a record says of the installation: where and by whose wish, not what it is.
_OF_THE_HOST = {"extracted_package_dir", "link", "requested_spec", "requested_specs"}


def conda_members(
    packages: Sequence[LockedPackage], python: str, store: Store, compiler: Compiler
) -> Iterator[Member]:
    """Give the members that installing packages brings, their byte code among them.

    Where two packages bring one path, the later by name wins. Raises ImagesmithError
    (build.package) for archives that are damaged, or whose members would leave the environment.
    """
    prefixes = installed(packages, python, store)
    members = {
        member.path: member
        for package in packages
        for member in _members(package, prefixes / package.name, python, compiler)
    }
    # It is by this file that conda knows an environment; what was done to it when, nobody needs.
    yield file_member(f"{ENVIRONMENT}/{_META}/history", b"")
    yield from members.values()


def installed(packages: Sequence[LockedPackage], python: str, store: Store) -> Path:
    """Give a folder in the store with a prefix for each package, by name; made once.

    Raises ImagesmithError (build.package).
    """
    stop_on_errors(check(packages, store))
    archives = [[package.filename, package.digest] for package in packages]
    key = key_of("conda", _RECIPE, python, archives)
    return store.folder("conda", key, partial(_install, packages, python, store))


def _install(packages: Iterable[LockedPackage], python: str, store: Store, folder: Path) -> None:
    with TemporaryDirectory(dir=folder) as scratch:
        archives: dict[str, str] = {}
        for package in packages:
            # In the store a blob bears its digest; py-rattler reads the name.
            archive = Path(scratch, package.filename)
            store.prove(package.digest, package.filename)
            shutil.copyfile(store.path(package.digest), archive)
            archives[str(folder / package.name)] = str(archive)
        wish = {
            "python": python,
            "target": f"/{ENVIRONMENT}",
            "archives": archives,
            "cache": f"{scratch}/cache",
        }
        done = subprocess.run(
            [sys.executable, "-P", "-m", "imagesmith.image.install_conda"],
            input=json.dumps(wish),
            capture_output=True,
            text=True,
            errors="replace",
            umask=0o022,
            check=False,
        )
    if done.returncode:
        raise ImagesmithError(
            error(
                "build.package",
                ", ".join(package.filename for package in packages),
                f"a conda package cannot be installed (status {done.returncode})",
                "see the log below; lock another build of the package that it names",
            ),
            log=done.stderr,
        )


def _members(
    package: LockedPackage, prefix: Path, python: str, compiler: Compiler
) -> Iterator[Member]:
    (path,) = (prefix / _META).glob("*.json")
    record = json.loads(path.read_bytes())
    # Byte code that a package brings may differ from what the base's interpreter compiles.
    names = [name for name in record["files"] if "__pycache__" not in name.split("/")]
    files = [_member(f"{ENVIRONMENT}/{name}", prefix / name) for name in names]
    library = f"{ENVIRONMENT}/lib/python{python}/"
    sources = {
        file.path: prefix / name
        for file, name in zip(files, names, strict=True)
        if file.kind is Kind.FILE and name.endswith(".py") and file.path.startswith(library)
    }
    compiled = [*byte_code(sources, compiler)] if sources else []
    yield from files
    yield from compiled
    data = _record(record, package, set(names), compiled)
    yield file_member(f"{ENVIRONMENT}/{_META}/{path.name}", data)


def _member(path: str, source: Path) -> Member:
    if source.is_symlink():
        return link_member(path, str(source.readlink()))
    if source.is_dir():
        return folder_member(path)
    return disk_member(path, source, 0o755 if source.stat().st_mode & 0o100 else 0o644)


def _record(
    record: dict[str, Any], package: LockedPackage, names: set[str], compiled: list[Member]
) -> bytes:
    """Give a prefix record that is a function of the package, wherever it was fetched from."""
    below = len(ENVIRONMENT) + 1
    ours = [{"_path": member.path[below:], "path_type": "pyc_file"} for member in compiled]
    theirs = [entry for entry in record["paths_data"]["paths"] if entry["_path"] in names]
    paths = sorted([*theirs, *ours], key=lambda entry: str(entry["_path"]))
    kept = {key: value for key, value in record.items() if key not in _OF_THE_HOST}
    return canonical(
        {
            **kept,
            # As conda has it for what was installed from a file; a record must have some URL.
            "channel": "<unknown>",
            "url": f"file:///{package.subdir}/{package.filename}",
            "files": [entry["_path"] for entry in paths],
            "paths_data": {**record["paths_data"], "paths": paths},
        }
    )
