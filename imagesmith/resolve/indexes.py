"""Where wheels come from: the indexes that the user has configured, and what opens them.

pip's configuration counts, because it is where the captured environment came from and uv does not
read it; uv's own variables go before it. Credentials live in an ``Indexes`` in memory alone:
``public`` is what may be written down.
"""

from __future__ import annotations

import configparser
import netrc
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import platformdirs

from imagesmith.findings import ImagesmithError, error
from imagesmith.urls import bare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KEYS = ("index-url", "extra-index-url", "find-links")
_UV_VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "find-links": ("UV_FIND_LINKS",),
}
_PORTS = {"http": 80, "https": 443}
_SCHEMES = {*_PORTS, "file"}


@dataclass(frozen=True)
class Indexes:
    """The indexes to ask. URLs may hold credentials, and so are kept out of ``repr``.

    ``default`` None is the solver's own, the public index; ``extra`` goes before it, and
    ``find_links`` are folders or pages of wheels.
    """

    default: str | None = field(default=None, repr=False)
    extra: tuple[str, ...] = field(default=(), repr=False)
    find_links: tuple[str, ...] = field(default=(), repr=False)

    @property
    def only_public(self) -> bool:
        """Whether nothing but the public index is asked, which takes no local versions."""
        return not (self.default or self.extra or self.find_links)

    @property
    def public(self) -> tuple[str | None, list[str], list[str]]:
        """The same as JSON data without anything secret."""
        default = bare(self.default) if self.default else None
        return default, [*map(bare, self.extra)], [*map(bare, self.find_links)]

    def credentials(self, url: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
        """Give user and password for a URL: those of an index of its origin, else netrc's."""
        for known in filter(None, (self.default, *self.extra, *self.find_links)):
            if "@" in urlsplit(known).netloc and _origin(known) == _origin(url):
                parts = urlsplit(known)
                return unquote(parts.username or ""), unquote(parts.password or "")
        return _from_netrc(urlsplit(url).hostname or "", environ)


def configured(index_url: str | None, environ: Mapping[str, str]) -> Indexes:
    """Read which indexes the user means; an ``index_url`` that is given is the only one.

    Raises ImagesmithError: usage.pip-config if a configuration file of pip cannot be read,
    usage.index-url if a URL is none.
    """
    if index_url is not None:
        return Indexes(_absolute(index_url))
    found = {**_pip_files(environ), **_pip_variables(environ), **_uv_variables(environ)}
    default = found.get("index-url", "").strip()
    return Indexes(
        _absolute(default) if default else None,
        tuple(map(_absolute, found.get("extra-index-url", "").split())),
        tuple(map(_absolute, found.get("find-links", "").split())),
    )


def _absolute(place: str) -> str:
    """Make a path a file URL, since the solver runs in another folder."""
    place = re.sub(r"^[\w.-]+=(?=.*:)", "", place)  # uv lets an index bear a name: name=URL
    try:
        if "://" not in place:
            return Path(place).expanduser().resolve().as_uri()
        scheme, host, _ = _origin(place)
        if scheme not in _SCHEMES or not (host or scheme == "file"):
            raise ValueError(place)
    except (ValueError, RuntimeError):  # the latter for the home of an unknown user
        raise ImagesmithError(
            error(
                "usage.index-url",
                place.partition("://")[0] + "://…",  # which part is the password, nobody can say
                "this is not the URL of an index",
                "write it as https://HOST/PATH; a / or @ in a password is written %2F or %40",
            )
        ) from None
    return place


def _uv_variables(environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for key, names in _UV_VARIABLES.items():
        if value := next((environ[name] for name in names if environ.get(name)), None):
            found[key] = value.replace(",", " ")
    return found


def _pip_variables(environ: Mapping[str, str]) -> dict[str, str]:
    names = {key: "PIP_" + key.upper().replace("-", "_") for key in _KEYS}
    return {key: environ[name] for key, name in names.items() if environ.get(name)}


def _pip_files(environ: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in _pip_places(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as reason:
            raise ImagesmithError(
                error(
                    "usage.pip-config",
                    path,
                    f"pip's configuration {path} cannot be read: {type(reason).__name__}",
                    "mend the file, or pass --index-url URL",
                )
            ) from reason
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    return {key: found[key] for key in _KEYS if key in found}


def _pip_places(environ: Mapping[str, str]) -> Iterator[Path]:
    """Give pip's configuration files, the strongest last (pip's guide, "Configuration")."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    for folder in reversed(platformdirs.site_config_dir("pip", multipath=True).split(os.pathsep)):
        yield Path(folder) / "pip.conf"
    yield Path("/etc/pip.conf")
    yield _home() / ".pip" / "pip.conf"
    yield platformdirs.user_config_path("pip", appauthor=False) / "pip.conf"
    yield Path(environ.get("VIRTUAL_ENV") or sys.prefix) / "pip.conf"
    if named:
        yield Path(named)


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user that this machine knows nothing of, as in many containers
        return Path("/")


def _from_netrc(host: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    path = Path(environ.get("NETRC") or _home() / ".netrc")
    if not host or not os.path.isfile(path):  # noqa: PTH113 (pathlib's raises on closed folders)
        return None
    try:
        entry = netrc.netrc(path).authenticators(host)
    except (netrc.NetrcParseError, UnicodeDecodeError, OSError) as reason:
        why = reason.msg if isinstance(reason, netrc.NetrcParseError) else type(reason).__name__
        line = getattr(reason, "lineno", None)
        raise ImagesmithError(
            error(
                "usage.netrc",
                path,
                f"{path} cannot be read: {why}" + (f" (line {line})" if line else ""),
                "mend it: netrc(5) says how it is written, and who may read it",
            )
        ) from reason
    return (entry[0], entry[2] or "") if entry else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
