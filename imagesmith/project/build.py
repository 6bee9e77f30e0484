"""Building a project's models side by side on the cores there are.

The heavy work is done by other processes and in C, so threads do. What several models need is made
once: whoever comes second to it waits for the first (``Store.making``).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING

from imagesmith.project.model import Made, made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imagesmith.findings import Finding
    from imagesmith.pipeline import Workshop
    from imagesmith.progress import Progress
    from imagesmith.project.model import Model

# Models at a time; each makes several layers at a time itself.
_AT_A_TIME = min(8, os.cpu_count() or 1)


def build_all(
    models: Sequence[Model],
    shop_for: Callable[[Model], Workshop],
    failed: Callable[[Model, Exception], None],
) -> list[Made | Exception]:
    """Build each model: what was made, or why it was not, in their order.

    One that fails stops no other; ``failed`` is told at once. ``shop_for`` gives the workshop of a
    model. An interrupt ends all, each at the next thing that it would tell.
    """
    stopping = Event()

    def outcome(model: Model) -> Made | Exception:
        try:
            shop = shop_for(model)
            return made(model, replace(shop, progress=_Stoppable(shop.progress, stopping)))
        except Exception as problem:
            failed(model, problem)
            return problem

    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="model") as pool:
        futures = [pool.submit(outcome, model) for model in models]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stopping.set()
            pool.shutdown(cancel_futures=True)
            raise


@dataclass(frozen=True)
class _Stoppable:
    """A listener that ends the work which it listens to, once that is to stop."""

    progress: Progress
    stopping: Event

    def say(self, stage: str, text: str) -> None:
        self._go_on()
        self.progress.say(stage, text)

    @contextmanager
    def count(self, stage: str, text: str, total: int) -> Iterator[Callable[[int], None]]:
        self._go_on()
        with self.progress.count(stage, text, total) as advance:
            yield advance

    def find(self, finding: Finding) -> None:
        self.progress.find(finding)

    def _go_on(self) -> None:
        if self.stopping.is_set():
            raise KeyboardInterrupt
