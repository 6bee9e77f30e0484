"""The stage itself: what is wanted of an environment becomes a lock and a report.

conda's packages come first, and pip's are chosen round them. Everything that is missing or in
conflict is found in one go; unchanged input is not solved again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imagesmith.findings import ExitCode, Finding, ImagesmithError, exit_code
from imagesmith.resolve import pylock
from imagesmith.resolve.asked import Asked, Sources, ask_for
from imagesmith.resolve.lock import Lock
from imagesmith.resolve.needed import Wanted, Wish, is_standard
from imagesmith.resolve.origin import Origin
from imagesmith.resolve.report import Report
from imagesmith.resolve.solver import BuiltFile, Question

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from imagesmith.capture.specification import Specification
    from imagesmith.progress import Progress
    from imagesmith.resolve.available import Available
    from imagesmith.resolve.conda.ask import CondaAnswer, CondaQuestion
    from imagesmith.resolve.lock import LockedPackage, LockedWheel
    from imagesmith.resolve.needed import Needs
    from imagesmith.resolve.origin import Maker
    from imagesmith.resolve.platform import Target
    from imagesmith.resolve.relax import Pin, Solve
    from imagesmith.resolve.report import Entry
    from imagesmith.resolve.solver import Solver
    from imagesmith.store import Store

_KIND = "locks"


@dataclass(frozen=True)
class Resolved:
    """What came of it: the lock (None where a finding is an error), the report, the findings."""

    lock: Lock | None
    report: Report
    findings: tuple[Finding, ...]


def resolve(
    wanted: Wanted | Specification,
    target: Target,
    *,
    wish: Wish,
    sources: Sources,
    solver: Solver,
    maker: Maker,
    store: Store,
    progress: Progress,
) -> Resolved:
    """Lock what is wanted for the target; ``maker`` makes the wheels that no index has.

    The findings hold everything that is missing (missing.…) and every conflict (unsatisfiable.…).
    Raises ImagesmithError: reach.index and reach.channel where nobody answers, usage.….
    """
    asked = ask_for(wanted, target, wish, sources)
    resolved = _recalled(asked, solver, store)
    if resolved is None:
        with store.making(_KIND, asked.key(solver)):
            resolved = _recalled(asked, solver, store) or _solved(asked, solver, maker, store)
    if resolved.lock:
        count = f"{len(resolved.lock.wheels)} wheels"
        if packages := resolved.lock.packages:
            count = f"{len(packages)} conda packages, {count}"
        progress.say("resolve", f"{count} for linux-64, glibc {target.glibc}")
    return replace(resolved, findings=(*resolved.findings, *_skew(wanted, resolved.lock)))


def _skew(wanted: Wanted | Specification, lock: Lock | None) -> list[Finding]:
    if lock is None or not isinstance(wanted, Wanted) or not wanted.recorded:
        return []
    from imagesmith.resolve.explain import skew

    return list(skew(wanted.recorded, {name: v for (_, name), v in _versions(lock).items()}))


def _recalled(asked: Asked, solver: Solver, store: Store) -> Resolved | None:
    known = store.recall(_KIND, asked.key(solver))
    if known is None or any(origin.is_folder for origin in asked.needs.origins):
        return None
    lock = Lock.from_json(known["lock"], asked.pip.target)
    if not all(store.has(wheel.digest) for wheel in lock.wheels if wheel.source):
        return None  # somebody cleared the store of what only it had
    return Resolved(lock, Report.from_json(known["report"]), asked.needs.findings)


def _remember(asked: Asked, resolved: Resolved, solver: Solver, store: Store) -> None:
    assert resolved.lock is not None
    record = {"lock": resolved.lock.as_json(), "report": resolved.report.as_json()}
    store.remember(_KIND, asked.key(solver), record)


def _solved(asked: Asked, solver: Solver, maker: Maker, store: Store) -> Resolved:
    """Ask channels and indexes, and gather all that is to be said."""
    from imagesmith.resolve.explain import advised

    findings = list(asked.needs.findings)
    answer: CondaAnswer | None = None
    packages: tuple[LockedPackage, ...] = ()
    with ThreadPoolExecutor(2) as side:
        asking = side.submit(_on_index, asked, store)
        if asked.conda is not None:
            answer, packages, found = _of_conda(asked.needs, asked.conda, store)
            findings += found
        pip = replace(asked.pip, provided=_provided(asked, packages))
        if not asked.needs.origins:  # whose names are no business of an index
            solver = _Ahead(solver, pip, side.submit(solver.solve, pip))
        on_index = asking.result()
        built, failed = _built(asked, on_index, maker)
        findings += (finding for found in failed.values() for finding in found)
        pip = _with_built(pip, built, store).without(failed)
        lock, found = _of_pip(pip, packages, built, solver)
    findings += advised(found, on_index)
    report = Report(tuple(_entries(asked, answer, on_index)), ()).locked(_versions(lock))
    if exit_code(findings) is not ExitCode.DONE:
        return Resolved(None, report, tuple(findings))
    resolved = Resolved(lock, report, tuple(findings))
    _remember(asked, resolved, solver, store)
    return resolved


@dataclass(frozen=True)
class _Ahead:
    """A solver that was asked the likeliest question while the index was still being asked."""

    solver: Solver
    question: Question
    answer: Future[bytes]

    @property
    def identity(self) -> str:
        return self.solver.identity

    def solve(self, question: Question) -> bytes:
        return self.answer.result() if question == self.question else self.solver.solve(question)


def _built(
    asked: Asked, on_index: Mapping[str, Available], maker: Maker
) -> tuple[list[LockedWheel], dict[str, tuple[Finding, ...]]]:
    """Make wheels of what is needed and has none; say by name what cannot be made, and why."""
    origins = {origin.name or origin.reference: origin for origin in asked.needs.origins}
    versions = {pin.name: pin.version for pin in asked.pip.pins}
    versions |= dict(line.split("==") for line in asked.pip.preferences)
    for name, known in on_index.items():
        if known.source and name in versions and name not in origins:
            origins[name] = Origin(name, versions[name], *known.source)
    wheels: list[LockedWheel] = []
    failed: dict[str, tuple[Finding, ...]] = {}
    for name, origin in origins.items():
        try:
            wheels.append(maker.make(origin))
        except ImagesmithError as stopped:
            if stopped.exit_code is ExitCode.UNREACHABLE:
                raise
            failed[name] = stopped.findings
    return wheels, failed


def _with_built(question: Question, built: Sequence[LockedWheel], store: Store) -> Question:
    """Ask for the wheels that were made, and for no other version of the same."""
    made = {wheel.name: f"{wheel.name}=={wheel.version}" for wheel in built}
    others = (r for r in question.requirements if r.partition("==")[0] not in made)
    kept = tuple(p for p in question.preferences if p.partition("==")[0] not in made)
    files = tuple(BuiltFile(wheel.filename, store.path(wheel.digest)) for wheel in built)
    lines = tuple(sorted([*others, *made.values()]))
    return replace(question, requirements=lines, preferences=kept, built=files)


def _of_conda(
    needed: Needs, question: CondaQuestion, store: Store
) -> tuple[CondaAnswer, tuple[LockedPackage, ...], list[Finding]]:
    """Ask the channels; the packages are locked where nothing is the matter."""
    from imagesmith.resolve.conda import lockfile
    from imagesmith.resolve.conda.ask import ask
    from imagesmith.resolve.conda.explain import findings

    with lockfile.locker(question) as lock:
        answer = ask(question, store)
        found = list(findings(needed, answer))
        return answer, () if found else lock(answer), found


def _provided(asked: Asked, packages: tuple[LockedPackage, ...]) -> tuple[str, ...]:
    """Give the distributions that conda's packages bring (``name==version``), as far as is known.

    Of what was captured that is known; another package that needs Python is taken to bring the
    distribution of its own name.
    """
    from packaging.utils import canonicalize_name

    captured = {p.name: p for p in asked.packages}
    versions = {d.name: d.version for d in asked.distributions}
    brought: dict[str, str] = {}
    for package in packages:
        known = captured.get(package.name)
        if known is None and any(spec.split()[0] == "python" for spec in package.requires):
            brought[canonicalize_name(package.name)] = package.version
        elif known is not None:
            same = known.version == package.version
            own = {d: versions.get(d, known.version) for d in known.distributions}
            brought |= own if same else dict.fromkeys(own, package.version)
    return tuple(sorted(f"{n}=={v}" for n, v in brought.items() if is_standard(v)))


def _of_pip(
    question: Question,
    packages: tuple[LockedPackage, ...],
    built: Sequence[LockedWheel],
    solver: Solver,
) -> tuple[Lock, list[Finding]]:
    """Choose the wheels that go with conda's packages; the lock has none where that fails."""
    from imagesmith.resolve.explain import conflict

    names = {line.partition("==")[0] for line in question.provided}
    try:
        lock = pylock.parse(_solve(question, solver), question.target, names, built)
        return replace(lock, packages=packages), []
    except ImagesmithError as stopped:
        if stopped.exit_code is ExitCode.UNREACHABLE:
            raise
        found = [f for f in stopped.findings if f.code != "unsatisfiable.conflict"]
        rest = question.without(_missing(stopped))
        for reason in (f for f in stopped.findings if f.code == "unsatisfiable.conflict"):
            found += conflict(rest.pins, _trial(rest, solver), reason)
        return Lock(question.target, (), packages), found


