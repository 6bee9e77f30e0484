"""Locking conda packages against channels of any size, beside py-rattler's own solve.

imagesmith reads the channel once, as py-rattler does, then lets conda-lock write the lock, which
takes most of a second to start. The memory is that of the child that has the channel.
"""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.index import channel
from benchmarks.measure import Row, medians, timed

_OURS = """
import json, sys
from imagesmith.resolve.conda import ask, lockfile
from imagesmith.resolve.conda.channels import Channels
from imagesmith.resolve.platform import Target
from imagesmith.resolve.relax import Pin
from imagesmith.store import Store
from pathlib import Path

url, store, specs = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
pins = tuple(Pin(*spec.split("=")) for spec in specs)
question = ask.CondaQuestion(Channels((url,)), Target("3.11", "2.36"), pins, (), pins)
with lockfile.locker(question) as lock:
    lockfile.render(lock(ask.ask(question, Store(Path(store)))))
"""
_BARE = """
import asyncio, json, os, sys
import rattler

url, cache, specs = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
glibc = rattler.GenericVirtualPackage(
    rattler.PackageName("__glibc"), rattler.Version("2.36"), rattler.BuildString("0")
)
specs = [spec.replace("=", " ==") for spec in specs]
asyncio.run(
    rattler.solve(
        [url], ["python 3.11.*", *specs], platforms=["linux-64", "noarch"],
        gateway=rattler.Gateway(cache_dir=cache), virtual_packages=[glibc],
    )
)
os._exit(0)  # which py-rattler may not survive otherwise
"""


def rows() -> Iterator[Row]:
    """Measure channels of 1 000, 50 000 and 500 000 records."""
    for records in (1_000, 50_000, 500_000):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            specs = json.dumps(channel(folder / "channel", records))
            url = (folder / "channel").as_uri()
            ours = [sys.executable, "-c", _OURS, url, str(folder / "store"), specs]
            bare = [sys.executable, "-c", _BARE, url, str(folder / "cache"), specs]
            runs = (partial(timed, partial(_run, argv)) for argv in (ours, bare))
            total, beside = medians(*runs)
        what = f"conda lock, {records} records"
        yield Row(what, "s", total, "py-rattler's solve", beside, "1.3 x + 1 s")
    starts = [sys.executable, "-m", "conda_lock", "--version"]
    yield Row(
        "conda-lock --version, which is in each",
        "s",
        *medians(partial(timed, partial(_run, starts))),
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    yield Row("conda lock, memory of the largest", "MB", peak / 1024)


def _run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, capture_output=True)
