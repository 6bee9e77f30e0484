"""What the image needs of the captured environment, as pins, requirements and preferences.

What the function's modules need is pinned to its captured version. What is only needed by those is
a preference: the solver takes it where it fits linux-64, so that what belongs to the platform of
the capture vanishes by itself. What conda brought stays conda's, the rest is pip's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, error, warning
from imagesmith.resolve.origin import Origin
from imagesmith.resolve.relax import Pin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from imagesmith.capture.environment import CondaPackage, Distribution, Environment
    from imagesmith.resolve.indexes import Indexes
    from imagesmith.resolve.platform import Target

# What the runtime needs beside cloudpickle, in versions that it was tested with. Preferred where
# the environment has none of its own, so that the same capture gives the same lock on any day.
TESTED: Mapping[str, str] = {"numpy": "2.4.6", "prometheus-client": "0.26.0", "pyzmq": "27.3.0"}
_LAST_NUMPY: Mapping[str, str] = {"3.9": "2.0.2", "3.10": "2.2.6"}  # for Pythons that it left
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z")  # normalised
FUNCTION = "the function"
RUNTIME = "the runtime"


@dataclass(frozen=True)
class Wanted:
    """An environment, and what of it is wanted in the image.

    ``modules`` are the import names that the function uses; None where there is no function: then
    it is what the user installed by name. ``cloudpickle`` is the version that pickled the function,
    ``recorded`` the versions of distributions that objects in it say they were pickled by.
    """

    environment: Environment
    modules: tuple[str, ...] | None = None
    cloudpickle: str | None = None
    recorded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """What the user wants otherwise than it was captured.

    ``everything``: the whole environment. ``allow_missing``: names that may be left out though
    they are needed. ``updates``: versions that take the place of the captured ones (None: any).
    """

    everything: bool = False
    allow_missing: frozenset[str] = frozenset()
    updates: Mapping[str, str | None] = field(default_factory=dict)

    def pin(self, name: str, version: str) -> Pin:
        """Give the pin of a package that was captured in this version."""
        return Pin(name, self.updates.get(name, version))


@dataclass(frozen=True)
class Needs:
    """What to ask of channels and indexes, each sorted, and what is to be said of it.

    ``pins`` and ``likes`` are conda's, ``requirements`` and ``preferences`` pip's; ``needed_by``
    says for each captured name that is needed what needs it. ``origins`` are those that come from
    elsewhere than an index.
    """

    pins: tuple[Pin, ...]
    likes: tuple[Pin, ...]
    requirements: tuple[str, ...]
    preferences: tuple[str, ...]
    needed_by: Mapping[str, tuple[str, ...]]
    origins: tuple[Origin, ...]
    findings: tuple[Finding, ...]


def needs(wanted: Wanted, target: Target, indexes: Indexes, wish: Wish) -> Needs:
    """Say what is needed of channels and of an index.

    Findings: ``missing.not-on-index`` for each needed distribution that no index can give,
    warnings for modules without a distribution.
    """
    environment = wanted.environment
    tested = runtime(target.python)
    by_conda = {d: package for package in environment.packages for d in package.distributions}
    direct, packages = _direct(wanted, wish)
    packages |= {by_conda[name].name: by_conda[name] for name in direct if name in by_conda}
    by_pip = {name: d for name, d in direct.items() if name not in by_conda}
    pins = {name: wish.pin(name, d.version) for name, d in by_pip.items()}
    if wanted.cloudpickle:
        pins["cloudpickle"] = Pin("cloudpickle", wanted.cloudpickle)
    reached = environment.closure({*by_pip, *tested, "cloudpickle"}, target.markers)
    brought = {by_conda[d.name].name: by_conda[d.name] for d in reached if d.name in by_conda}
    conda = _conda_pins(packages, brought, wanted, wish)
    chain = _conda_closure(environment, conda)
    liked = environment.closure({*pins, *tested}, target.markers)
    versions = {**tested, **{d.name: d.version for d in liked if is_standard(d.version)}}
    kept = versions.keys() - pins.keys() - by_conda.keys()
    needed = environment.closure(by_pip, target.markers)
    return Needs(
        pins=tuple(sorted(conda.values(), key=lambda pin: pin.name)),
        likes=tuple(sorted(Pin(p.name, p.version) for p in chain if not _is_exact(conda, p.name))),
        requirements=tuple(sorted([*map(_line, pins.values()), *(tested.keys() - pins.keys())])),
        preferences=tuple(sorted(f"{name}=={versions[name]}" for name in kept)),
        needed_by=_needed_by(
            {*direct, *packages},
            environment.requirers(target.markers),
            {d.name for d in (*needed, *liked)},
            chain,
            tested,
        ),
        origins=tuple(
            Origin(d.name, d.version, d.direct_url)
            for d in needed
            if d.name not in by_conda and d.direct_url and d.installer != "conda"
        ),
        findings=(
            *_without_provider(wanted),
            *_not_on_index((d for d in needed if d.name not in by_conda), by_pip, indexes),
        ),
    )


def runtime(python: str) -> dict[str, str]:
    """Give what the runtime needs beside cloudpickle, in tested versions for a Python (X.Y)."""
    return {**TESTED, "numpy": _LAST_NUMPY.get(python, TESTED["numpy"])}


def _direct(wanted: Wanted, wish: Wish) -> tuple[dict[str, Distribution], dict[str, CondaPackage]]:
    """Give the distributions and the conda packages that are needed for their own sake."""
    environment = wanted.environment
    distributions, packages = environment.distributions, environment.packages
    if wish.everything:
        chosen, others = distributions, packages
    elif wanted.modules is None:
        chosen, others = _asked_for(environment)
    else:
        chosen = tuple(d for module in wanted.modules for d in environment.providers(module))
        covered = {module for module in wanted.modules if environment.providers(module)}
        rest = set(wanted.modules) - covered
        others = tuple(p for p in packages if rest & set(p.modules))
    left = wish.allow_missing
    return (
        {d.name: d for d in chosen if d.name not in left},
        {p.name: p for p in others if p.name not in left and not left & {*p.distributions}},
    )


def _asked_for(
    environment: Environment,
) -> tuple[tuple[Distribution, ...], tuple[CondaPackage, ...]]:
    """Give what was installed by name; where nobody remembers, what nothing else requires."""
    by_conda = {d for package in environment.packages for d in package.distributions}
    by_pip = [d for d in environment.distributions if d.name not in by_conda]
    asked = tuple(d for d in by_pip if d.requested)
    packages = tuple(p for p in environment.packages if p.requested)
    if not asked and not packages:
        required = {_name(spec) for p in environment.packages for spec in p.requires}
        packages = tuple(p for p in environment.packages if p.name not in required)
        below = environment.requirers({})
        asked = tuple(d for d in by_pip if d.name not in below)
    return asked, packages


def _conda_pins(
    direct: Mapping[str, CondaPackage],
    brought: Mapping[str, CondaPackage],
    wanted: Wanted,
    wish: Wish,
) -> dict[str, Pin]:
    """Pin what is needed itself; what pip's packages stand on must be there in some version."""
    pins = {name: Pin(name, None) for name in brought}
    pins |= {name: wish.pin(name, package.version) for name, package in direct.items()}
    cloudpickle = next((p for p in brought.values() if "cloudpickle" in p.distributions), None)
    if cloudpickle and wanted.cloudpickle:
        pins[cloudpickle.name] = Pin(cloudpickle.name, cloudpickle.version)
    pins.pop("python", None)  # its minor version always holds, its patch may move
    return pins


