"""How a stage tells what it is doing, without knowing who listens."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from imagesmith.findings import Finding


class Progress(Protocol):
    """A listener; the command line has one for terminals, one for plain logs, one for JSON."""

    def say(self, stage: str, text: str) -> None:
        """Tell one finished thing: ``say("fetch", "12 wheels, 98 MB")``."""

    def count(
        self, stage: str, text: str, total: int
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Open a bar of ``total`` units; the yielded function moves it on."""

    def find(self, finding: Finding) -> None:
        """Tell a finding that does not stop the walk."""


class Silent:
    """Listens to nothing: the default of the Python API."""

    def say(self, stage: str, text: str) -> None:
        """Drop the line."""

    @contextmanager
    def count(self, stage: str, text: str, total: int) -> Iterator[Callable[[int], None]]:  # noqa: ARG002
        """Drop the bar."""
        yield lambda _units: None

    def find(self, finding: Finding) -> None:
        """Drop the finding."""


class Noting:
    """Passes everything on to another listener, and notes the findings' codes."""

    def __init__(self, listener: Progress) -> None:
        self._listener = listener
        self.codes: list[str] = []

    def say(self, stage: str, text: str) -> None:
        """Pass the line on."""
        self._listener.say(stage, text)

    def count(
        self, stage: str, text: str, total: int
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Open the other's bar."""
        return self._listener.count(stage, text, total)

    def find(self, finding: Finding) -> None:
        """Note the finding and pass it on."""
        self.codes.append(finding.code)
        self._listener.find(finding)
