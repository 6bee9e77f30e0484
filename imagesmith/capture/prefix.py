"""An environment read by its folder, of any platform: nothing of it is run.

conda-meta says what conda has installed, the folders in site-packages what Python's own tools
have; the latter are read by the agent's functions, as in an environment that runs.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.capture.conda import META, read_conda
from imagesmith.capture.environment import CondaPackage, Distribution, Environment
from imagesmith.findings import Finding, ImagesmithError, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_VERSION = re.compile(r"\d+\.\d+[\w.]*?(?=\.(?:final|alpha|beta|candidate)\.\d+\Z|\Z)")
_LIBRARY = re.compile(r"(?:python|pypy)(\d+)\.(\d+)(t?)\Z")
# sysconfig's names of conda's platforms, as conda-forge's Pythons have them.
_PLATFORMS = {
    "linux-64": "linux-x86_64",
    "linux-aarch64": "linux-aarch64",
    "linux-ppc64le": "linux-ppc64le",
    "osx-64": "macosx-10.13-x86_64",
    "osx-arm64": "macosx-11.0-arm64",
    "win-32": "win32",
    "win-64": "win-amd64",
    "win-arm64": "win-arm64",
}


def read_prefix(prefix: Path) -> tuple[Environment, tuple[Finding, ...]]:
    """Read the environment in a folder: conda's, or one of venv, virtualenv, uv or pyenv.

    What lies in the user's own site folder, which some interpreters add, is not in it. The
    findings are warnings: capture.broken-metadata for all that had to be left out,
    capture.several-versions, usage.condarc. Raises ImagesmithError: capture.no-environment where
    the folder is none, capture.no-python where conda has installed no Python in it.
    """
    from imagesmith.capture import agent

    prefix = prefix.absolute()
    if not os.path.isdir(prefix):  # noqa: PTH112 (pathlib's raises for some names)
        raise ImagesmithError(_no_environment(prefix))
    packages, channels, conda_findings = read_conda(prefix, os.environ)
    root = _root(prefix, packages)
    told: list[dict[str, Any]] = []
    described = agent.read_distributions(root.paths, root.spelled_sites, told)
    distributions = tuple(Distribution.from_json(found) for found in described)
    here = agent.read_interpreter()
    platform = _platform(packages, prefix) or here["platform"]
    environment = Environment(
        python=root.python,
        implementation=root.implementation,
        platform=platform,
        glibc=here["glibc"] if platform == here["platform"] else None,
        kind=agent.kind_of(str(prefix)),
        distributions=distributions,
        packages=packages,
        channels=channels,
    )
    return environment, (*conda_findings, *map(Finding.from_dict, told))


@dataclass(frozen=True)
class _Root:
    """An environment's Python, and the folders of what is installed for it, the first first."""

    python: str
    implementation: str
    sites: tuple[Path, ...]

    @property
    def paths(self) -> list[str]:
        """The sites, each followed by what its .pth files name, as the site module has it."""
        return list(dict.fromkeys(chain.from_iterable(map(_with_named, self.sites))))

    @property
    def spelled_sites(self) -> list[str]:
        """The sites as they are written and as links lead."""
        return list({spell(site) for site in self.sites for spell in (str, os.path.realpath)})


def _root(prefix: Path, packages: Iterable[CondaPackage]) -> _Root:
    known = next((package for package in packages if package.name == "python"), None)
    config = _config(prefix / "pyvenv.cfg")
    python = (known and known.version) or _version(config) or _installed(prefix)
    if python is None:
        raise ImagesmithError(_no_environment(prefix))
    implementation = config.get("implementation", "").lower()
    if not implementation:
        is_pypy = bool(known and "pypy" in known.build)
        implementation = "pypy" if is_pypy else "cpython"
    return _Root(python, implementation, tuple(_sites(prefix, python, config)))