def _is_exact(pins: Mapping[str, Pin], name: str) -> bool:
    return name in pins and pins[name].version is not None


def _conda_closure(environment: Environment, names: Iterable[str]) -> list[CondaPackage]:
    """Give the captured packages of these names, python, and all that they require."""
    known = {package.name: package for package in environment.packages}
    waiting, seen = ["python", *names], set()
    while waiting:
        name = waiting.pop()
        if name in known and name not in seen:
            seen.add(name)
            waiting += map(_name, known[name].requires)
    return [known[name] for name in sorted(seen)]


def _name(spec: str) -> str:
    """Give the name in a match spec of a package's requirements."""
    return re.split(r"[\s=<>!~\[]", spec.rpartition("::")[2].strip(), maxsplit=1)[0].lower()


def _line(pin: Pin) -> str:
    return f"{pin.name}=={pin.version}" if pin.version else pin.name


def _needed_by(
    direct: Collection[str],
    requirers: Mapping[str, set[str]],
    needed: Collection[str],
    chain: Iterable[CondaPackage],
    runtime: Collection[str],
) -> dict[str, tuple[str, ...]]:
    """Say who needs what: the function, the runtime, and packages that are needed themselves."""
    users: dict[str, set[str]] = {name: {FUNCTION} for name in direct}
    for name in (*runtime, "cloudpickle"):
        users.setdefault(name, set()).add(RUNTIME)
    for name, by in requirers.items():
        if kept := by & {*needed}:
            users.setdefault(name, set()).update(kept)
    for package in chain:
        for spec in package.requires:
            users.setdefault(_name(spec), set()).add(package.name)
    return {name: tuple(sorted(by - {name})) for name, by in users.items()}


def is_standard(version: str) -> bool:
    """Say whether a version is one of PEP 440; no index has another."""
    from packaging.version import InvalidVersion, Version

    try:
        Version(version)
    except InvalidVersion:
        return False
    return True


def _without_provider(wanted: Wanted) -> Iterator[Finding]:
    known = {module for package in wanted.environment.packages for module in package.modules}
    for module in wanted.modules or ():
        if module not in known and not wanted.environment.providers(module):
            yield warning(
                "missing.module",
                module,
                f"no installed distribution provides the module {module}, so the image has it not",
                "install what brings it with pip, and capture again, if the function needs it",
            )


def _not_on_index(
    needed: Iterable[Distribution], direct: Collection[str], indexes: Indexes
) -> Iterator[Finding]:
    for distribution in needed:
        if why := _why_not(distribution, indexes):
            named = f"{distribution.name}=={distribution.version}"
            role = "needed by the function" if distribution.name in direct else "required by others"
            yield error(
                "missing.not-on-index",
                named,
                f"{named}, {role}, {why}, so no index can give it",
                f"install a release of it from an index (pip install {distribution.name}), or "
                "publish it on an index of yours and pass --index-url URL",
            )


def _why_not(distribution: Distribution, indexes: Indexes) -> str | None:
    if not _NAME.match(distribution.name) or not is_standard(distribution.version):
        return "has a name or a version that the standards (PEP 508, PEP 440) do not allow"
    if distribution.direct_url:  # a wheel is made of it
        return None
    if distribution.editable:
        return "is an editable installation, and nobody says of what"
    if "+" in distribution.version and indexes.only_public:
        return "is a local version, which the public index does not take"
    return None
