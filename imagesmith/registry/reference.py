"""References to images in registries.

Source: the grammar of github.com/distribution/reference, and its rules for short names.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from imagesmith.findings import ImagesmithError, error
from imagesmith.store import hex_of

_HUB = "docker.io"
_HUB_API = "registry-1.docker.io"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::(?P<port>[0-9]+))?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_LONGEST = 255  # characters of a name


@dataclass(frozen=True)
class Reference:
    """A repository of a registry, and which of its images: a tag, a digest, or both."""

    host: str  # with its port, if it has one
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """The repository with its registry, and the tag."""
        return f"{self.host}/{self.repository}" + (f":{self.tag}" if self.tag else "")

    def __str__(self) -> str:
        return self.name + (f"@{self.digest}" if self.digest else "")

    @property
    def address(self) -> str:
        """Where the registry's API answers, ``HOST[:PORT]``."""
        return _HUB_API if self.host == _HUB else self.host

    @property
    def wanted(self) -> str:
        """What the manifest is asked for by: the digest if there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def at(self, digest: str) -> Reference:
        """Give the reference to what has this digest."""
        return replace(self, digest=digest)


def parse(text: str) -> Reference:
    """Read a reference; without tag and digest it is of ``latest``, without host of Docker Hub.

    Raises ImagesmithError (usage.reference) where it is none.
    """
    name, at, digest = text.partition("@")
    host, path = _split(name)
    path, colon, tag = path.partition(":")
    problem = (
        _problem_of_host(host)
        or _problem_of_path(host, path)
        or _problem_of_tag(tag if colon else None)
        or _problem_of_digest(digest if at else None)
    )
    if problem:
        raise _none(text, problem)
    return Reference(host, path, tag or (None if digest else "latest"), digest or None)


def names_registry(text: str) -> bool:
    """Say whether a text begins with the host of a registry, as ``HOST/…`` does."""
    first, slash, _ = text.partition("/")
    return bool(slash) and _is_host(first) and not text.startswith(("oci:", "archive:"))


def is_loopback(address: str) -> bool:
    """Say whether ``HOST[:PORT]`` is this machine, as far as its text tells."""
    host = address[1:].partition("]")[0] if address[:1] == "[" else address.partition(":")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split(name: str) -> tuple[str, str]:
    """Give host and path; a first part that can be no host belongs to Docker Hub's path."""
    first, slash, rest = name.partition("/")
    if slash and _is_host(first):
        host = _HUB if first == f"index.{_HUB}" else first
        return host, rest if host != _HUB or "/" in rest else f"library/{rest}"
    return _HUB, name if slash else f"library/{name}"


def _is_host(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _problem_of_host(host: str) -> str | None:
    match = _HOST.fullmatch(host)
    if match is None:
        return f"{host!r} is no host"
    port = match["port"]
    if port and not (len(port) <= 5 and 0 < int(port) < 65536):
        return f"{port} is no port"
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:].partition("]")[0])
        except ValueError:
            return f"{host!r} is no host"
    return None


def _problem_of_path(host: str, path: str) -> str | None:
    if not _PATH.fullmatch(path):
        return f"{path.removeprefix('library/')!r} is no repository's name"
    if len(host) + 1 + len(path) > _LONGEST:
        return f"its name has more than {_LONGEST} characters"
    if re.fullmatch("library/[a-f0-9]{64}", path):
        return "64 hexadecimal digits are an image's id, not a name"
    return None


def _problem_of_tag(tag: str | None) -> str | None:
    return None if tag is None or _TAG.fullmatch(tag) else f"{tag!r} is no tag"


def _problem_of_digest(digest: str | None) -> str | None:
    try:
        if digest is not None:
            hex_of(digest)
    except ValueError as bad:
        return str(bad)
    return None


def _none(text: str, problem: str) -> ImagesmithError:
    return ImagesmithError(
        error(
            "usage.reference",
            text,
            f"{text!r} is no reference to an image in a registry: {problem}",
            "write it as HOST[:PORT]/PATH[:TAG][@sha256:…], in lower case but for the tag",
        )
    )
