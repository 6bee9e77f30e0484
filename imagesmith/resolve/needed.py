"""What the image needs of the captured environment, as requirements and preferences.

What the function's modules need is pinned to its captured version. What is only needed by those is
a preference: the solver takes it where it fits linux-64, so that what belongs to the platform of
the capture vanishes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, error, warning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from imagesmith.capture.bundle import Capture
    from imagesmith.capture.environment import Distribution
    from imagesmith.resolve.indexes import Indexes
    from imagesmith.resolve.platform import Target

# What the runtime needs beside cloudpickle, in versions that it was tested with. Preferred where
# the environment has none of its own, so that the same capture gives the same lock on any day.
_TESTED: Mapping[str, str] = {"numpy": "2.4.6", "pyzmq": "27.3.0"}
_LAST_NUMPY: Mapping[str, str] = {"3.9": "2.0.2", "3.10": "2.2.6"}  # for Pythons that it left


@dataclass(frozen=True)
class Needs:
    """What to ask the solver for, each sorted, and what is to be said of it."""

    requirements: tuple[str, ...]
    preferences: tuple[str, ...]
    findings: tuple[Finding, ...]


def needs(capture: Capture, target: Target, indexes: Indexes) -> Needs:
    """Say what a capture needs of an index.

    Findings: ``missing.not-on-index`` for each needed distribution that no index can give,
    warnings for modules without a distribution and for a distribution that is there twice.
    """
    installed = _by_name(capture.environment.distributions)
    tested = {**_TESTED, "numpy": _LAST_NUMPY.get(target.python, _TESTED["numpy"])}
    direct = {d.name: d for module in capture.modules for d in providers(module, installed)}
    pins = {name: d.version for name, d in direct.items()} | {"cloudpickle": capture.cloudpickle}
    reached = closure({*direct}, installed, target)
    liked = closure({*pins, *tested}, installed, target)
    versions = {**tested, **{d.name: d.version for d in liked if _is_standard(d.version)}}
    return Needs(
        tuple(sorted([*_exact(pins), *(tested.keys() - pins.keys())])),
        tuple(sorted(_exact({k: v for k, v in versions.items() if k not in pins}))),
        (
            *_without_provider(capture.modules, installed),
            *_twice(capture.environment.distributions),
            *_not_on_index(reached, direct, indexes),
        ),
    )


def providers(module: str, installed: Mapping[str, Distribution]) -> list[Distribution]:
    """Give the distributions that a module comes from.

    They are those whose modules cover the longest part of its dotted name: all of them, if several
    do, since each may hold some of its files. A bare namespace (``google``) comes from whatever
    puts something into it.
    """
    covered = {d.name: _covered(module, d.modules) for d in installed.values()}
    longest = max(covered.values(), default=0)
    if longest:
        return [d for d in installed.values() if covered[d.name] == longest]
    below = module + "."
    return [d for d in installed.values() if any(m.startswith(below) for m in d.modules)]


def closure(
    names: Collection[str], installed: Mapping[str, Distribution], target: Target
) -> list[Distribution]:
    """Give the installed distributions of these names and all they require on the target."""
    # Keyed with extras, because an extra brings requirements of its own.
    waiting = [(name, "") for name in sorted(names)]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        if name in installed:
            new = [n for n in _required(installed[name], extra, target) if n not in seen]
            seen.update(new)
            waiting += new
    return [installed[name] for name in sorted({name for name, _ in seen}) if name in installed]


def _required(distribution: Distribution, extra: str, target: Target) -> Iterator[tuple[str, str]]:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    for text in distribution.requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # metadata older than PEP 508; here it could only have been a preference
        marker = requirement.marker
        if marker is None or marker.evaluate({**target.markers, "extra": extra}):
            name = canonicalize_name(requirement.name)
            yield name, ""
            yield from ((name, wanted) for wanted in sorted(requirement.extras))


def _covered(module: str, provided: Iterable[str]) -> int:
    """Give the length of the longest provided name that is the module or a parent of it."""
    return max((len(m) for m in provided if f"{module}.".startswith(f"{m}.")), default=0)


def _by_name(distributions: Iterable[Distribution]) -> dict[str, Distribution]:
    """Index by name; of several versions the first counts, as it does for the import system."""
    found: dict[str, Distribution] = {}
    for distribution in distributions:
        found.setdefault(distribution.name, distribution)
    return found


def _is_standard(version: str) -> bool:
    """Say whether a version is one of PEP 440; no index has another, so none is to be preferred."""
    from packaging.version import InvalidVersion, Version

    try:
        Version(version)
    except InvalidVersion:
        return False
    return True


def _exact(versions: Mapping[str, str]) -> list[str]:
    return [f"{name}=={version}" for name, version in versions.items()]


def _without_provider(
    modules: Iterable[str], installed: Mapping[str, Distribution]
) -> Iterator[Finding]:
    for module in modules:
        if not providers(module, installed):
            yield warning(
                "missing.module",
                module,
                f"no installed distribution provides the module {module}, so the image has it not",
                "install it with pip, or pass its source with --include, if the function needs it",
            )


def _twice(distributions: Iterable[Distribution]) -> Iterator[Finding]:
    versions: dict[str, list[str]] = {}
    for distribution in distributions:
        versions.setdefault(distribution.name, []).append(distribution.version)
    for name, found in sorted(versions.items()):
        if len(found) > 1:
            yield warning(
                "capture.several-versions",
                name,
                f"{name} is installed {len(found)} times ({', '.join(found)}); {found[0]} counts",
                f"remove the others from the environment: pip uninstall {name}",
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
    if distribution.editable:
        return "is an editable installation"
    # conda's packages are built with pip and keep the URL of the folder they were built in.
    if distribution.direct_url is not None and distribution.installer != "conda":
        return "was installed from a file or a repository"
    if "+" in distribution.version and indexes.only_public:
        return "is a local version, which the public index does not take"
    return None
