"""What a build takes as images grow: many distributions, and a large model.

Each figure stands beside what as many bytes would take at the pace of the row before: in linear
time the ratio is 1 at most. The memory is that of the largest process of a build (wait4), which is
not to grow at all. Distributions are made of nothing, half of them heavy enough for a layer of
their own, and no layer or byte code of them is there; of a model all but its own layer is. A model
is random bytes, which nothing compresses, as a file in modules/. Medians of three; models of more
than a gigabyte are built once.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks import models
from benchmarks.measure import COMMAND, Row
from benchmarks.tabular import Bench, base_archive, bench, copied
from imagesmith.resolve.lock import LockedWheel
from imagesmith.store import Store

_COUNTS = (10, 50, 200)
_MODELS = (10_000_000, 1_000_000_000, 5_000_000_000)  # bytes
_ONCE = 1_000_000_000  # bytes; what has more is built once
_TIMES = 3
_MODULES, _FUNCTIONS = 6, 120  # of a distribution; each module has some 15 kB
_BALLAST = 200_000  # bytes that nothing compresses, once to ten times
_OUTPUTS = ("oci", "docker")
_TO = {"oci": "to a layout", "docker": "to an engine"}
_BUILD = """
import json, sys
from pathlib import Path
from types import SimpleNamespace

from imagesmith.build.layers import LayersBuilder
from imagesmith.image import layout
from imagesmith.image.plan import plan
from imagesmith.pipeline import created, runtime_folder
from imagesmith.progress import Silent
from imagesmith.publish.engine import EnginePublisher
from imagesmith.publish.layout import LayoutPublisher
from imagesmith.resolve.lock import Lock, LockedWheel
from imagesmith.resolve.platform import Target
from imagesmith.store import Store

wheels, out = sys.argv[1:]
store = Store.default()
locked = [LockedWheel(**wheel) for wheel in json.loads(Path(wheels).read_bytes())]
lock = Lock(Target("3.11", "2.36"), tuple(locked))
capture = SimpleNamespace(
    name="growth", version="1", input_type="doubles", strings="str", python_minor="3.11",
    cloudpickle="3", modules=(), files={}, folder=Path(),
)
base = layout.find(store.root, "closure-base:3.11")
planned = plan(capture, lock, base, runtime_folder(), store, created())
if out == "docker":
    publisher = EnginePublisher(store, Silent())
else:
    publisher = LayoutPublisher(Path(out.removeprefix("oci:")))
with publisher.delivery() as delivery:
    delivery.publish(LayersBuilder(store, Silent()).build(planned, delivery.layer))
"""


@dataclass(frozen=True)
class Taken:
    """What a build of so many bytes took: seconds, and bytes of memory."""

    bytes: int
    seconds: float
    peak: int


def rows() -> Iterator[Row]:
    """Measure distributions, then models."""
    with tempfile.TemporaryDirectory() as name, bench(Path(name)) as at:
        bundle = models.small(at, at.folder / "store")
        base = base_archive(at.folder / "store", at.folder)
        for output in _OUTPUTS:
            taken = [(f"{n} distributions", _distributions(at, n, base, output)) for n in _COUNTS]
            yield from _rows(taken, _TO[output])
        for output in _OUTPUTS:
            taken = [(f"model of {_said(n)}", _model(at, bundle, n, base, output)) for n in _MODELS]
            yield from _rows(taken, _TO[output])


def _rows(taken: list[tuple[str, Taken]], to: str) -> Iterator[Row]:
    """Give each its time beside the pace of the one before it, and its memory beside that's."""
    before: Taken | None = None
    for what, one in taken:
        title = f"{what} ({one.bytes / 1e6:.0f} MB) {to}"
        if before is None:
            yield Row(title, "s", one.seconds)
            yield Row("  memory", "MB", one.peak / 1e6)
        else:
            pace = before.seconds * one.bytes / before.bytes
            yield Row(title, "s", one.seconds, "at the pace of the row before", pace, "1 x")
            yield Row(
                "  memory", "MB", one.peak / 1e6, "the row before", before.peak / 1e6, "1.1 x"
            )
        before = one