def _trial(question: Question, solver: Solver) -> Solve:
    """Give a function that solves the question with other pins."""

    def solve(pins: Sequence[Pin]) -> Mapping[str, str] | None:
        try:
            return pylock.versions(solver.solve(question.pinned(pins)))
        except ImagesmithError as stopped:
            if stopped.exit_code is ExitCode.UNREACHABLE:
                raise
            return None

    return solve


def _solve(question: Question, solver: Solver) -> bytes:
    """Solve; a solver stops at the first thing that is missing, so ask on without it.

    The user then sees all that is missing at once, and a conflict among the rest. Where an index
    turns out not to be one, what it seemed to lack says nothing, and that alone is told.
    """
    try:
        return solver.solve(question)
    except ImagesmithError as stopped:
        rest = question.without(_missing(stopped))
        if rest == question:
            raise
        try:
            _solve(rest, solver)
        except ImagesmithError as more:
            if more.exit_code is ExitCode.UNREACHABLE:
                raise
            findings = dict.fromkeys((*stopped.findings, *more.findings))
            raise ImagesmithError(*findings) from more
        raise


def _missing(stopped: ImagesmithError) -> set[str]:
    return {
        finding.subject.partition("==")[0]
        for finding in stopped.findings
        if finding.code.startswith("missing.")
    }


