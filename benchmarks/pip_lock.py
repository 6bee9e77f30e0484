"""Locking pinned requirements, beside bare uv and beside pip-compile, all with warm caches.

imagesmith does more than uv here: it asks the index about every requirement, reports, and writes
three files.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path

from uv import find_uv_bin

from benchmarks.index import installed, simple_index
from benchmarks.measure import COMMAND, Row, medians, run, timed
from imagesmith.store import Store

# Of the index that pip is configured with.
_REAL = ("cloudpickle", "numpy", "pyzmq", "scikit-learn", "scipy")


def rows() -> Iterator[Row]:
    """Measure 10, 100 and 300 requirements, some real ones, and what looking at many costs."""
    for count in (10, 100, 300):
        with tempfile.TemporaryDirectory() as folder:
            yield from _beside_uv(Path(folder), count)
    with tempfile.TemporaryDirectory() as folder:
        yield from _beside_pip_compile(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield _among_others(Path(folder), 300, 10)


def _lock(*options: object) -> None:
    run(COMMAND, "lock", "--python", "3.11", *options)


def _afresh(*options: object) -> None:
    shutil.rmtree(Store.default().root / "records" / "locks", ignore_errors=True)
    _lock(*options)


def _beside_uv(folder: Path, count: int) -> Iterator[Row]:
    requirements = folder / "requirements.txt"
    requirements.write_text("\n".join(simple_index(folder, count)))
    index = (folder / "simple").as_uri()
    ours = ("--env", requirements, "--index-url", index, "--output", folder / "lock")

    def bare() -> None:
        run(
            *(find_uv_bin(), "pip", "compile", requirements, "--index-url", index, "--quiet"),
            *("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36"),
            *("--format", "pylock.toml", "--output-file", folder / "pylock.toml"),
        )

    started = partial(timed, lambda: run(sys.executable, "-c", "pass"))
    works = (partial(_afresh, *ours), partial(_lock, *ours), bare)
    total, again, beside, start = medians(*(partial(timed, work) for work in works), started)
    yield Row(f"lock of {count} pins", "s", total, "uv pip compile", beside, "1.3 x + 0.3 s")
    yield Row("the same, unchanged", "s", again, "the interpreter's start", start, "beside + 0.3 s")


def _beside_pip_compile(folder: Path) -> Iterator[Row]:
    """Lock real pins: with empty caches, once, since pip-compile takes minutes; then with warm."""
    requirements = folder / "requirements.txt"
    pins = [f"{name}=={metadata.version(name)}" for name in _REAL]
    requirements.write_text("\n".join(pins))
    projects = Store.default().root / "records" / "projects"

    def ours(cache: str) -> None:
        lock = (COMMAND, "lock", "--env", requirements, "--python", "3.11", "-o", folder / "lock")
        shutil.rmtree(projects.with_name("locks"), ignore_errors=True)
        run("env", f"UV_CACHE_DIR={folder / cache}", *lock)

    def pip_compile(cache: str) -> None:
        run(
            *("env", f"PIP_CACHE_DIR={folder / cache}-pip", sys.executable, "-m", "piptools"),
            *("compile", requirements, "--generate-hashes", "--quiet"),
            *("--cache-dir", folder / cache, "--output-file", folder / "compiled.txt"),
        )

    shutil.rmtree(projects, ignore_errors=True)
    total, peer = timed(partial(ours, "uv")), timed(partial(pip_compile, "piptools"))
    what = f"lock of {len(_REAL)} real pins"
    yield Row(f"{what}, empty caches", "s", total, "pip-compile, with hashes", peer, "0.1 x")
    works = (partial(timed, partial(ours, "uv")), partial(timed, partial(pip_compile, "piptools")))
    total, peer = medians(*works)
    yield Row(f"{what}, warm caches", "s", total, "pip-compile, with hashes", peer)


def _among_others(folder: Path, count: int, needed: int) -> Row:
    """Lock what is needed of an environment, and say of all the rest what linux-64 has."""
    simple_index(folder, count)
    index = ("--index-url", (folder / "simple").as_uri(), "--output", folder / "lock")
    works = [
        partial(_afresh, "--env", installed(folder / f"{all_of_it}", all_of_it, needed), *index)
        for all_of_it in (count, needed)
    ]
    total, beside = medians(*(partial(timed, work) for work in works))
    what = f"lock of {needed} among {count} installed"
    return Row(what, "s", total, "the same alone", beside, "2 x")
