"""A plan of the tests' own: one base, one heavy wheel, two light ones, a runtime, a model."""

import os
import zipfile
from types import SimpleNamespace

from imagesmith.image.plan import plan
from imagesmith.resolve.lock import Lock, LockedWheel
from imagesmith.resolve.platform import Target
from imagesmith.store import Store, sha256_file

CREATED = "1970-01-01T00:00:00Z"
TARGET = Target("3.11", "2.36")


def store_with(base, folder):
    """Give a new store that has the base, unpacked already where the base's own store has it so."""
    store = Store(folder)
    store.blobs.mkdir(parents=True)
    for blob in base.descriptors():
        store.path(blob.digest).symlink_to(base.blob(blob.digest))
    unpacked = base.blobs.parents[1] / "folders" / "layers" / base.layers[0].diff_id[7:]
    if unpacked.is_dir():
        (folder / "folders" / "layers").mkdir(parents=True)
        (folder / "folders" / "layers" / unpacked.name).symlink_to(unpacked)
    return store


def add_wheel(store, folder, name, source=b"X = 1\n", weight=0):
    """Make a wheel of one module, with this many bytes of ballast, and keep it in the store."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    files = {
        f"{name}/__init__.py": source,
        f"{name}/ballast": os.urandom(weight) if weight else b"",
        f"{name}-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: x\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for member, data in files.items():
            wheel.writestr(zipfile.ZipInfo(member), data)
        record = "".join(f"{member},,\n" for member in files)
        wheel.writestr(zipfile.ZipInfo(f"{name}-1.0.dist-info/RECORD"), record)
    digest = store.add_file(path)
    return LockedWheel(name, "1.0", path.name, f"file://{path}", digest)


def make_plan(store, base, wheels, folder, modules=(), packages=()):
    """Plan the image of a model beside these wheels and conda packages."""
    (folder / "runtime").mkdir(parents=True, exist_ok=True)
    (folder / "runtime" / "rpc.py").write_text("X = 1\n")
    (folder / "func.pkl").write_bytes(b"model")
    capture = SimpleNamespace(
        name="m",
        version="1",
        input_type="doubles",
        strings="str",
        python_minor="3.11",
        cloudpickle="3.1.2",
        modules=(),
        files={name: sha256_file(folder / name) for name in ("func.pkl", *modules)},
        folder=folder,
    )
    lock = Lock(TARGET, *(tuple(sorted(group, key=_name)) for group in (wheels, packages)))
    return plan(capture, lock, base, folder / "runtime", store, CREATED)


def _name(artifact):
    return artifact.name
