"""Ages, as people write them."""

from __future__ import annotations

import re

from imagesmith.findings import ImagesmithError, error

_UNITS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}  # seconds
_AGE = re.compile(rf"([0-9]{{1,6}}) ?([{''.join(_UNITS)}])", re.ASCII)


def parse_age(text: str) -> int:
    """Read an age (``30d``, ``12h``, ``2w``) as seconds; ImagesmithError (usage.age) if none."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise ImagesmithError(
            error(
                "usage.age",
                text,
                f"{text!r} is not an age",
                "write a number and a unit, as 30d; the units are h, d and w (hours, days, weeks)",
            )
        )
    number, unit = found.groups()
    return int(number) * _UNITS[unit]


def in_days(seconds: float) -> str:
    """Put how long ago something was in words."""
    days = int(max(0.0, seconds) // _UNITS["d"])
    return "today" if days == 0 else f"{days} day{'s' if days > 1 else ''} ago"
