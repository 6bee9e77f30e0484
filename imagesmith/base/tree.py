"""What a base holds: Debian's packages, cut down to what a model needs, in one merged /usr."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from posixpath import normpath, relpath
from typing import TYPE_CHECKING

from imagesmith.base import debian
from imagesmith.image import elf
from imagesmith.image.bytecode import base_python, compile_sources
from imagesmith.image.deb import MERGED, link_target, merged
from imagesmith.image.tar import Member, disk_member, folder_member, link_member
from imagesmith.partial import scratch

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from imagesmith.base.flavour import Flavour

_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_AUTHORITIES = "usr/share/ca-certificates"
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
_FOLDERS = {
    **dict.fromkeys(("proc", "sys", "dev", "dev/shm", "run"), 0o755),
    **dict.fromkeys(("model", "container", "opt", "usr/sbin"), 0o755),
    "tmp": 0o1777,
    "root": 0o700,
}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nmodel:x:1000:1000::/model:/bin/sh\n",
    "etc/group": "root:x:0:\nmodel:x:1000:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n"
    "networks: files\nprotocols: files\nservices: files\nrpc: files\n",
}


def lay_out(
    packages: Sequence[debian.Package], flavour: Flavour, python: str, root: Path
) -> tuple[debian.Package, ...]:
    """Make the tree of a base for Python X.Y; give the packages that something in it is from.

    What the flavour does not keep of a package (docs, locales, apt, dpkg, perl) is left out.
    """
    root = root.resolve()
    kept = re.compile(flavour.pattern(python), re.VERBOSE)
    taken = {package: _take(package, kept, root) for package in packages}
    if flavour.lean:
        spare = [package for package in packages if package.name not in flavour.libraries]
        _shed(root, {path for package in spare for path in taken[package]})
    used = tuple(package for package, paths in taken.items() if any(map(os.path.lexists, paths)))
    _bundle_authorities(root)
    _add_own(root, {**flavour.links, **dict.fromkeys(("python", "python3"), f"python{python}")})
    _compile_library(root, python)
    return used


def members(root: Path) -> Iterator[Member]:
    """Give the tree as tar members; of a file's mode only whether it is a program is kept."""
    for path, mode in _FOLDERS.items():
        yield folder_member(path, mode)
    for name in MERGED:
        yield link_member(name, f"usr/{name}")
    for source in root.rglob("*"):
        path = source.relative_to(root).as_posix()
        if source.is_symlink():
            yield link_member(path, str(source.readlink()))
        elif source.is_file():
            yield disk_member(path, source, 0o755 if source.stat().st_mode & 0o100 else 0o644)


def _take(package: debian.Package, kept: re.Pattern[str], root: Path) -> list[Path]:
    """Write what is kept of a package, and give the paths of that."""
    found = []
    for member, data in debian.contents(package):
        path = merged(normpath(member.name))
        if kept.fullmatch(path):
            found.append(root / path)
            _write(member, data, root / path, path)
    return found


def _shed(root: Path, spare: set[Path]) -> None:
    """Remove the shared libraries among ``spare`` paths that nothing in the tree needs, nor what
    those alone need."""
    left = {path for path in spare if path.parent == root / _LIBRARIES and ".so" in path.name}
    while True:
        needed = {root / _LIBRARIES / name for name in _needed(root)}
        needed |= {path.resolve() for path in needed}
        gone = left - needed
        if not gone:
            return
        for path in gone:
            path.unlink()
        left -= gone


def _needed(root: Path) -> Iterator[str]:
    """Give the name of every library that a compiled file in the tree needs."""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                yield from elf.read(path.read_bytes()).needed
            except elf.ElfError:
                continue  # it is not compiled, or needs none


def _write(member: tarfile.TarInfo, data: bytes, target: Path, path: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        target.symlink_to(link_target(path, member))
    else:
        target.write_bytes(data)
        target.chmod(member.mode & 0o755)


def _bundle_authorities(root: Path) -> None:
    """Do what the ca-certificates package does when it is configured: one file with all of them."""
    certificates = sorted((root / _AUTHORITIES).rglob("*.crt"))
    bundle = root / _BUNDLE
    bundle.parent.mkdir(parents=True)
    bundle.write_text("".join(f"{path.read_text().rstrip()}\n" for path in certificates))
    shutil.rmtree(root / _AUTHORITIES)


def _add_own(root: Path, links: Mapping[str, str]) -> None:
    for path, text in _FILES.items():
        (root / path).write_text(text)
    for name, program in links.items():
        (root / "usr/bin" / name).symlink_to(program)
    # OpenSSL looks for its files below OPENSSLDIR.
    for name, file in {"cert.pem": _BUNDLE, "openssl.cnf": "etc/ssl/openssl.cnf"}.items():
        link = root / "usr/lib/ssl" / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(relpath(file, "usr/lib/ssl"))


def _compile_library(root: Path, python: str) -> None:
    library = root / f"usr/lib/python{python}"
    with scratch() as folder:
        sources, compiled = folder / "sources.zip", folder / "bytecode.zip"
        with zipfile.ZipFile(sources, "w") as archive:
            for path in sorted(library.rglob("*.py")):
                archive.write(path, path.relative_to(library))
        prefix = f"/{library.relative_to(root)}"
        compile_sources(base_python(root, python), sources, prefix, compiled)
        with zipfile.ZipFile(compiled) as archive:
            for name in archive.namelist():
                target = library / name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.read(name))
