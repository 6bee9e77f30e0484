"""An image into an engine from wheels that are there but of which no layer was ever made.

The limit is `docker load` of the very image's archive, into an engine that has the base, as ours
has; where nothing at all was made of the wheels before, no byte code and no list of what their
compiled files need, that and compiling as much (`compileall` on all cores), one after the other.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row, medians, timed
from benchmarks.tabular import Bench, base_archive, bench, copied, environment, ran, without

# What is remembered of wheels beside their byte code: see imagesmith/image/binaries.py.
OF_WHEELS = ("bytecode", "binaries-1", "library-names-1")


def rows() -> Iterator[Row]:
    """Measure with and without byte code."""
    with tempfile.TemporaryDirectory() as name, bench(Path(name)) as at:
        store = at.folder / "store"
        bundle = at.bundle(store, 1.0)
        archive = at.folder / "image.tar"
        at.imagesmith(store, "build", bundle, "--no-verify", "--output", f"archive:{archive}")
        base = base_archive(store, at.folder)

        def ours(*kinds: str) -> float:
            fresh = without(copied(store, at.folder / "fresh"), *kinds)
            at.empty(base)
            words = ("build", bundle, "--no-verify", "--output", "docker")
            return timed(lambda: at.imagesmith(fresh, *words))

        def load() -> float:
            at.empty(base)
            return timed(lambda: at.engine.run("load", "--input", archive))

        compiled, fresh, loaded, compiling = medians(
            ours, lambda: ours(*OF_WHEELS), load, lambda: _compile(at)
        )
    yield Row("cold build, byte code there", "s", compiled, "docker load", loaded, "1.3 x")
    both = loaded + compiling
    yield Row(
        "cold build, byte code to make", "s", fresh, "docker load + compileall", both, "1.3 x"
    )


def _compile(at: Bench) -> float:
    """Give the seconds that compiling what an image has byte code of takes, by another's means."""
    site = at.folder / "site"
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(next(environment().glob("lib/python*/site-packages")), site)
    for name in ("pip", "setuptools"):  # which the image has not
        shutil.rmtree(site / name, ignore_errors=True)
    python = environment() / "bin" / "python"
    options = ("-q", "-f", "-j", "0", "-x", r"/tests?/")
    return timed(lambda: ran([python, "-m", "compileall", *options, site]))
