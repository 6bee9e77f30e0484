"""What a project says of its build: its backend, and what that requires.

Sources: PEP 517 (build-backend, backend-path), PEP 518 (requires), PEP 508 (requirements).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.image.tar import check_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagesmith.resolve.platform import Target


@dataclass(frozen=True)
class BuildSystem:
    """The table ``[build-system]``: ``backend`` as ``module:object``, paths in the project."""

    requires: tuple[str, ...]
    backend: str
    backend_path: tuple[str, ...] = ()


_LEGACY = "setuptools.build_meta:__legacy__"


def build_system(pyproject: bytes | None, target: Target) -> BuildSystem:
    """Read a pyproject.toml, None where there is none; ValueError where it is not as it must be."""
    try:
        table = tomllib.loads((pyproject or b"").decode()).get("build-system")
    except (ValueError, RecursionError) as bad:
        raise ValueError(f"its pyproject.toml cannot be read: {bad}") from bad
    if table is None:
        return BuildSystem(("setuptools",), _LEGACY)
    if not isinstance(table, dict):
        raise ValueError("its pyproject.toml has a build-system that is no table")
    backend = table.get("build-backend", _LEGACY)
    if not isinstance(backend, str) or not _is_backend(backend):
        raise ValueError("its pyproject.toml names a build-backend that is none")
    path = _texts(table, "backend-path")
    for part in path:
        if part != ".":
            check_path(part.removeprefix("./").rstrip("/"))
    return BuildSystem(requirements(_texts(table, "requires"), target), backend, path)


def requirements(texts: Iterable[object], target: Target) -> tuple[str, ...]:
    """Give the requirements that hold for the target in their canonical form, sorted, each once.

    Raises ValueError for what is none, and for those that name a place: nobody has locked it.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    found = set()
    for text in texts:
        try:
            requirement = Requirement(str(text))
        except InvalidRequirement as bad:
            raise ValueError(f"{str(text)!r} is no requirement of a build (PEP 508)") from bad
        if requirement.url:
            raise ValueError(f"it requires {requirement.name} from a URL, not from an index")
        marker, requirement.marker = requirement.marker, None
        if marker is None or marker.evaluate({**target.markers, "extra": ""}):
            found.add(str(requirement))
    return tuple(sorted(found))


def _texts(table: dict[str, Any], key: str) -> tuple[str, ...]:
    texts = table.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"its pyproject.toml has a {key} that is no list of texts")
    return tuple(texts)


def _is_backend(text: str) -> bool:
    module, _, attributes = text.partition(":")
    names = [*module.split("."), *(attributes.split(".") if attributes else ())]
    return all(name.isidentifier() for name in names)
