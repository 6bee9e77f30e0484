"""conda's channels: which URL a name stands for, and in which order a user's condarc has them.

URLs may hold credentials here; ``public`` is what may be written down.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagesmith.capture.yaml_nodes import YamlError, read_yaml
from imagesmith.findings import Finding, warning
from imagesmith.urls import bare, without_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from imagesmith.capture.yaml_nodes import Entry

_ALIAS = "https://conda.anaconda.org"
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_SUBDIR = re.compile(r"/(noarch|(linux|osx|win|freebsd|emscripten|wasi|zos)-[a-z0-9_]+)/*\Z")
_SCHEMES = {"http", "https", "file", "s3", "oci", "ftp"}


@dataclass(frozen=True)
class Condarc:
    """What condarc files say of channels, the first first, as they are written there.

    ``alias`` stands before names, ``custom`` gives names another place than that, and ``several``
    names that stand for many channels.
    """

    channels: tuple[str, ...] = field(default=(), repr=False)
    alias: str = field(default=_ALIAS, repr=False)
    custom: Mapping[str, str] = field(default_factory=dict, repr=False)
    several: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"defaults": _DEFAULTS}, repr=False
    )

    def urls(self, channel: str, folder: Path) -> tuple[str, ...]:
        """Give the URLs that a channel's name, path (from ``folder``) or URL stands for.

        ValueError if it is none of them; its text then may hold a secret.
        """
        channel = channel.strip().rstrip("/")
        if channel in self.several:
            return tuple(u for c in self.several[channel] for u in self._url(c, folder))
        return tuple(self._url(channel, folder))

    def _url(self, channel: str, folder: Path) -> Iterator[str]:
        if "://" in channel:
            yield _checked(channel)
        elif channel.startswith((".", "/", "~")):
            path = os.path.join(folder, os.path.expanduser(channel))  # noqa: PTH111, PTH118
            yield _without_subdir(Path(os.path.normpath(path)).as_uri())
        elif not re.fullmatch(r"[\w.+-]+(/[\w.+-]+)*", channel):
            raise ValueError("it is no name, path or URL of a channel")
        else:
            yield _checked(f"{self._place(channel)}/{channel}")

    def _place(self, name: str) -> str:
        """Give where a channel lies: conda looks for its name, then for what its name is below."""
        above = name
        while above:
            if above in self.custom:
                return self.custom[above].rstrip("/")
            above = above.rpartition("/")[0]
        # What conda knows without being told (custom_channels of its own).
        return "https://repo.anaconda.com" if name.startswith("pkgs/") else self.alias.rstrip("/")


def public(url: str) -> str:
    """Strip a channel's URL of user, password, token (``/t/TOKEN/``), query and subdir.

    ValueError if it is no URL: then nobody can say which part of it is secret.
    """
    stripped = bare(_checked(url))
    return stripped if stripped.startswith("file:") else without_token(stripped)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    known = parts.scheme in _SCHEMES and (parts.hostname or parts.scheme == "file")
    # A password with a slash in it would make the rest of it a path: its port is then no number.
    if not known or (parts.port or 0) < 0 or not url.isprintable() or " " in url:
        raise ValueError("it is not the URL of a channel")
    return _without_subdir(url)


def _without_subdir(url: str) -> str:
    return _SUBDIR.sub("", url).rstrip("/")


def condarc_files(prefix: Path | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Give where condarc files may be, the strongest first (conda's guide, ".condarc")."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (pathlib's raises for unknown users)
    named = environ.get("CONDARC")
    found = [Path(named)] if named else []
    if prefix is not None:
        found.append(prefix / ".condarc")
    found += [home / ".condarc", home / ".conda" / ".condarc", home / ".config/conda/.condarc"]
    if prefix is not None and prefix.parent.name == "envs":
        found.append(prefix.parent.parent / ".condarc")  # that of the installation
    return (*found, Path("/etc/conda/.condarc"))


def read_condarc(
    prefix: Path | None, environ: Mapping[str, str]
) -> tuple[Condarc, tuple[Finding, ...]]:
    """Read the condarc files that count for an environment, merged as conda does.

    Findings: the warning usage.condarc for each that cannot be read.
    """
    read, findings = [], []
    for path in filter(os.path.isfile, condarc_files(prefix, environ)):
        try:
            text = path.read_text(encoding="utf-8-sig")
            read.append(_one(read_yaml(text), environ))
        except (OSError, ValueError) as fault:
            findings.append(_unread(path, fault))
    return _merged(read), tuple(findings)


@dataclass(frozen=True)
class _File:
    channels: tuple[str, ...]
    default_channels: tuple[str, ...]
    alias: str | None
    custom: Mapping[str, str]
    several: Mapping[str, tuple[str, ...]]


def _one(top: Entry | None, environ: Mapping[str, str]) -> _File:
    """Read one file; what is not as conda wants it is passed over, as are all other settings."""

    def text(entry: Entry) -> str | None:
        return entry.text and Template(entry.text).safe_substitute(environ)

    def texts(entry: Entry | None) -> tuple[str, ...]:
        given = entry and (entry.items or (entry,))
        return tuple(filter(None, map(text, given or ())))

    def pairs(entry: Entry | None) -> tuple[Entry, ...]:
        return (entry and entry.entries) or ()

    settings = {entry.key: entry for entry in pairs(top)}
    alias = texts(settings.get("channel_alias"))
    custom = {str(e.key): t for e in pairs(settings.get("custom_channels")) if (t := text(e))}
    several = {str(e.key): texts(e) for e in pairs(settings.get("custom_multichannels"))}
    return _File(
        texts(settings.get("channels")),
        texts(settings.get("default_channels")),
        alias[0] if alias else None,
        custom,
        several,
    )


def _merged(files: Iterable[_File]) -> Condarc:
    """Merge files, the strongest first: lists are joined, in all else the strongest counts."""
    strongest = list(files)
    weakest = strongest[::-1]
    defaults = next((f.default_channels for f in strongest if f.default_channels), _DEFAULTS)
    return Condarc(
        tuple(dict.fromkeys(channel for file in strongest for channel in file.channels)),
        next((file.alias for file in strongest if file.alias), _ALIAS),
        {name: place for file in weakest for name, place in file.custom.items()},
        {"defaults": defaults} | {n: many for f in weakest for n, many in f.several.items()},
    )


def _unread(path: Path, fault: Exception) -> Finding:
    line = next((f.line for f in fault.faults), None) if isinstance(fault, YamlError) else None
    why = fault.strerror if isinstance(fault, OSError) else "it is not YAML"
    return warning(
        "usage.condarc",
        path if line is None else f"{path}:{line}",
        f"conda's configuration {path} is passed over: {why}",
        "mend the file: `conda config --validate` says what is wrong",
    )
