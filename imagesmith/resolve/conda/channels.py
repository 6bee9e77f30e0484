"""Channels: where conda's packages come from, and what opens them.

A channel's URL may hold a user and password, or a token (``/t/TOKEN/``). Those live in a
``Channels`` in memory alone; ``urls`` are what may be written down.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagesmith.findings import ImagesmithError, error
from imagesmith.resolve.indexes import bare

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT = "https://conda.anaconda.org/conda-forge"
_ALIAS = "https://conda.anaconda.org"
_TOKEN = re.compile(r"/t/[^/]+(?=/)")
_SUBDIR = re.compile(r"/(?:noarch|(?:linux|osx|win|emscripten|wasi)-\w+)$")
_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)*\Z")


@dataclass(frozen=True)
class Channels:
    """The channels to ask, the first first; ``secrets`` maps those that need it to what opens
    them."""

    urls: tuple[str, ...]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def opened(self, url: str) -> str:
        """Give the URL, of something in a channel, with what opens it."""
        for channel, secret in self.secrets.items():
            if url.startswith(channel + "/"):
                return secret + url[len(channel) :]
        return url


def channels(given: Iterable[str]) -> Channels:
    """Read channels as the user writes them: URLs, folders, or names on the public server.

    Raises ImagesmithError (usage.channel) for what is neither.
    """
    places = [_absolute(text) for text in given]
    urls = tuple(dict.fromkeys(map(bare_channel, places)))
    secrets = {bare_channel(p): _trimmed(p) for p in places if bare_channel(p) != _trimmed(p)}
    return Channels(urls, secrets)


def bare_channel(url: str) -> str:
    """Strip a channel's URL of user, password, token, query, subdir and trailing slash."""
    return _SUBDIR.sub("", _TOKEN.sub("", bare(url)).rstrip("/"))


def _trimmed(url: str) -> str:
    return _SUBDIR.sub("", url.rstrip("/"))


def _absolute(text: str) -> str:
    try:
        if "://" in text:
            parts = urlsplit(text)
            if parts.scheme in ("http", "https", "file") and (parts.hostname or parts.path):
                return text
        elif text.startswith(("/", ".", "~")):
            return Path(text).expanduser().resolve().as_uri()
        elif _NAME.match(text):
            return f"{_ALIAS}/{text}"
    except (ValueError, RuntimeError):  # of a port, or of the home of an unknown user
        pass
    raise ImagesmithError(
        error(
            "usage.channel",
            text.partition("://")[0] + "://…" if "://" in text else text,
            "this is not a conda channel",
            "write its URL (https://HOST/PATH), the path of its folder (./channel), or its name"
            " (conda-forge)",
        )
    )
