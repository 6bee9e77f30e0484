"""Who listens to the stages at a terminal, in a CI job, and for a program that reads JSON lines."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from imagesmith.findings import Finding, Severity
from imagesmith.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagesmith.findings import ImagesmithError


class Console(Progress, Protocol):
    """A listener that can also tell why the walk has stopped."""

    findings: list[Finding]

    def fail(self, failure: ImagesmithError) -> None:
        """Tell a failure: the container's log if there is one, then each finding."""

    def of(self, model: str) -> Console:
        """Give a listener for one of several models; its lines bear the model's name."""


def console(log_format: str) -> Console:
    """Choose the listener: ``json``, else by what stderr is."""
    if log_format == "json":
        return JsonLines()
    return Terminal() if sys.stderr.isatty() else Plain()


class Plain:
    """One plain line a finished thing, for logs that are kept."""

    def __init__(self, model: str = "") -> None:
        self.findings: list[Finding] = []
        self._model = model

    def of(self, model: str) -> Console:
        """Give a listener whose lines begin with the model's name; one for bars has none then."""
        return Plain(model)

    def say(self, stage: str, text: str) -> None:
        """Print ``stage: text``."""
        self._line(f"{stage + ':':<10}{text}")

    @contextmanager
    def count(self, stage: str, text: str, total: int) -> Iterator[Callable[[int], None]]:  # noqa: ARG002
        """Count in silence; the stage says what came of it."""
        yield lambda _units: None

    def find(self, finding: Finding) -> None:
        """Print a finding and keep it for the JSON result."""
        self.findings.append(finding)
        self._line(describe(finding))

    def fail(self, failure: ImagesmithError) -> None:
        """Print the container's log and every finding."""
        if failure.log:
            self._line("--- log")
            self._line(failure.log.rstrip())
            self._line("---")
        for finding in failure.findings:
            self.find(finding)

    def _line(self, text: str) -> None:
        """Print a text at once: others may print at the same time."""
        head = f"{self._model}: " if self._model else ""
        sys.stderr.write("".join(f"{head}{line}\n" for line in text.splitlines()))
        sys.stderr.flush()


class Terminal(Plain):
    """Plain lines with a bar that moves while something takes its time."""

    @contextmanager
    def count(self, stage: str, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """Draw a bar until the block ends, then take it away."""
        from rich.console import Console as RichConsole
        from rich.progress import Progress as RichProgress

        with RichProgress(console=RichConsole(stderr=True), transient=True) as bars:
            task = bars.add_task(f"{stage}: {text}", total=total)
            yield lambda units: bars.advance(task, units)


class JsonLines(Plain):
    """One JSON object a line: {"time", "stage", "text"} or {"time", "finding"}.

    Of several models each line has its "model".
    """

    def of(self, model: str) -> Console:
        """Give a listener whose objects name the model."""
        return JsonLines(model)

    def say(self, stage: str, text: str) -> None:
        """Print a line about a stage."""
        self._object({"stage": stage, "text": text})

    def find(self, finding: Finding) -> None:
        """Print a finding."""
        self.findings.append(finding)
        self._object({"finding": finding.as_dict()})

    def fail(self, failure: ImagesmithError) -> None:
        """Print the container's log, if any, as one object, then every finding."""
        if failure.log:
            self._object({"log": failure.log})
        for finding in failure.findings:
            self.find(finding)

    def _object(self, fields: dict[str, object]) -> None:
        model = {"model": self._model} if self._model else {}
        line = json.dumps({"time": round(time.time(), 3), **model, **fields})
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def describe(finding: Finding) -> str:
    """Put a finding in words: what and where, why, and what to do."""
    mark = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
    head = f"{mark[finding.severity]}: {finding.message}"
    return f"{head}\n    at:  {finding.subject}  [{finding.code}]\n    do:  {finding.remedy}"
