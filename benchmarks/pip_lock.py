"""Locking pinned requirements, beside bare uv and beside pip-compile, all with warm caches.

imagesmith does more than uv here: it asks the index about every requirement, reports, and writes
three files.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from uv import find_uv_bin

from benchmarks.index import simple_index
from benchmarks.measure import COMMAND, Row, medians, run, timed
from imagesmith.store import Store

_PIP_COMPILE = 10  # pip-compile takes minutes for more


def rows() -> Iterator[Row]:
    """Measure 10, 100 and 300 requirements."""
    for count in (10, 100, 300):
        with tempfile.TemporaryDirectory() as folder:
            yield from _rows(Path(folder), count)


def _rows(folder: Path, count: int) -> Iterator[Row]:
    requirements = folder / "requirements.txt"
    requirements.write_text("\n".join(simple_index(folder, count)))
    index = (folder / "simple").as_uri()
    remembered = Store.default().root / "records" / "lock"

    def ours() -> None:
        run(
            *(COMMAND, "lock", "--env", requirements, "--python", "3.11", "--index-url", index),
            *("--output", folder / "lock"),
        )

    def afresh() -> None:
        shutil.rmtree(remembered, ignore_errors=True)
        ours()

    def bare() -> None:
        run(
            *(find_uv_bin(), "pip", "compile", requirements, "--index-url", index, "--quiet"),
            *("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36"),
            *("--format", "pylock.toml", "--output-file", folder / "pylock.toml"),
        )

    def pip_compile() -> None:
        run(
            *(sys.executable, "-m", "piptools", "compile", requirements, "--index-url", index),
            *("--generate-hashes", "--quiet", "--output-file", folder / "compiled.txt"),
        )

    started = partial(timed, lambda: run(sys.executable, "-c", "pass"))
    works = (afresh, ours, bare)
    total, again, beside, start = medians(*(partial(timed, work) for work in works), started)
    yield Row(f"lock of {count} pins", "s", total, "uv pip compile", beside, "1.3 x + 0.3 s")
    yield Row("the same, unchanged", "s", again, "the interpreter's start", start, "beside + 0.3 s")
    if count <= _PIP_COMPILE:
        total, peer = medians(partial(timed, afresh), partial(timed, pip_compile))
        yield Row(f"lock of {count} pins", "s", total, "pip-compile, with hashes", peer, "0.1 x")
