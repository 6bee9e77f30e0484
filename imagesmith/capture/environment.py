"""The Python environment that a function was captured in, as frozen data."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.requirements import Requirement

OLDEST = (3, 8)
_TOOL = "imagesmith"


@dataclass(frozen=True)
class Distribution:
    """One installed distribution.

    ``name`` is normalised (PEP 503), ``requires`` are PEP 508 lines, ``modules`` the import names
    it brings: top-level, or dotted inside a namespace package. ``direct_url`` is the URL it came
    from (PEP 610, written as PEP 440's direct references are), without credentials and query,
    ``installer`` and ``requested`` say who installed it and whether by name (PEP 376), ``size`` is
    the bytes that its RECORD tells of.
    """

    name: str
    version: str
    requires: tuple[str, ...]
    modules: tuple[str, ...]
    direct_url: str | None
    editable: bool
    installer: str | None
    requested: bool
    size: int

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Distribution:
        """Read what as_json gave; KeyError or TypeError if it is something else."""
        requires, modules = tuple(data["requires"]), tuple(data["modules"])
        _check_texts(data["name"], data["version"], *requires, *modules)
        return cls(**{**data, "requires": requires, "modules": modules})


@dataclass(frozen=True)
class CondaPackage:
    """One package that conda has installed.

    ``subdir`` is the platform it was built for ("osx-arm64", "noarch"), ``channel`` the URL of the
    channel it came from, without credentials, ``requires`` match specs. ``distributions`` are the
    normalised names of the Python distributions among its files, ``modules`` the import names it
    brings, ``requested`` the spec that it was asked for by (None: it came with others), ``size``
    its bytes on the disk.
    """

    name: str
    version: str
    build: str
    subdir: str
    channel: str
    requires: tuple[str, ...]
    distributions: tuple[str, ...]
    modules: tuple[str, ...]
    requested: str | None
    size: int

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CondaPackage:
        """Read what as_json gave; KeyError or TypeError if it is something else."""
        lists = {key: tuple(data[key]) for key in ("requires", "distributions", "modules")}
        texts = (data[key] for key in ("name", "version", "build", "subdir", "channel"))
        _check_texts(*texts, *(text for many in lists.values() for text in many))
        return cls(**{**data, **lists})


@dataclass(frozen=True)
class Environment:
    """An interpreter and what is installed for it.

    ``python`` is the full version, ``platform`` sysconfig's name of the platform, ``glibc`` X.Y or
    None, ``kind`` one of venv, virtualenv, conda and system. ``distributions`` have each name once,
    those that conda's ``packages`` brought among them; ``channels`` are conda's, the first first,
    as URLs without credentials.
    """

    python: str
    implementation: str
    platform: str
    glibc: str | None
    kind: str
    distributions: tuple[Distribution, ...]
    packages: tuple[CondaPackage, ...] = ()
    channels: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Environment:
        """Read what as_json gave; KeyError or TypeError if it is something else."""
        channels = tuple(data.get("channels", ()))
        _check_texts(data["python"], data["platform"], data["kind"], *channels)
        lists = {
            "distributions": tuple(map(Distribution.from_json, data["distributions"])),
            "packages": tuple(map(CondaPackage.from_json, data.get("packages", ()))),
            "channels": channels,
        }
        return cls(**{**data, **lists})

    def as_json(self) -> dict[str, Any]:
        """Give the environment as plain JSON data."""
        return asdict(self)

    @property
    def minor(self) -> str:
        """The Python version as X.Y."""
        return ".".join(self.python.split(".")[:2])

    def providers(self, module: str) -> tuple[Distribution, ...]:
        """Give the distributions that an import name comes from.

        They are those whose modules cover the longest part of its dotted name: all of them, if
        several do, since each may hold some of its files. A bare namespace (``google``) comes from
        whatever puts something into it.
        """
        covered = [_covered(module, d.modules) for d in self.distributions]
        longest = max(covered, default=0)
        if longest:
            pairs = zip(self.distributions, covered, strict=True)
            return tuple(d for d, length in pairs if length == longest)
        below = module + "."
        return tuple(d for d in self.distributions if any(m.startswith(below) for m in d.modules))

    def closure(self, names: Iterable[str], markers: Mapping[str, str]) -> tuple[Distribution, ...]:
        """Give the distributions of these names and all that they require, sorted by name.

        ``markers`` are the values of PEP 508's environment markers where it is to hold; those that
        are not given are this machine's.
        """
        known = {d.name: d for d in self.distributions}
        # Keyed with extras, because an extra brings requirements of its own.
        waiting = [(name, "") for name in names]
        seen = set(waiting)
        while waiting:
            name, extra = waiting.pop()
            if name in known:
                new = set(_required(known[name], {**markers, "extra": extra})) - seen
                seen |= new
                waiting += new
        return tuple(known[name] for name in sorted({name for name, _ in seen} & known.keys()))

    def requirers(self, markers: Mapping[str, str]) -> dict[str, set[str]]:
        """Give for each name that a distribution requires, without extras, who requires it."""
        found: dict[str, set[str]] = {}
        for distribution in self.distributions:
            for name, _ in _required(distribution, {**markers, "extra": ""}):
                found.setdefault(name, set()).add(distribution.name)
        return found

    @property
    def markers(self) -> dict[str, str]:
        """What its Python is, as values of PEP 508's environment markers."""
        return {"python_version": self.minor, "python_full_version": self.python}

    def without_tool(self, modules: Iterable[str]) -> Environment:
        """Leave out what is there only because imagesmith is installed in this environment.

        That is imagesmith and what it requires, unless the user asked for it by name, something
        else requires it, or it brings one of ``modules``.
        """
        names = {d.name for d in self.distributions}
        if _TOOL not in names:
            return self
        wanted = {d.name for module in modules for d in self.providers(module)}
        requested = {d.name for d in self.distributions if d.requested and d.name != _TOOL}
        of_tool = {d.name for d in self.closure({_TOOL}, self.markers)}
        others = {
            d.name for d in self.closure((names - of_tool) | wanted | requested, self.markers)
        }
        kept = names - (of_tool - others)
        return replace(self, distributions=tuple(d for d in self.distributions if d.name in kept))


def _check_texts(*values: Any) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("a text of the environment is none")


def _covered(module: str, provided: Iterable[str]) -> int:
    """Give the length of the longest provided name that is the module or a parent of it."""
    return max((len(m) for m in provided if f"{module}.".startswith(f"{m}.")), default=0)


def _required(distribution: Distribution, markers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give what a distribution requires: names, and names with each extra that is asked for."""
    from packaging.utils import canonicalize_name

    for line in distribution.requires:
        try:
            requirement = _requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate(markers)
        except ValueError:  # an upload older than PEP 508: what it meant, nobody can say
            continue
        if applies:
            name = canonicalize_name(requirement.name)
            yield from ((name, extra) for extra in ("", *requirement.extras))


@lru_cache(maxsize=10_000)  # every closure asks for the same again
def _requirement(line: str) -> Requirement:
    from packaging.requirements import Requirement

    return Requirement(line)


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
    # pathlib's is_file raises where a name is too long or a folder is closed to us.
    found = next(filter(os.path.isfile, _candidates(Path(prefix))), None)
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
