"""The stage itself: a capture becomes a lock, and unchanged input is not solved again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imagesmith.findings import ExitCode, ImagesmithError, stop_on_errors
from imagesmith.resolve import pylock
from imagesmith.resolve.indexes import configured
from imagesmith.resolve.needed import needs
from imagesmith.resolve.platform import Target
from imagesmith.resolve.solver import Question
from imagesmith.store import key_of

if TYPE_CHECKING:
    from imagesmith.capture.bundle import Capture
    from imagesmith.findings import Finding
    from imagesmith.progress import Progress
    from imagesmith.resolve.lock import Lock
    from imagesmith.resolve.solver import Solver
    from imagesmith.store import Store

_KIND = "lock"


def resolve(
    capture: Capture,
    *,
    glibc: str,
    index_url: str | None = None,
    solver: Solver,
    store: Store,
    progress: Progress,
) -> tuple[Lock, tuple[Finding, ...]]:
    """Lock what a capture needs for linux-64 with this glibc ("2.36"); the findings are warnings.

    ``index_url`` is asked instead of the indexes that pip's or uv's configuration names. Raises
    ImagesmithError with everything that is missing (missing.…) or with the conflict
    (unsatisfiable.…), and reach.index where an index does not answer.
    """
    target = Target(capture.python_minor, glibc)
    indexes = configured(index_url, os.environ)
    needed = needs(capture, target, indexes)
    stop_on_errors(needed.findings)
    question = Question(needed.requirements, needed.preferences, target, indexes)
    lock = _remembered(question, solver, store)
    progress.say("resolve", f"{len(lock.wheels)} packages for linux-64, glibc {glibc}")
    return lock, needed.findings


def _remembered(question: Question, solver: Solver, store: Store) -> Lock:
    key = key_of(question.public, solver.identity)
    known = store.recall(_KIND, key)
    if isinstance(known, str):
        return pylock.parse(known.encode(), question.target)
    lock = pylock.parse(_solve(question, solver), question.target)
    store.remember(_KIND, key, pylock.render(lock).decode())
    return lock


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
