"""Locking pinned requirements, beside bare uv and beside pip-compile, all with warm caches.

imagesmith does more than uv here: it asks the index about every requirement, reports, and writes
three files.
"""

import sys
import tempfile
from collections.abc import Iterator
from itertools import count as count_up
from pathlib import Path

from uv import find_uv_bin

from benchmarks.index import simple_index
from benchmarks.measure import COMMAND, Row, medians, run, timed

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
    turns = count_up()

    def ours() -> None:
        # Another version of something that nothing needs makes it another question each time.
        options = ("--allow-missing", f"none-{next(turns)}")
        run(
            *(COMMAND, "lock", "--env", requirements, "--python", "3.11", "--index-url", index),
            *("--output", folder / "lock", *options),
        )

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

    limit = "1.3 x + 0.3 s"
    if count > _PIP_COMPILE:
        total, beside = medians(lambda: timed(ours), lambda: timed(bare))
        yield Row(f"lock of {count} pins", "s", total, "uv pip compile", beside, limit)
        return
    total, beside, peer = medians(
        lambda: timed(ours), lambda: timed(bare), lambda: timed(pip_compile)
    )
    yield Row(f"lock of {count} pins", "s", total, "uv pip compile", beside, limit)
    yield Row(f"lock of {count} pins", "s", total, "pip-compile --generate-hashes", peer, "0.1 x")
