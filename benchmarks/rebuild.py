"""Building an image again when nothing has changed, beside importing the target alone.

The import is what no build can do without where it must see whether the target changed; what
imagesmith adds to it (the environment's look-over, the lock, the layers, the verdict, all of them
found as they were) may take a second.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import iris
from benchmarks.measure import Row, medians, run, timed


def rows() -> Iterator[Row]:
    """Measure both in turn."""
    with tempfile.TemporaryDirectory() as folder:
        model = iris.project(Path(folder))
        total, load = medians(
            lambda: timed(lambda: iris.build(model, "--version", "bench")),
            lambda: timed(lambda: run(sys.executable, "-c", "import model", cwd=model.parent)),
        )
    yield Row("build, nothing changed", "s", total, "importing the target", load, "beside + 1 s")
