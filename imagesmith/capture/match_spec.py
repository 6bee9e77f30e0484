"""conda's match specs, read by the parser of the solver that is to take them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from imagesmith.urls import redacted

_FILE = re.compile(r"\.(conda|tar\.bz2)\b|[\[,]\s*url\s*=")


@dataclass(frozen=True)
class CondaSpec:
    """One package that conda is asked for.

    ``name`` is normalised; ``version`` is a version spec ("==1.26.4", "3.11.*", ">=1.20,<2");
    ``build`` and ``subdir`` belong to the platform it was written on and are only remembered;
    ``channels`` are those it is to come from, perhaps with credentials (none: any of them);
    ``where`` is the file and line.
    """

    name: str
    version: str | None = None
    build: str | None = None
    subdir: str | None = None
    channels: tuple[str, ...] = field(default=(), repr=False)
    where: str = ""

    @property
    def text(self) -> str:
        """The match spec without build, subdir and channel: what another platform may have."""
        return f"{self.name} {self.version}" if self.version else self.name


def parse_spec(text: str, where: str = "") -> CondaSpec:
    """Read a match spec, its channel as it is written.

    ValueError if it is none; what that says has no secret in it.
    """
    from rattler import MatchSpec
    from rattler.exceptions import InvalidMatchSpecError

    if not text.isprintable():
        raise ValueError(f"{redacted(text)!a} is not printable")
    if _FILE.search(text):
        raise ValueError(f"{redacted(text)!r} is one file, built for one platform")
    try:
        read = MatchSpec(text, extras=False, conditionals=False, flags=False)
    except InvalidMatchSpecError as fault:
        reason = redacted(str(fault).partition("\n")[0])
        raise ValueError(f"{redacted(text)!r} is no match spec of conda: {reason}") from None
    channel = read.channel and (read.channel.base_url if "://" in text else read.channel.name)
    channels = (channel,) if channel else ()
    return CondaSpec(read.name.normalized, read.version, read.build, read.subdir, channels, where)
