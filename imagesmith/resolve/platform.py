"""What a lock is made for: CPython of one minor version on linux-64 with a glibc.

Sources: PEP 425 and 600 (wheel tags, manylinux levels), PEP 508 (environment markers).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packaging.tags import Tag

# The older names of three levels, which wheels still bear.
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
# The glibc 2.x that uv can target; between two of them the lower one is what surely runs.
_UV_LEVELS = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)


@dataclass(frozen=True)
class Target:
    """A linux-64 with CPython ``python`` ("3.11") and glibc ``glibc`` ("2.36")."""

    python: str
    glibc: str

    @property
    def uv_platform(self) -> str:
        """The ``--python-platform`` of uv; always an exact manylinux level."""
        level = max((n for n in _UV_LEVELS if n <= self._glibc_minor), default=_UV_LEVELS[0])
        return f"x86_64-manylinux_2_{level}"

    @property
    def markers(self) -> Mapping[str, str]:
        """The values of PEP 508's environment markers; ``extra`` is the caller's."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def rank(self, filename: str) -> int | None:
        """Say how well a wheel fits, 0 best; None if it does not, or is no wheel's name."""
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename

        try:
            tags = parse_wheel_filename(filename)[3]
        except InvalidWheelFilename:
            return None
        ranks = _ranks(self)
        return min((ranks[tag] for tag in tags if tag in ranks), default=None)

    @property
    def _glibc_minor(self) -> int:
        return int(self.glibc.partition(".")[2])

    def _platforms(self) -> Iterator[str]:
        for minor in range(self._glibc_minor, 4, -1):
            yield f"manylinux_2_{minor}_x86_64"
            if minor in _LEGACY:
                yield f"{_LEGACY[minor]}_x86_64"
        yield "linux_x86_64"

    def tags(self) -> Iterator[Tag]:
        """Give every wheel tag that fits, the best first."""
        from packaging.tags import compatible_tags, cpython_tags

        major, minor = map(int, self.python.split("."))
        interpreter = f"cp{major}{minor}"
        platforms = list(self._platforms())
        yield from cpython_tags((major, minor), abis=[interpreter], platforms=platforms)
        yield from compatible_tags((major, minor), interpreter, platforms)


@lru_cache(maxsize=8)
def _ranks(target: Target) -> dict[Tag, int]:
    return {tag: rank for rank, tag in enumerate(target.tags())}
