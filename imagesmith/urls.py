"""URLs as they may be shown and written down: without what opens them; and what file: names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

_URL = re.compile(r"[a-z][a-z+]*://([^\s/]*@)?[^\s`'\")]+", re.IGNORECASE)
_TOKEN = re.compile(r"(?:(?<=/)|(?<![^\s'\"]))t/[^/\s]+/")  # conda's channels: /t/TOKEN/NAME


def bare(url: str) -> str:
    """Strip a URL of user, password, query and fragment: what is left is no secret.

    A query may be a signature and no list of names tells which, so none is kept.
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def path_of(url: str) -> Path:
    """Give the path that a file: URL names."""
    from urllib.request import url2pathname  # takes longer than many a command may

    return Path(url2pathname(urlsplit(url).path))


def without_token(url: str) -> str:
    """Strip the token that opens a conda channel (``/t/TOKEN/``) of a URL, or of a text."""
    return _TOKEN.sub("", url)


def redacted(text: str) -> str:
    """Strip every URL in a text of all this; what only looks like one goes altogether."""

    def strip(match: re.Match[str]) -> str:
        try:
            _ = urlsplit(match[0]).port  # a password with a slash in it: its port is no number
            return bare(match[0])
        except ValueError:
            return "(a URL)"

    return without_token(_URL.sub(strip, text))
