"""What is asked for one lock: of channels, of indexes, and of whoever makes wheels."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imagesmith.resolve.indexes import configured
from imagesmith.resolve.needed import Wanted, Wish, needs
from imagesmith.resolve.relax import Pin
from imagesmith.resolve.solver import Question
from imagesmith.store import key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagesmith.capture.environment import CondaPackage, Distribution
    from imagesmith.capture.specification import Specification
    from imagesmith.resolve.conda.ask import CondaQuestion
    from imagesmith.resolve.indexes import Indexes
    from imagesmith.resolve.needed import Needs
    from imagesmith.resolve.platform import Target
    from imagesmith.resolve.solver import Solver


@dataclass(frozen=True)
class Sources:
    """What the user names instead of the sources that are configured or were captured.

    ``cuda`` is the version of ``__cuda`` that the target has.
    """

    index_url: str | None = None
    channels: tuple[str, ...] = ()
    cuda: str | None = None


@dataclass(frozen=True)
class Asked:
    """All that is asked for one lock."""

    wanted: Wanted | Specification
    needs: Needs
    pip: Question
    conda: CondaQuestion | None

    @property
    def packages(self) -> tuple[CondaPackage, ...]:
        """What conda had captured."""
        return self.wanted.environment.packages if isinstance(self.wanted, Wanted) else ()

    @property
    def distributions(self) -> tuple[Distribution, ...]:
        """What was captured of Python's own."""
        return self.wanted.environment.distributions if isinstance(self.wanted, Wanted) else ()

    @property
    def by_pip(self) -> list[Distribution]:
        """What was captured and is not conda's."""
        by_conda = {d for package in self.packages for d in package.distributions}
        return [d for d in self.distributions if d.name not in by_conda]

    def key(self, solver: Solver) -> str:
        """Give what the answer is remembered under."""
        captured = [
            [[d.name, d.version, d.size] for d in self.distributions],
            [[p.name, p.version, p.build, p.size] for p in self.packages],
        ]
        conda = self.conda.public if self.conda else None
        users = {name: list(by) for name, by in self.needs.needed_by.items()}
        origins = [origin.public for origin in self.needs.origins]
        return key_of(self.pip.public, conda, captured, users, origins, solver.identity)


def ask_for(wanted: Wanted | Specification, target: Target, wish: Wish, sources: Sources) -> Asked:
    """Turn what is wanted into questions. Raises ImagesmithError: usage.…"""
    if isinstance(wanted, Wanted):
        indexes = configured(sources.index_url, os.environ)
        needed = needs(wanted, target, indexes, wish)
        channels = wanted.environment.channels
        packages = wanted.environment.packages
        constraints: tuple[str, ...] = ()
    else:
        from imagesmith.resolve import specified

        indexes = _indexes(wanted, sources)
        needed = specified.needs(wanted, target, wish)
        channels, packages = wanted.channels, ()
        constraints = tuple(c.line for c in wanted.constraints if c.kind == "index")
    pip = Question(
        needed.requirements, needed.preferences, target, indexes, constraints=constraints
    )
    conda = None
    if packages or needed.pins:
        conda = _of_channels(packages, needed, target, sources.channels or channels, sources.cuda)
    return Asked(wanted, needed, pip, conda)


def _indexes(specification: Specification, sources: Sources) -> Indexes:
    """Give the indexes that a file names, beside those that are configured."""
    named = configured(sources.index_url or specification.index_url, os.environ)
    if sources.index_url:
        return named
    extra, links = specification.extra_index_urls, specification.find_links
    return replace(named, extra=(*named.extra, *extra), find_links=(*named.find_links, *links))


def _of_channels(
    packages: Sequence[CondaPackage],
    needed: Needs,
    target: Target,
    named: Sequence[str],
    cuda: str | None,
) -> CondaQuestion:
    from imagesmith.resolve.conda.ask import SUBDIR, CondaQuestion
    from imagesmith.resolve.conda.channels import DEFAULT, channels

    return CondaQuestion(
        channels=channels(named or (DEFAULT,), os.environ),
        target=target,
        pins=needed.pins,
        preferences=needed.likes,
        wanted=tuple(Pin(package.name, package.version) for package in packages),
        elsewhere=tuple(sorted({p.subdir for p in packages} - {SUBDIR, "noarch"})),
        cuda=cuda,
    )
