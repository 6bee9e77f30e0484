"""What a file says is wanted (environment.yml, requirements.txt, pyproject.toml), as frozen data.

Unlike an Environment it is a wish: names and ranges that a solver is yet to make versions of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagesmith.capture.channels import public
from imagesmith.findings import Finding, error, note, stop_on_errors, warning
from imagesmith.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from imagesmith.capture.match_spec import CondaSpec

CODE = "usage.specification"


@dataclass(frozen=True)
class PipRequirement:
    """One thing that pip is asked for.

    ``kind`` says where it comes from: "index", "url", "vcs" or "path". ``line`` is as pip takes it
    from any folder (PEP 508, or a path or URL as requirements files have them), perhaps with
    credentials. ``name`` is normalised, None where only a build would tell it; ``where`` is the
    file and line.
    """

    line: str = field(repr=False)
    kind: str
    name: str | None
    editable: bool = False
    where: str = ""

    @property
    def public(self) -> str:
        """The line without anything secret."""
        return redacted(self.line)


@dataclass(frozen=True)
class Specification:
    """What is to be locked, as a file has it.

    ``python`` is a version spec of the file's own kind, conda's or PEP 440's, None if it says none.
    ``conda`` are match specs in their order, Python's among them. ``channels`` are URLs, the first
    first. ``constraints`` are what pip may not go against. ``index_url``, ``extra_index_urls`` and
    ``find_links`` are what pip's options name. URLs may hold credentials and are not in ``repr``;
    ``public`` is what may be written down.
    """

    name: str | None = None
    python: str | None = None
    conda: tuple[CondaSpec, ...] = ()
    channels: tuple[str, ...] = field(default=(), repr=False)
    pip: tuple[PipRequirement, ...] = ()
    constraints: tuple[PipRequirement, ...] = ()
    index_url: str | None = field(default=None, repr=False)
    extra_index_urls: tuple[str, ...] = field(default=(), repr=False)
    find_links: tuple[str, ...] = field(default=(), repr=False)

    @property
    def public(self) -> dict[str, Any]:
        """The same as JSON data without anything secret, and without lines and builds."""
        conda = [[spec.text, *map(public, spec.channels)] for spec in self.conda]
        return {
            "name": self.name,
            "python": self.python,
            "conda": conda,
            "channels": [*map(public, self.channels)],
            "pip": [requirement.public for requirement in self.pip],
            "constraints": [requirement.public for requirement in self.constraints],
            "index_url": self.index_url and redacted(self.index_url),
            "extra_index_urls": [*map(redacted, self.extra_index_urls)],
            "find_links": [*map(redacted, self.find_links)],
        }


@dataclass
class Draft:
    """A specification while its files are read, and what is to be said of them."""

    environ: Mapping[str, str] = field(repr=False)
    name: str | None = None
    python: str | None = None
    conda: list[CondaSpec] = field(default_factory=list)
    channels: list[str] = field(default_factory=list, repr=False)
    pip: list[PipRequirement] = field(default_factory=list)
    constraints: list[PipRequirement] = field(default_factory=list)
    index_url: str | None = field(default=None, repr=False)
    extra_index_urls: list[str] = field(default_factory=list, repr=False)
    find_links: list[str] = field(default_factory=list, repr=False)
    included: set[tuple[Path, bool]] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)

    def refuse(self, where: object, message: str, remedy: str) -> None:
        """Say what has to be mended before there can be a specification."""
        self._add(error, where, message, remedy)

    def warn(self, where: object, message: str, remedy: str) -> None:
        """Say what the user may not have meant."""
        self._add(warning, where, message, remedy)

    def note(self, where: object, message: str, remedy: str) -> None:
        """Say what is passed over."""
        self._add(note, where, message, remedy)

    def _add(self, make: Callable[..., Finding], *texts: object) -> None:
        self.findings.append(make(CODE, *map(_printable, texts)))

    def text_of(self, path: Path, where: object) -> str | None:
        """Read a file of UTF-8 that is named at ``where``; None, and a finding, if it cannot be."""
        try:
            return path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as fault:
            why = f"it is not UTF-8 (byte {fault.start})"
            remedy = "save it as UTF-8"
        except (OSError, ValueError) as fault:  # the latter for a name with a zero in it
            why = str(getattr(fault, "strerror", None) or fault)
            remedy = "name a file that is there"
        self.refuse(where, f"{str(path)!r} cannot be read: {why}", remedy)
        return None

    def finish(self) -> tuple[Specification, tuple[Finding, ...]]:
        """Give the specification; ImagesmithError with all findings if one is an error."""
        findings = tuple(dict.fromkeys(self.findings))
        stop_on_errors(findings)
        drafted = Specification(
            name=self.name,
            python=self.python,
            conda=tuple(self.conda),
            channels=tuple(dict.fromkeys(self.channels)),
            pip=tuple(self.pip),
            constraints=tuple(self.constraints),
            index_url=self.index_url,
            extra_index_urls=tuple(dict.fromkeys(self.extra_index_urls)),
            find_links=tuple(dict.fromkeys(self.find_links)),
        )
        return drafted, findings


def _printable(text: object) -> str:
    """Spell what a terminal should not get, or no file could hold, as Python does."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
