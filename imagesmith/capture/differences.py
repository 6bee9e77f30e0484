"""Where the function does not always give one answer to one input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagesmith.answers import same
from imagesmith.findings import Finding, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_RTOL = 1e-6


def batch_dependent(target: str, answers: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Find the first sample that is answered otherwise when it comes in a batch.

    ``answers`` are what the agent says: {"batch": [text, …], "single": [text, …]}.
    """
    pairs = zip(answers["batch"], answers["single"], strict=True) if answers else ()
    for number, (together, alone) in enumerate(pairs, 1):
        if not same(together, alone, _RTOL):
            yield warning(
                "verify.batch-dependent",
                target,
                f"sample {number} is answered {together!r} in a batch, {alone!r} alone",
                "answer each input by itself: how queries are batched is up to Clipper",
            )
            return


def pickle_differs(
    target: str, mine: Mapping[str, Any] | None, pickles: Mapping[str, Any] | None
) -> Iterator[Finding]:
    """Find the first sample that is answered otherwise by the pickle in a fresh process."""
    pairs = zip(mine["single"], pickles["single"], strict=True) if mine and pickles else ()
    for number, (here, there) in enumerate(pairs, 1):
        if not same(here, there, _RTOL):
            yield warning(
                "verify.pickle-differs",
                target,
                f"sample {number} is answered {here!r} by the function, and {there!r} by its"
                " pickle in a fresh process",
                "let it depend on nothing but its input: no unseeded generator, and nothing that"
                " loading its file changes elsewhere",
            )
            return
