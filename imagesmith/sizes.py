"""Numbers of bytes in words, as people write and read them."""

from __future__ import annotations

import re

from imagesmith.findings import ImagesmithError, error

# SI's prefixes count in thousands, IEC's (ISO 80000-13) in 1024s.
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_UNITS |= {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?) ?({'|'.join(_UNITS)})", re.ASCII)


def in_words(count: int) -> str:
    """Put a number of bytes in words: ``412 B``, ``3.1 kB``, ``45.2 MB``, ``1.3 GB``."""
    if count < 1000:
        return f"{count} B"
    # The next unit as soon as the number would be rounded to 1000 of this one.
    unit = next((unit for unit in ("kB", "MB") if count < 999.95 * _UNITS[unit]), "GB")
    return f"{count / _UNITS[unit]:,.1f} {unit}"


def is_size(text: str) -> bool:
    """Say whether a text is one that ``parse_size`` reads."""
    return _SIZE.fullmatch(text) is not None


def parse_size(text: str) -> int:
    """Read a size (``600MB``, ``1.5 GiB``) as bytes; ImagesmithError (usage.size) if it is none."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ImagesmithError(
            error(
                "usage.size",
                text,
                f"{text!r} is not a size",
                f"write a number and a unit, as 600MB; the units are {', '.join(_UNITS)}",
            )
        )
    number, unit = found.groups()
    whole, _, part = number.partition(".")
    return int(int(whole + part) * _UNITS[unit] // 10 ** len(part))