def _said(size: int) -> str:
    return f"{size // 10**9} GB" if size >= 10**9 else f"{size // 10**6} MB"


def _distributions(at: Bench, count: int, base: Path, output: str) -> Taken:
    """Build an image of so many distributions, of which no layer is there."""
    whole = copied(at.folder / "store", at.folder / "whole")
    wheels = [_wheel(Store(whole), at.folder, number) for number in range(count)]
    size = sum(Store(whole).path(wheel.digest).stat().st_size for wheel in wheels)
    listed = at.folder / "wheels.json"
    listed.write_text(json.dumps([asdict(wheel) for wheel in wheels]))
    words = [sys.executable, "-c", _BUILD, listed]
    return _median(at, whole, words, size, base, output)


def _model(at: Bench, bundle: Path, size: int, base: Path, output: str) -> Taken:
    """Build an image of a model of so many bytes, of which all other layers are there."""
    grown = at.folder / "grown"
    models.with_weights(bundle, grown, size)
    words = [COMMAND, "build", grown, "--no-verify", "--output"]
    taken = _median(at, at.folder / "store", words, size, base, output)
    shutil.rmtree(grown)
    return taken


def _median(
    at: Bench, whole: Path, words: list[object], size: int, base: Path, output: str
) -> Taken:
    """Give the medians of builds with copies of a store."""
    seen: list[tuple[float, int]] = []
    store, layout = at.folder / "fresh", at.folder / "layout"
    for _ in range(1 if size > _ONCE else _TIMES):
        copied(whole, store)
        at.empty(base)
        to = output if output == "docker" else f"oci:{layout}"
        env = {"IMAGESMITH_CACHE": str(store), "DOCKER_HOST": at.engine.host}
        seen.append(_measured([*words, to], env))
        for folder in (store, layout):
            shutil.rmtree(folder, ignore_errors=True)
    seconds, peaks = zip(*seen, strict=True)
    return Taken(size, median(seconds), max(peaks))


def _measured(words: list[object], env: dict[str, str]) -> tuple[float, int]:
    """Give the seconds that a program takes, and the bytes of its largest process."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        argv = [str(word) for word in words]
        process = subprocess.Popen(argv, env={**os.environ, **env}, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{argv} ended with {process.returncode}: {said.read().decode()}")
    return time.perf_counter() - begin, usage.ru_maxrss * 1024


def _wheel(store: Store, folder: Path, number: int) -> LockedWheel:
    """Make a wheel of some modules and of bytes that nothing compresses; the same every time."""
    name, chance = f"bench_{number}", random.Random(number)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    files = {f"{name}/m{module}.py": _source(chance) for module in range(_MODULES)}
    files |= {
        f"{name}/ballast.bin": chance.randbytes(_BALLAST * (1 + number % 10)),
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
    }
    files[f"{name}-1.0.dist-info/RECORD"] = "".join(f"{file},,\n" for file in files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file, data in files.items():
            wheel.writestr(zipfile.ZipInfo(file), data, zipfile.ZIP_DEFLATED)
    digest = store.add_file(path)
    path.unlink()
    return LockedWheel(name.replace("_", "-"), "1.0", path.name, path.as_uri(), digest)


def _source(chance: random.Random) -> str:
    """Write a module of many small functions."""
    functions = [
        f"def f{number}(a, b={chance.random()}):\n"
        f"    c = [a * x for x in b[{chance.randrange(99)}:] if x % {chance.randrange(1, 9)}]\n"
        f"    return {{'{chance.randbytes(8).hex()}': c, 'b': b}}\n"
        for number in range(_FUNCTIONS)
    ]
    return "\n\n".join(functions)
