"""One way to an image, and what was seen of it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from benchmarks.measure import timed
from benchmarks.peers import base
from benchmarks.tabular import Bench, ran

_IMPORTS = ("python", "-c", "import pandas, sklearn")  # what the image has to be able to do


@dataclass
class Contender:
    """A way to an image: what is done before, without the clock, and what is timed."""

    title: str
    image: str
    limit: str  # of our time, as a part of its
    prepare: Callable[[], object]
    build: Callable[[], object]
    fault: str = ""  # why it cannot run here
    _seconds: list[float] = field(default_factory=list)
    _bytes: int = 0

    def run(self, at: Bench) -> None:
        """Take the time once more, unless it has failed before."""
        if self.fault:
            return
        try:
            self.prepare()
            os.sync()
            self._seconds.append(timed(self.build))
            self._look(at)
        except SystemExit as fault:
            self.fault = str(fault).strip().splitlines()[-1]

    def _look(self, at: Bench) -> None:
        """Note the image's size; it has to be whole."""
        self._bytes = base.size(at, self.image)
        docker = (at.engine.cli, "--host", at.engine.host, "run", "--rm", "--network=none")
        ran([*docker, f"--entrypoint={_IMPORTS[0]}", self.image, *_IMPORTS[1:]])

    @property
    def time(self) -> float:
        """The median of its runs, in seconds."""
        return median(self._seconds) if self._seconds else 0.0

    @property
    def size(self) -> float:
        """The size of its image in the engine, in megabytes."""
        return self._bytes / 1e6
