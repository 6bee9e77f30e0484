"""Building an image again when the model has changed: the time, and what a registry would get.

Each run fits the model with another parameter. The time is without verifying, which takes what
the model takes to load; the bytes are those of the blobs that the store did not have, beside those
of the whole image.
"""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import iris
from benchmarks.measure import Row, medians, timed
from imagesmith.image import layout


def rows() -> Iterator[Row]:
    """Build with one parameter after another."""
    with tempfile.TemporaryDirectory() as folder:
        model = iris.project(Path(folder))
        source = model.read_text()
        blobs = Path(folder) / "layout" / "blobs" / "sha256"
        parameters = itertools.count(1)
        added: list[int] = []

        def change_and_build() -> float:
            """Write another model and give the seconds that its build takes."""
            changed = f"random_state=0, C={next(parameters)}.5"
            model.write_text(source.replace("random_state=0", changed))
            before = set(blobs.glob("*"))
            took = timed(lambda: iris.build(model, "--version", "bench", "--no-verify"))
            added.append(sum(p.stat().st_size for p in set(blobs.glob("*")) - before))
            return took

        (seconds,) = medians(change_and_build)
        (image,) = layout.images(Path(folder) / "layout")
        whole = sum(blob.size for blob in image.descriptors())
    yield Row("build, model changed, not verified", "s", seconds)
    yield Row("  new blobs", "kB", median(added[1:]) / 1e3, "the whole image", whole / 1e3)
