"""What imagesmith has to say to its user: findings, and the one error that carries them.

A finding's code is ``family.what``; its family decides the exit status (docs/architecture.md,
"Exit codes"). Findings accumulate: a stage gathers all it can see before it stops.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class ExitCode(IntEnum):
    """The exit statuses of the command line."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    CAPTURE = 3
    UNSATISFIABLE = 4
    MISSING = 5
    BUILD = 6
    VERIFY = 7
    PUBLISH = 8
    REGISTER = 9
    UNREACHABLE = 10
    INTERRUPTED = 130


# Of several errors the first that applies in this order decides the exit status.
_FAMILIES = {
    "usage": ExitCode.USAGE,
    "reach": ExitCode.UNREACHABLE,
    "capture": ExitCode.CAPTURE,
    "unsatisfiable": ExitCode.UNSATISFIABLE,
    "missing": ExitCode.MISSING,
    "build": ExitCode.BUILD,
    "verify": ExitCode.VERIFY,
    "publish": ExitCode.PUBLISH,
    "register": ExitCode.REGISTER,
}


class Severity(StrEnum):
    """How much a finding weighs: an error stops the walk, the others do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing the user should know: what, where, and what to do about it.

    ``code`` is ``family.what`` ("capture.not-callable"), ``subject`` the thing it is about
    (a target, a package, a path), ``message`` one sentence, ``remedy`` what to do or type next.
    """

    code: str
    severity: Severity
    subject: str
    message: str
    remedy: str

    def __post_init__(self) -> None:
        if self.code.partition(".")[0] not in _FAMILIES:
            raise ValueError(f"unknown family of findings: {self.code}")

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> Finding:
        """Read what as_dict gave."""
        return cls(**{**data, "severity": Severity(data["severity"])})  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, str]:
        """Give the finding as plain JSON data."""
        return {key: str(value) for key, value in asdict(self).items()}


def error(code: str, subject: object, message: str, remedy: str) -> Finding:
    """Make a finding that stops the walk."""
    return Finding(code, Severity.ERROR, str(subject), message, remedy)


def warning(code: str, subject: object, message: str, remedy: str) -> Finding:
    """Make a finding that the user should act on, though the walk goes on."""
    return Finding(code, Severity.WARNING, str(subject), message, remedy)


def note(code: str, subject: object, message: str, remedy: str) -> Finding:
    """Make a finding that is only good to know."""
    return Finding(code, Severity.NOTE, str(subject), message, remedy)


def exit_code(findings: Iterable[Finding]) -> ExitCode:
    """Choose the exit status for these findings: the first family that holds an error."""
    families = {f.code.partition(".")[0] for f in findings if f.severity is Severity.ERROR}
    return next((code for name, code in _FAMILIES.items() if name in families), ExitCode.DONE)


class ImagesmithError(Exception):
    """The walk has stopped; ``findings`` say why, ``log`` what a container printed."""

    def __init__(self, *findings: Finding, log: str = "") -> None:
        if exit_code(findings) is ExitCode.DONE:
            raise ValueError("an ImagesmithError needs a finding that is an error")
        super().__init__("; ".join(f.message for f in findings))
        self.findings = findings
        self.log = log

    @property
    def exit_code(self) -> ExitCode:
        """The exit status that the command line ends with."""
        return exit_code(self.findings)


def stop_on_errors(findings: Iterable[Finding]) -> None:
    """Raise ImagesmithError with all findings if one of them is an error."""
    gathered = tuple(findings)
    if exit_code(gathered) is not ExitCode.DONE:
        raise ImagesmithError(*gathered)
