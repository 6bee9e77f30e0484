"""What the stage asks of whoever finds versions that fit together; uv.py is the one for pip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from imagesmith.resolve.relax import Pin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from imagesmith.resolve.indexes import Indexes
    from imagesmith.resolve.platform import Target


@dataclass(frozen=True)
class BuiltFile:
    """A wheel on the disk, under another name than its own."""

    filename: str
    path: Path


@dataclass(frozen=True)
class Question:
    """What is to be locked, for what, and from where.

    ``requirements`` (PEP 508, sorted) must hold; ``preferences`` (``name==version``, sorted) are
    taken where they fit. ``provided`` (``name==version``) is there already, from conda: no other
    version of it may be chosen, and the answer does not bring it again. ``built`` are wheels that
    no index has, ``constraints`` (PEP 508) hold for what is chosen and ask for nothing.
    """

    requirements: tuple[str, ...]
    preferences: tuple[str, ...]
    target: Target
    indexes: Indexes
    provided: tuple[str, ...] = ()
    built: tuple[BuiltFile, ...] = ()
    constraints: tuple[str, ...] = ()

    @property
    def public(self) -> list[Any]:
        """The question as JSON data, without credentials: what its answer is remembered under."""
        target = [self.target.python, self.target.glibc]
        built = [file.filename for file in self.built]
        limits = [self.provided, built, self.constraints]
        return [self.requirements, self.preferences, target, self.indexes.public, *limits]

    @property
    def pins(self) -> tuple[Pin, ...]:
        """The requirements that are exact versions."""
        return tuple(Pin(*r.split("==")) for r in self.requirements if "==" in r)

    def pinned(self, pins: Iterable[Pin]) -> Question:
        """Give the question with other pins instead of its own."""
        free = [r for r in self.requirements if "==" not in r]
        lines = [f"{pin.name}=={pin.version}" if pin.version else pin.name for pin in pins]
        return replace(self, requirements=tuple(sorted([*free, *lines])))

    def without(self, names: Collection[str]) -> Question:
        """Give the question without the requirements of these names."""
        kept = tuple(r for r in self.requirements if r.partition("==")[0] not in names)
        return replace(self, requirements=kept)


class Solver(Protocol):
    """Chooses a version of every package that is needed."""

    @property
    def identity(self) -> str:
        """The solver and its version: another one may answer otherwise."""

    def solve(self, question: Question) -> bytes:
        """Give the answer as a pylock.toml (PEP 751).

        Raises ImagesmithError: reach.…, missing.… (its subject ``name`` or ``name==version``) or
        unsatisfiable.….
        """
