"""Which builder carries a plan out."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.render import dockerfile

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.image.plan import ImagePlan


class Choice(StrEnum):
    """What the user may ask for; ``auto`` is whichever can make the image without an engine."""

    AUTO = "auto"
    LAYERS = "layers"
    DOCKER = "docker"


def choice(text: str) -> Choice:
    """Read a choice; ImagesmithError (usage.builder) if it is none."""
    try:
        return Choice(text)
    except ValueError:
        raise ImagesmithError(
            error(
                "usage.builder",
                text,
                f"{text!r} is no builder",
                f"use one of: {', '.join(Choice)}",
            )
        ) from None


def needs_engine(wanted: Choice, plan: ImagePlan, template: Path | None) -> bool:
    """Say whether an engine builds a plan: for a template with instructions of its own, it must.

    Raises ImagesmithError: usage.builder where the layers builder is wanted, which would leave
    those instructions out, and build.template… for a template that cannot be filled.
    """
    if wanted is Choice.DOCKER:
        return True
    if template is None:
        return False
    differs = _instructions(dockerfile(plan, template)) != _instructions(dockerfile(plan))
    if differs and wanted is Choice.LAYERS:
        raise ImagesmithError(
            error(
                "usage.builder",
                template,
                f"{template} has instructions of its own, which only an engine carries out",
                "build with --builder docker, or leave --template out",
            )
        )
    return differs


def _instructions(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
