"""The channels to ask, and what opens them.

A channel's URL may hold a user and password, or a token (``/t/TOKEN/``). Those live in a
``Channels`` in memory alone; ``urls`` are what may be written down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.capture.channels import public, read_condarc
from imagesmith.findings import Finding, ImagesmithError, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from imagesmith.capture.channels import Condarc

DEFAULT = "conda-forge"


@dataclass(frozen=True)
class Channels:
    """The channels to ask, the first first.

    ``secrets`` maps those that need it to the URL that opens them.
    """

    urls: tuple[str, ...]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def opened(self, url: str) -> str:
        """Give the URL, of something in a channel, with what opens it."""
        for channel, secret in self.secrets.items():
            if url.startswith(channel + "/"):
                return secret + url[len(channel) :]
        return url


def channels(given: Iterable[str], environ: Mapping[str, str]) -> Channels:
    """Read channels as a user names them (URLs, folders, names); condarc files may open them.

    ``secrets`` are those of the channels given and of all that condarc files name. Raises
    ImagesmithError (usage.channel) with all that are none.
    """
    condarc, _ = read_condarc(None, environ)
    wrong = []
    opened: list[str] = []
    for text in given:
        try:
            opened += condarc.urls(text, Path.cwd())
        except ValueError:
            wrong.append(text)
    if wrong:
        raise ImagesmithError(*map(_no_channel, wrong))
    secrets = {public(url): url for url in (*_known(condarc), *opened) if url != public(url)}
    return Channels(tuple(dict.fromkeys(map(public, opened))), secrets)


def _known(condarc: Condarc) -> Iterator[str]:
    """Give the URLs of the channels that condarc files name."""
    for text in condarc.channels:
        try:
            yield from condarc.urls(text, Path.cwd())
        except ValueError:  # nobody asks for it here
            continue


def _no_channel(text: str) -> Finding:
    return error(
        "usage.channel",
        text.partition("://")[0] + "://…" if "://" in text else text,
        "this is not a conda channel",
        "write its URL (https://HOST/PATH), the path of its folder (./channel), or its name"
        " (conda-forge)",
    )