def _on_index(asked: Asked, store: Store) -> dict[str, Available]:
    """Ask the indexes about all that pip had brought, and all that is pinned."""
    from imagesmith.resolve.available import available

    wanted = {pin.name: str(pin.version) for pin in asked.pip.pins}
    wanted |= {d.name: d.version for d in asked.by_pip if not (d.editable or d.direct_url)}
    return available(wanted.items(), asked.pip.target, asked.pip.indexes, store)


def _entries(
    asked: Asked, answer: CondaAnswer | None, on_index: Mapping[str, Available]
) -> Iterator[Entry]:
    """Give the report's entries, by name."""
    from imagesmith.resolve import explain, specified
    from imagesmith.resolve.conda import explain as explain_conda

    users = asked.needs.needed_by
    entries = list(explain.entries(asked.by_pip, on_index, users))
    if answer is not None:
        entries += explain_conda.entries(asked.packages, answer, users)
    if not isinstance(asked.wanted, Wanted):
        entries += specified.entries(asked.wanted, answer, on_index)
    yield from sorted(entries, key=lambda entry: (entry.name, entry.manager))


def _versions(lock: Lock) -> dict[tuple[str, str], str]:
    wheels = {("pip", wheel.name): wheel.version for wheel in lock.wheels}
    return wheels | {("conda", package.name): package.version for package in lock.packages}
