"""What a walk is given: where it works, what is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagesmith.resolve import Sources, Wish

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.progress import Progress
    from imagesmith.run.runner import Runner
    from imagesmith.store import Store


@dataclass(frozen=True)
class Workshop:
    """Where a walk works and who listens to it."""

    store: Store
    runner: Runner
    progress: Progress


@dataclass(frozen=True)
class CaptureWish:
    """What the user wants captured: a target, or a bundle that was captured before."""

    target: str
    name: str | None
    version: str | None = None
    input_type: str = "doubles"
    strings: str = "str"
    env: str = "auto"
    samples: Path | None = None


@dataclass(frozen=True)
class BuildWish:
    """What the user wants of an image beyond what was captured; ``apt`` are Debian's packages."""

    base: str | None = None
    sources: Sources = field(default_factory=Sources)
    lock: Wish = field(default_factory=Wish)
    pip_resolver: str = "uv"
    verify: bool = True
    rtol: float = 1e-6
    compare: bool = True
    builder: str = "auto"
    template: Path | None = None
    max_size: int | None = None  # bytes of the image, uncompressed
    apt: tuple[str, ...] = ()
