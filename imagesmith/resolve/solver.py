"""What the stage asks of whoever finds versions that fit together; uv.py is the one for pip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from imagesmith.resolve.indexes import Indexes
    from imagesmith.resolve.platform import Target


@dataclass(frozen=True)
class Question:
    """What is to be locked, for what, and from where.

    ``requirements`` (PEP 508, sorted) must hold; ``preferences`` (``name==version``, sorted) are
    taken where they fit.
    """

    requirements: tuple[str, ...]
    preferences: tuple[str, ...]
    target: Target
    indexes: Indexes

    @property
    def public(self) -> list[Any]:
        """The question as JSON data, without credentials: what its answer is remembered under."""
        target = [self.target.python, self.target.glibc]
        return [self.requirements, self.preferences, target, self.indexes.public]

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
