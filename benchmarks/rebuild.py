"""An image in the engine again: when the model has changed, and when nothing has.

From a captured bundle, and not verified, which is timed on its own: it takes what the model takes
to load. From the target there is also what importing that takes, which no build can do without.
"""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.measure import Row, medians, timed
from benchmarks.tabular import Bench, bench, environment, ran
from imagesmith.image import layout

_RUNS = 6  # as many as ``medians`` makes, the first of which does not count
_TO_ENGINE = ("--no-verify", "--output", "docker")


def rows() -> Iterator[Row]:
    """Measure all of them in turn."""
    with tempfile.TemporaryDirectory() as name, bench(Path(name)) as at:
        store = at.folder / "store"
        bundles = [at.bundle(store, float(number)) for number in range(1, _RUNS + 2)]
        at.imagesmith(store, "build", bundles[0], *_TO_ENGINE)
        target = (*at.target, "--version", "bench")  # into the store as well
        at.imagesmith(store, "build", *target)
        changed = itertools.count(1)
        added: list[int] = []

        def change() -> float:
            blobs = store / "blobs" / "sha256"
            before = set(blobs.iterdir())
            bundle = bundles[next(changed)]
            took = timed(lambda: at.imagesmith(store, "build", bundle, *_TO_ENGINE))
            added.append(sum(path.stat().st_size for path in set(blobs.iterdir()) - before))
            return took

        figures = medians(
            change,
            lambda: timed(lambda: at.imagesmith(store, "build", bundles[0], *_TO_ENGINE)),
            lambda: timed(lambda: at.imagesmith(store, "build", *target)),
            lambda: timed(lambda: ran([_python(), "-c", "import model"], cwd=at.folder)),
            lambda: _verify(at, store),
        )
        whole = _size(at, store, bundles[0])
    model, nothing, of_target, importing, verifying = figures
    yield Row("model changed, from a bundle", "s", model, limit="1.0 s")
    yield Row("  new blobs", "kB", median(added[1:]) / 1e3, "the whole image", whole / 1e3)
    yield Row("  its verification, on its own", "s", verifying)
    yield Row("nothing changed, from a bundle", "s", nothing, limit="0.6 s")
    yield Row(
        "nothing changed, from the target",
        "s",
        of_target,
        "importing the target",
        importing,
        "beside + 0.6 s",
    )


def _python() -> Path:
    return environment() / "bin" / "python"


def _verify(at: Bench, store: Path) -> float:
    """Give the seconds of a verification without an engine, as a build does it."""
    words = ("verify", "tabular:bench", "--samples", "samples.json", "--no-compare")
    return timed(lambda: at.imagesmith(store, *words, engine=False))


def _size(at: Bench, store: Path, bundle: Path) -> int:
    """Give the bytes of the whole image's blobs."""
    folder = at.folder / "layout"
    at.imagesmith(store, "build", bundle, "--no-verify", "--output", f"oci:{folder}")
    (image,) = layout.images(folder)
    return sum(blob.size for blob in image.descriptors())