def _config(path: Path) -> dict[str, str]:
    """Read a pyvenv.cfg (PEP 405), {} where there is none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _version(config: Mapping[str, str]) -> str | None:
    """Give the version; virtualenv writes 3.11.2.final.0 as well."""
    given = (config.get(key, "") for key in ("version", "version_info"))
    return next((match[0] for match in map(_VERSION.match, given) if match), None)


def _installed(prefix: Path) -> str | None:
    """Give the version of the newest Python in a folder; X.Y alone where its headers lack."""
    found = [match for folder in prefix.glob("lib/p*") if (match := _is_library(folder))]
    if not found:
        return None
    newest = max(found, key=lambda match: (int(match[1]), int(match[2])))
    minor = f"{newest[1]}.{newest[2]}"
    for header in prefix.glob(f"include/{newest[0]}*/patchlevel.h"):
        text = header.read_text(encoding="utf-8", errors="replace")
        if said := re.search(rf'#define\s+PY_VERSION\s+"({re.escape(minor)}\.\w+)', text):
            return said[1]
    return minor


def _is_library(folder: Path) -> re.Match[str] | None:
    """Match a folder of a Python's library: lib/python3.11."""
    holds = ("os.py", "site-packages", "dist-packages")
    return _LIBRARY.match(folder.name) if any((folder / n).exists() for n in holds) else None


def _sites(prefix: Path, python: str, config: Mapping[str, str]) -> Iterator[Path]:
    """Give the folders of installed distributions that are there, as sys.path orders them."""
    minor = ".".join(python.split(".")[:2])
    places = [
        "Lib/site-packages",
        *(f"{lib}/{name}{minor}{tail}/site-packages" for lib, name, tail in _SPELLINGS),
        # Debian's.
        f"local/lib/python{minor}/dist-packages",
        "lib/python3/dist-packages",
    ]
    yield from (prefix / place for place in places if (prefix / place).is_dir())
    home = config.get("home")
    if home and config.get("include-system-site-packages", "").lower() == "true":
        base = Path(home) if Path(home).name not in ("bin", "Scripts") else Path(home).parent
        if base != prefix:
            yield from _sites(base, python, {})


_SPELLINGS = [
    ("lib", "python", ""),
    ("lib", "python", "t"),
    ("lib64", "python", ""),
    ("lib", "pypy", ""),
]


def _with_named(site: Path) -> Iterator[str]:
    """Give a folder and those that .pth files in it name; their lines of code are not run."""
    yield str(site)
    for path in sorted(site.glob("[!.]*.pth")):
        try:
            lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
        except OSError:  # the interpreter passes over it, too
            continue
        for line in lines:
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                named = os.path.join(site, line.rstrip())  # noqa: PTH118 (it may hold anything)
                if "\0" not in named and os.path.exists(named):  # noqa: PTH110
                    yield os.path.abspath(named)  # noqa: PTH100


def _platform(packages: Iterable[CondaPackage], prefix: Path) -> str | None:
    """Give sysconfig's name of the platform, None if it is this machine's as far as one can see."""
    subdirs = Counter(package.subdir for package in packages if package.subdir != "noarch")
    if subdirs:
        most = min(subdirs, key=lambda subdir: (-subdirs[subdir], subdir))
        return _PLATFORMS.get(most, most)
    return "win-amd64" if (prefix / "Scripts/python.exe").is_file() else None


def _no_environment(prefix: Path) -> Finding:
    if os.path.isdir(prefix / META):  # noqa: PTH112 (as above)
        return error(
            "capture.no-python",
            prefix,
            f"conda has installed no Python in {prefix}",
            f"install the Python that the function runs with: conda install -p {prefix} python",
        )
    return error(
        "capture.no-environment",
        prefix,
        f"{prefix} is no environment: it holds neither conda-meta, nor pyvenv.cfg, nor"
        " lib/pythonX.Y/site-packages",
        "name the folder of an environment: `conda env list` shows conda's,"
        ' `python -c "import sys; print(sys.prefix)"` that of a Python',
    )
