"""Signing what was pushed, by a command of the user's: it is given the image by its digest."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, ImagesmithError, error

if TYPE_CHECKING:
    from imagesmith.progress import Progress

REFERENCE = "{reference}"
_KEPT = 20  # lines of the command's output that an error shows


@dataclass(frozen=True)
class Signer:
    """A command as its words, in which ``{reference}`` stands for HOST/PATH@sha256:…."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, command: str) -> Signer:
        """Read a command line, which no shell takes part in; ImagesmithError (usage.sign)."""
        try:
            words = tuple(shlex.split(command))
        except ValueError as bad:
            raise ImagesmithError(_unusable(command, f"it cannot be read: {bad}")) from bad
        if not any(REFERENCE in word for word in words[1:]):
            raise ImagesmithError(_unusable(command, f"it does not say where {REFERENCE} goes"))
        if shutil.which(words[0]) is None:
            raise ImagesmithError(_unusable(command, f"{words[0]} is not on PATH"))
        return cls(words)

    def sign(self, reference: str, progress: Progress) -> None:
        """Run the command; what it prints is told as it comes.

        Raises ImagesmithError (publish.sign, with its last lines) where it fails.
        """
        command = [self.words[0], *(w.replace(REFERENCE, reference) for w in self.words[1:])]
        lines: deque[str] = deque(maxlen=_KEPT)
        try:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as bad:
            raise ImagesmithError(_failed(reference, command[0], str(bad.strerror))) from bad
        with process:
            try:
                for line in process.stdout or ():
                    lines.append(line)
                    progress.say("sign", line.rstrip())
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            why = f"it ended with status {process.returncode}"
            raise ImagesmithError(_failed(reference, command[0], why), log="".join(lines))


def _unusable(command: str, why: str) -> Finding:
    return error(
        "usage.sign",
        command,
        f"the command to sign with cannot be used: {why}",
        f"write it as 'cosign sign --yes {REFERENCE}'",
    )


def _failed(reference: str, program: str, why: str) -> Finding:
    return error(
        "publish.sign",
        reference,
        f"the image was pushed, but {program} has not signed it: {why}",
        "mend what its last lines tell, and push again with the same --sign: nothing is sent twice",
    )
