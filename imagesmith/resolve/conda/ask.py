"""Asking conda's channels: what they have of what was captured, and what fits together.

The work is done by a child (rattler.py), once for everything that is to be known.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.partial import scratch
from imagesmith.resolve.relax import Conflict, Move, Pin
from imagesmith.store import canonical
from imagesmith.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagesmith.resolve.conda.channels import Channels
    from imagesmith.resolve.platform import Target
    from imagesmith.store import Store

SUBDIR = "linux-64"
_KERNEL = "5.10"  # the oldest Linux that is still looked after; where images run, nobody knows


@dataclass(frozen=True)
class CondaQuestion:
    """What is to be locked of conda's packages.

    ``pins`` must hold (a version of None: any); ``preferences`` are taken where they fit;
    ``wanted`` is everything that was captured, whose whereabouts are to be known; ``elsewhere`` are
    the other subdirs in which what is missing is looked for; ``cuda`` a version of ``__cuda``.
    """

    channels: Channels
    target: Target
    pins: tuple[Pin, ...]
    preferences: tuple[Pin, ...]
    wanted: tuple[Pin, ...]
    elsewhere: tuple[str, ...] = ()
    cuda: str | None = None

    @property
    def base(self) -> tuple[str, ...]:
        """The match specs that cannot be relaxed: the Python of whoever calls the function."""
        return (f"python {self.target.python}.*",)

    @property
    def virtual(self) -> dict[str, str]:
        """The virtual packages of the target."""
        cuda = {"__cuda": self.cuda} if self.cuda else {}
        return {"__unix": "0", "__linux": _KERNEL, "__glibc": self.target.glibc, **cuda}

    @property
    def public(self) -> dict[str, Any]:
        """The question as JSON data, without what opens a channel."""
        return {
            "channels": list(self.channels.urls),
            "subdir": SUBDIR,
            "elsewhere": list(self.elsewhere),
            "virtual": self.virtual,
            "base": list(self.base),
            **{
                key: [[pin.name, pin.version] for pin in pins]
                for key, pins in (
                    ("wanted", self.wanted),
                    ("pins", self.pins),
                    ("preferences", self.preferences),
                )
            },
        }


@dataclass(frozen=True)
class Build:
    """One build of a package's version that a channel has."""

    subdir: str
    build: str
    channel: str


@dataclass(frozen=True)
class CondaAnswer:
    """What the channels have, and what fits together.

    ``found`` maps names to versions to builds, ``elsewhere`` names that were not found to other
    subdirs, ``absent`` are the pins that were left out of the solve because the channels lack them.
    ``records`` is the solution, as repodata has it; None where there is a ``conflict``, which
    ``reason`` tells in the solver's words.
    """

    found: Mapping[str, Mapping[str, tuple[Build, ...]]]
    elsewhere: Mapping[str, tuple[str, ...]]
    absent: tuple[str, ...]
    records: tuple[dict[str, Any], ...] | None
    conflict: Conflict | None
    reason: str


def ask(question: CondaQuestion, store: Store) -> CondaAnswer:
    """Ask the channels. Raises ImagesmithError: reach.channel, unsatisfiable.solver."""
    with scratch() as folder:
        place = folder / "answer.json"
        asked = {
            **question.public,
            "secrets": dict(question.channels.secrets),
            "cache": str(store.root / "channels"),
        }
        done = subprocess.run(
            [sys.executable, "-m", "imagesmith.resolve.conda.rattler", place],
            input=canonical(asked),
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            check=False,
        )
        try:
            data = json.loads(place.read_bytes())
        except FileNotFoundError:
            raise ImagesmithError(_failed(done.stderr.decode(errors="replace"))) from None
    if "unreachable" in data:
        raise ImagesmithError(_unreachable(question, data["unreachable"]))
    return _answer(data)


def _answer(data: Mapping[str, Any]) -> CondaAnswer:
    found = {
        name: {version: tuple(Build(*build) for build in builds) for version, builds in by.items()}
        for name, by in data["found"].items()
    }
    conflict = None
    if data["records"] is None:
        conflict = Conflict(
            tuple(tuple(Pin(*pin) for pin in core) for core in data["cores"]),
            tuple(tuple(Move(*move) for move in moves) for moves in data["relaxations"]),
        )
    return CondaAnswer(
        found=found,
        elsewhere={name: tuple(subdirs) for name, subdirs in data["elsewhere"].items()},
        absent=tuple(data["absent"]),
        records=None if conflict else tuple(data["records"]),
        conflict=conflict,
        reason=data.get("reason", ""),
    )


def _unreachable(question: CondaQuestion, reason: str) -> Finding:
    text = " ".join(redacted(reason).split())
    channel = next((url for url in question.channels.urls if url in text), None)
    return error(
        "reach.channel",
        channel or ", ".join(question.channels.urls),
        f"the channel cannot be read: {text}",
        "check the network and the channel's URL (--channel URL, or channels: in ~/.condarc)",
    )


def _failed(stderr: str) -> Finding:
    return error(
        "unsatisfiable.solver",
        "py-rattler",
        f"the solver ended without an answer: {' '.join(redacted(stderr)[-500:].split())}",
        "run again; if it stays so, report it with what --debug prints",
    )
