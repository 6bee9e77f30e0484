"""A conda package's archive, looked at before anything of it is unpacked.

py-rattler writes where paths lead to, ``..`` and links included; so they are checked here, and what
could leave the prefix is refused. Sources: conda's package specification (info/index.json,
info/paths.json, info/files, info/link.json, link scripts), the .conda format, version 2.
"""

from __future__ import annotations

import json
import re
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from imagesmith.findings import Finding, error, warning
from imagesmith.image.tar import check_path
from imagesmith.store import key_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path
    from tarfile import TarInfo

    from imagesmith.resolve.lock import LockedPackage
    from imagesmith.store import Store

# Part of every key: raise it when an archive is to be looked at again.
_RECIPE = 3
_READ = {"info/index.json", "info/paths.json", "info/files", "info/link.json"}
_SHOWN = 3
_SETUID = stat.S_ISUID | stat.S_ISGID
_KIND = "conda-archives"
_ACTIVATION = re.compile(r"etc/conda/activate\.d/[^/]+\Z")
_DISTRIBUTION = re.compile(r"(?:.*/)?site-packages/([^/]+)-[^/-]+\.(?:dist|egg)-info/")


def check(
    packages: Iterable[LockedPackage], store: Store, wheels: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Find what is wrong with packages whose archives are in the store; a good one is read once.

    Errors are build.package: not what the lock says, or with paths that leave the prefix.
    Warnings are build.link-script (a script that will not be run) and build.twice (a distribution
    that is among the normalised names of ``wheels``, too). Raises DamagedError.
    """
    return tuple(finding for one in packages for finding in _findings(one, store, wheels))


def _findings(package: LockedPackage, store: Store, wheels: Collection[str]) -> Iterator[Finding]:
    key = key_of(_RECIPE, package.digest, package.name, package.version, package.build)
    known = store.recall(_KIND, key)
    if known is None:
        store.prove(package.digest, package.filename)
        known, wrong = _look(package, store.path(package.digest))
        if wrong:
            yield _refused(package, wrong)
            return
        store.remember(_KIND, key, known)
    yield from (_script(package, script) for script in known["scripts"])
    yield from (_twice(package, name) for name in known["distributions"] if name in wheels)


def _script(package: LockedPackage, script: str) -> Finding:
    when = "activates the environment" if _ACTIVATION.match(script) else "installs the package"
    return warning(
        "build.link-script",
        package.filename,
        f"{package.filename} has a script, {script}, that conda would run when it {when};"
        " imagesmith runs none",
        "if verifying fails, do what it does in a template of your own (--template)",
    )


def _twice(package: LockedPackage, name: str) -> Finding:
    return warning(
        "build.twice",
        name,
        f"{package.filename} brings {name}, and so does a wheel of the lock, which counts",
        f"have one of them alone in the environment: conda remove {name}, or pip uninstall {name}",
    )


def _refused(package: LockedPackage, wrong: list[str]) -> Finding:
    more = f" (and {len(wrong) - _SHOWN} more)" if len(wrong) > _SHOWN else ""
    return error(
        "build.package",
        package.filename,
        f"{package.filename} may not go into an image: {'; '.join(wrong[:_SHOWN])}{more}",
        "lock another build of it, or ask who keeps the channel",
    )


def _look(package: LockedPackage, path: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Give the scripts and the distributions in an archive, and what is wrong with it, in words."""
    try:
        members, info = _read(path, package.filename)
        wrong = [*_escapes(members), *_contradictions(info, package)]
    except KeyError as lacking:
        return {}, [f"it lacks {lacking}"]
    except _damage() as bad:
        return {}, [f"it is damaged: {bad}"]
    names = {member.name for member in members}
    linking = {f"bin/.{package.name}-{when}.sh" for when in ("pre-link", "post-link")}
    brought = {found[1] for name in names if (found := _DISTRIBUTION.match(name))}
    return {
        "scripts": sorted(names & linking | {*filter(_ACTIVATION.match, names)}),
        "distributions": sorted(map(canonicalize_name, brought)),
    }, wrong


def _damage() -> tuple[type[Exception], ...]:
    """Give what reading an archive raises where it is not whole or not one."""
    from conda_package_streaming.package_streaming import zstd

    of_archives = (zipfile.BadZipFile, tarfile.TarError, zlib.error, zstd.ZstdError)
    of_contents = (LookupError, ValueError, TypeError, AttributeError, RuntimeError)
    return (*of_archives, *of_contents, OSError, EOFError)


def _read(path: Path, filename: str) -> tuple[list[TarInfo], dict[str, bytes]]:
    """Give an archive's members, and those of its information that say where files go."""
    from conda_package_streaming.package_streaming import stream_conda_component

    if filename.endswith(".conda"):
        _check_parts(path, filename)
    parts = ("pkg", "info") if filename.endswith(".conda") else ("pkg",)
    members, info = [], {}
    for part in parts:
        with path.open("rb") as file:
            for tar, member in stream_conda_component(filename, file, part):
                members.append(member)
                if member.name in _READ and (source := tar.extractfile(member)):
                    info[member.name] = source.read()
    return members, info


def _check_parts(path: Path, filename: str) -> None:
    """Raise ValueError unless there is one tar of each kind: two readers might take another."""
    stem = filename.removesuffix(".conda")
    with zipfile.ZipFile(path) as archive:
        tars = Counter(name for name in archive.namelist() if name.endswith(".tar.zst"))
    if tars != Counter([f"pkg-{stem}.tar.zst", f"info-{stem}.tar.zst"]):
        raise ValueError("it does not hold the two tars of a .conda archive")


def _escapes(members: list[TarInfo]) -> Iterator[str]:
    links = {member.name for member in members if member.issym()}
    for member in members:
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            yield f"{member.name!r} is neither a file nor a folder nor a link"
        elif member.isreg() and member.mode & _SETUID:
            yield f"{member.name!r} is setuid or setgid"
        elif not _is_inside(member.name):
            yield f"{member.name!r} is no path inside the prefix"
        elif member.name.startswith("conda-meta/"):
            yield f"{member.name!r} is where the records of what is installed are"
        elif links & {str(parent) for parent in PurePosixPath(member.name).parents}:
            yield f"{member.name!r} lies behind a link"
        elif member.issym() and not _leads_inside(member):
            yield f"{member.name!r} is a link to {member.linkname!r}, out of the prefix"
        elif member.islnk() and not _is_inside(member.linkname):
            yield f"{member.name!r} is a hard link to {member.linkname!r}, out of the prefix"


def _leads_inside(link: TarInfo) -> bool:
    """Say whether a link stays in the prefix wherever the others in it lead.

    So it may go up first, from its folder, and then down, but not up again from a link's end.
    """
    parts = [part for part in link.linkname.split("/") if part not in ("", ".")]
    up = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    absolute, depth = link.linkname.startswith("/"), link.name.count("/")
    return not absolute and up <= depth and ".." not in parts[up:]


def _is_inside(path: str) -> bool:
    try:
        check_path(path)
    except ValueError:
        return False
    return True


def _contradictions(info: dict[str, bytes], package: LockedPackage) -> Iterator[str]:
    """Find what the package says of itself that is not so, or leads out of the prefix."""
    index = json.loads(info["info/index.json"])
    for key in ("name", "version", "build"):
        if index[key] != getattr(package, key):
            yield f"its {key} is {index[key]!r}, but {getattr(package, key)!r} was locked"
    paths = {*_listed(info), *(f"bin/{command}" for command in _commands(info))}
    for path in sorted(path for path in paths if not _is_inside(path)):
        yield f"{path!r}, which it lists, is no path inside the prefix"


def _listed(info: dict[str, bytes]) -> Iterator[str]:
    yield from info.get("info/files", b"").decode().splitlines()
    for entry in json.loads(info.get("info/paths.json", b"{}")).get("paths", []):
        yield entry["_path"]


def _commands(info: dict[str, bytes]) -> Iterator[str]:
    noarch: Any = json.loads(info.get("info/link.json", b"{}")).get("noarch", {})
    for point in noarch.get("entry_points", []):
        yield point.partition("=")[0].strip()
