"""Writing the layer of scipy's wheel, beside tarfile + gzip and beside the limit.

The peer packs the same files, spread on the disk, with the standard library's tarfile and gzip at
the same level. The limit is to read those files and hash them, which no layer can do without: its
digest names it. Byte code is left out everywhere, since it is made once a wheel, not once a layer.
"""

import gzip
import hashlib
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import iris
from benchmarks.measure import COMMAND, Row, medians, run, timed
from imagesmith.image.bytecode import ByteCode
from imagesmith.image.layer import write_layer
from imagesmith.image.wheel import Site, archives, wheel_members
from imagesmith.store import CHUNK, Store

_LEVEL = 6


def rows() -> Iterator[Row]:
    """Measure all three in turn."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        wheel, name = _scipy(folder)
        no_bytecode = ByteCode("", folder, ())
        spread = folder / "spread"
        zipfile.ZipFile(wheel).extractall(spread)
        files = sorted(path for path in spread.rglob("*") if path.is_file())
        store = Store(folder / "store")

        def ours() -> object:
            members = wheel_members(wheel, name, Site("3.11"), no_bytecode, archives())
            return write_layer(store, members, "scipy")

        written, packed, hashed = medians(
            lambda: timed(ours),
            lambda: timed(lambda: _pack(spread, folder / "layer.tar.gz")),
            lambda: timed(lambda: _hash(files)),
        )
    yield Row("layer of scipy", "s", written, "tarfile + gzip", packed)
    yield Row("layer of scipy", "s", written, "reading + sha256", hashed)


def _scipy(folder: Path) -> tuple[Path, str]:
    """Give scipy's wheel, and its file name, as the build of the main job has locked it."""
    model = iris.project(folder)
    iris.build(model, "--no-verify")
    target = ("fixtures/iris/model.py:predict", "--name", "iris")
    run(COMMAND, "capture", *target, "--output", folder / "bundle")
    run(COMMAND, "lock", folder / "bundle", "--output", folder / "lock")
    lock = tomllib.loads((folder / "lock" / "pylock.toml").read_text())
    (package,) = [package for package in lock["packages"] if package["name"] == "scipy"]
    (wheel,) = package["wheels"]
    return Store.default().path(f"sha256:{wheel['hashes']['sha256']}"), wheel["name"]


def _pack(spread: Path, out: Path) -> None:
    with gzip.open(out, "wb", _LEVEL) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        tar.add(spread, "opt/env/lib/python3.11/site-packages")


def _hash(files: list[Path]) -> None:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
