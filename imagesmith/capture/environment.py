"""The Python environment that a function was captured in, as frozen data."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.requirements import Requirement

OLDEST = (3, 8)
_TOOL = "imagesmith"


@dataclass(frozen=True)
class Distribution:
    """One installed distribution.

    ``name`` is normalised (PEP 503), ``requires`` are PEP 508 lines, ``modules`` the import names
    it brings: top-level, or dotted inside a namespace package. ``direct_url`` (PEP 610) is the URL
    it came from, without credentials and query, ``installer`` and ``requested`` say who installed
    it and whether by name (PEP 376).
    """

    name: str
    version: str
    requires: tuple[str, ...]
    modules: tuple[str, ...]
    direct_url: str | None
    editable: bool
    installer: str | None
    requested: bool

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Distribution:
        """Read what as_json gave; TypeError if it is something else."""
        return cls(
            **{**data, "requires": tuple(data["requires"]), "modules": tuple(data["modules"])}
        )


@dataclass(frozen=True)
class Environment:
    """An interpreter and what is installed for it.

    ``python`` is the full version, ``platform`` sysconfig's name of the platform, ``glibc`` X.Y or
    None, ``kind`` one of venv, virtualenv, conda and system.
    """

    python: str
    implementation: str
    platform: str
    glibc: str | None
    kind: str
    distributions: tuple[Distribution, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Environment:
        """Read what as_json gave; KeyError or TypeError if it is something else."""
        return cls(
            **{**data, "distributions": tuple(map(Distribution.from_json, data["distributions"]))}
        )

    def as_json(self) -> dict[str, Any]:
        """Give the environment as plain JSON data."""
        return asdict(self)

    def providers(self, module: str) -> tuple[Distribution, ...]:
        """Give the distributions that bring an import name (as Capture.modules has them)."""
        return tuple(d for d in self.distributions if module in d.modules and not d.editable)

    def without_tool(self, modules: Iterable[str]) -> Environment:
        """Leave out what is there only because imagesmith is installed in this environment.

        That is imagesmith and what it requires, unless the user asked for it by name, something
        else requires it, or it brings one of ``modules``.
        """
        known = {d.name: d for d in self.distributions}
        if _TOOL not in known:
            return self
        wanted = {d.name for module in modules for d in self.providers(module)}
        of_tool = self._closure({_TOOL})
        others = self._closure((known.keys() - of_tool) | wanted | self._requested())
        kept = known.keys() - (of_tool - others)
        return replace(self, distributions=tuple(d for d in self.distributions if d.name in kept))

    def _requested(self) -> set[str]:
        return {d.name for d in self.distributions if d.requested and d.name != _TOOL}

    def _closure(self, names: Iterable[str]) -> set[str]:
        """Give these distributions and all that they require, as far as it is installed."""
        known = {d.name: d for d in self.distributions}
        reached: set[tuple[str, str]] = set()
        waiting = [(name, "") for name in names]
        while waiting:
            name, extra = waiting.pop()
            if (name, extra) in reached or name not in known:
                continue
            reached.add((name, extra))
            for needed in self._required(known[name], extra):
                waiting += [(_name(needed), one) for one in ("", *needed.extras)]
        return {name for name, _ in reached}

    def _required(self, distribution: Distribution, extra: str) -> Iterable[Requirement]:
        from packaging.requirements import InvalidRequirement, Requirement

        place = {"python_version": _minor(self.python), "python_full_version": self.python}
        for line in distribution.requires:
            try:
                requirement = Requirement(line)
            except InvalidRequirement:  # an old upload: what it meant, nobody can say
                continue
            if not requirement.marker or requirement.marker.evaluate({**place, "extra": extra}):
                yield requirement


def interpreter(env: str, environ: Mapping[str, str]) -> Path:
    """Find the Python of an environment.

    ``env`` is a prefix folder or "auto": VIRTUAL_ENV, else CONDA_PREFIX, else the running one.
    Raises ImagesmithError: capture.no-python, capture.python-old.
    """
    prefix = env
    if env == "auto":
        prefix = environ.get("VIRTUAL_ENV") or environ.get("CONDA_PREFIX") or ""
        if not prefix:
            return Path(sys.executable)
    found = next(filter(Path.is_file, _candidates(Path(prefix))), None)
    if found is None:
        raise ImagesmithError(
            error(
                "capture.no-python",
                prefix,
                f"there is no Python in {prefix}",
                "name the folder of an environment that holds bin/python, as --env PREFIX",
            )
        )
    _check_age(found)
    return found


def _candidates(prefix: Path) -> Iterable[Path]:
    return (prefix.absolute() / "bin" / name for name in ("python", "python3"))


def _check_age(python: Path) -> None:
    # -E and -S: nothing of the environment is started, only its version is asked for.
    ask = [str(python), "-E", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, check=True)
        version = tuple(map(int, done.stdout.strip().split(".")))
    except (OSError, ValueError, subprocess.CalledProcessError) as fault:
        raise ImagesmithError(
            error(
                "capture.no-python",
                python,
                f"{python} does not run: {fault}",
                "make the environment anew, or name another one, as --env PREFIX",
            )
        ) from fault
    if version < OLDEST:
        raise ImagesmithError(
            error(
                "capture.python-old",
                python,
                f"{python} is Python {done.stdout.strip()}",
                "make the environment with Python {}.{} or later".format(*OLDEST),
            )
        )


def _name(requirement: Requirement) -> str:
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(requirement.name))


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
