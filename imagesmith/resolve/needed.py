"""What the image needs of the captured environment, as requirements and preferences.

What the function's modules need is pinned to its captured version. What is only needed by those is
a preference: the solver takes it where it fits linux-64, so that what belongs to the platform of
the capture vanishes by itself.
"""

from __future__ import annotations

import re
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
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z")  # normalised


@dataclass(frozen=True)
class Needs:
    """What to ask the solver for, each sorted, and what is to be said of it."""

    requirements: tuple[str, ...]
    preferences: tuple[str, ...]
    findings: tuple[Finding, ...]


def needs(capture: Capture, target: Target, indexes: Indexes) -> Needs:
    """Say what a capture needs of an index.

    Findings: ``missing.not-on-index`` for each needed distribution that no index can give,
    warnings for modules without a distribution.
    """
    environment = capture.environment
    tested = {**_TESTED, "numpy": _LAST_NUMPY.get(target.python, _TESTED["numpy"])}
    direct = {d.name: d for module in capture.modules for d in environment.providers(module)}
    pins = {name: d.version for name, d in direct.items()} | {"cloudpickle": capture.cloudpickle}
    reached = environment.closure(direct, target.markers)
    liked = environment.closure({*pins, *tested}, target.markers)
    versions = {**tested, **{d.name: d.version for d in liked if _is_standard(d.version)}}
    return Needs(
        tuple(sorted([*_exact(pins), *(tested.keys() - pins.keys())])),
        tuple(sorted(_exact({k: v for k, v in versions.items() if k not in pins}))),
        (*_without_provider(capture), *_not_on_index(reached, direct, indexes)),
    )


def _is_standard(version: str) -> bool:
    """Say whether a version is one of PEP 440; no index has another."""
    from packaging.version import InvalidVersion, Version

    try:
        Version(version)
    except InvalidVersion:
        return False
    return True


def _exact(versions: Mapping[str, str]) -> list[str]:
    return [f"{name}=={version}" for name, version in versions.items()]


def _without_provider(capture: Capture) -> Iterator[Finding]:
    for module in capture.modules:
        if not capture.environment.providers(module):
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
    if not _NAME.match(distribution.name) or not _is_standard(distribution.version):
        return "has a name or a version that the standards (PEP 508, PEP 440) do not allow"
    if distribution.editable:
        return "is an editable installation"
    # conda's packages are built with pip and keep the URL of the folder they were built in.
    if distribution.direct_url is not None and distribution.installer != "conda":
        return "was installed from a file or a repository"
    if "+" in distribution.version and indexes.only_public:
        return "is a local version, which the public index does not take"
    return None
