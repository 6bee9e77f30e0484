"""What the indexes' answers mean for pip's part of what was captured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, error, warning
from imagesmith.resolve.relax import Move, distance, explain
from imagesmith.resolve.report import GOOD, Entry, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imagesmith.capture.environment import Distribution
    from imagesmith.resolve.available import Available
    from imagesmith.resolve.relax import Pin, Solve

_NEAREST = 3


def entries(
    distributions: Iterable[Distribution],
    found: Mapping[str, Available],
    needed_by: Mapping[str, tuple[str, ...]],
) -> Iterator[Entry]:
    """Say of each captured distribution what the indexes have of it."""
    for one in distributions:
        known = found.get(one.name)
        status = known.status if known else Status.NOT_ON_INDEX
        yield Entry(
            manager="pip",
            name=one.name,
            wanted=one.version,
            got=None,
            status=status,
            needed_by=needed_by.get(one.name, ()),
            remedy=_remedy(one, status, known.versions if known else ()),
            size=one.size,
        )


def _remedy(distribution: Distribution, status: Status, versions: Sequence[str]) -> str:
    if status in GOOD:
        return ""
    near = nearest(distribution.version, versions)
    if near:
        return f"there are wheels of {', '.join(near)}: --update {distribution.name}=={near[0]}"
    return f"if the function can do without it: --allow-missing {distribution.name}"


def advised(findings: Iterable[Finding], found: Mapping[str, Available]) -> Iterator[Finding]:
    """Name the versions that there are wheels of, where a finding says that one is missing."""
    for finding in findings:
        name, _, version = finding.subject.partition("==")
        known = found.get(name)
        near = nearest(version, known.versions) if known and version else []
        if finding.code.startswith("missing.") and near:
            remedy = f"there are wheels of {', '.join(near)}: --update {name}=={near[0]}"
            yield replace(finding, remedy=remedy)
        else:
            yield finding


def nearest(version: str, versions: Iterable[str]) -> list[str]:
    """Give the versions that are nearest to one, the nearest first."""
    return sorted(versions, key=lambda other: distance(Move("", version, other)))[:_NEAREST]


def conflict(pins: Sequence[Pin], solve: Solve, reason: Finding) -> Iterator[Finding]:
    """Find what contradicts itself among pip's pins; ``reason`` is the solver's own finding."""
    found = explain(pins, solve)
    if not found.cores:
        yield reason
    for core in found.cores:
        yield cannot_go_together(core, reason.message, found.relaxations, "linux-64")


def skew(recorded: Mapping[str, str], locked: Mapping[str, str]) -> Iterator[Finding]:
    """Find what objects were pickled by that the lock has in another version."""
    for name, version in sorted(recorded.items()):
        got = locked.get(name, version)
        if got != version:
            yield warning(
                "verify.skew",
                name,
                f"the function holds objects that {name} {version} pickled, and the image gets"
                f" {name} {got}: they may not load, or answer otherwise",
                f"train it again with {name} {got}, or lock with --update {name}=={version}",
            )


def cannot_go_together(
    core: Sequence[Pin], reason: str, relaxations: Sequence[Sequence[Move]], subdir: str
) -> Finding:
    """Make the finding for a smallest set of pins that has no solution."""
    texts = [f"{pin.name} {pin.version}" if pin.version else pin.name for pin in core]
    together = f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]
    how = "installed together" if len(texts) > 1 else "installed"
    return error(
        "unsatisfiable.conflict",
        ", ".join(texts),
        f"{together} cannot be {how} on {subdir}: {reason}",
        advice(relaxations),
    )


def advice(relaxations: Sequence[Sequence[Move]]) -> str:
    """Say what to type so that it locks; each way has been tried."""
    if not relaxations:
        return "no single change mends it; change one of the named versions and capture again"
    ways = [" ".join(f"--update {m.name}=={m.got}" for m in moves) for moves in relaxations]
    return "each of these was tried, and locks: " + "; or ".join(ways)
