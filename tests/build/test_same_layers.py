"""A layer is a function of its artifact alone: of no host, no order, no base and no neighbour."""

import os
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from build_plan import CREATED, add_wheel, make_plan, store_with

from imagesmith.build.layers import LayersBuilder
from imagesmith.image import oci
from imagesmith.image import plan as plans
from imagesmith.image.compiler import BaseCompiler
from imagesmith.image.contents import members
from imagesmith.image.layer import layer_of
from imagesmith.progress import Silent
from imagesmith.resolve.lock import LockedWheel

pytestmark = [
    pytest.mark.apt,  # the base is made from Debian's packages
    pytest.mark.filterwarnings("ignore:Duplicate name"),
]

# What a wheel may hold that a careless builder makes something else of each time.
AWKWARD = [
    ("awkward/__init__.py", b"# -*- coding: latin-1 -*-\r\nX = {'\xe9', 'b', None}\r\n"),
    ("awkward/twice.py", b"X = 1\n"),
    ("awkward/twice.py", b"X = 2\n"),
    ("awkward/cookie.py", b"# coding: no-such-codec\n"),
    ("awkward/deep.py", b"X = " + b"(" * 150 + b"1" + b")" * 150 + b"\n"),
    ("awkward/sets.py", b"def f(x): return x in {(None, 1), (2, None), ('a', 'b'), ..., 1.5}\n"),
    ("awkward/\u00e9/\u00fc" + "long" * 30 + ".py", b"X = 1\n"),
    ("awkward/__pycache__/twice.cpython-311.pyc", b"somebody else's"),
    ("awkward-1.0.data/scripts/awk", b"#!python -u\r\nprint(1)\r\n"),
    ("awkward-1.0.data/data/share/x", b"x" * 100_000),
    ("awkward-1.0.data/headers/x.h", b"x"),
    (
        "awkward-1.0.dist-info/entry_points.txt",
        b"[console_scripts]\nb = awkward:b\na = awkward:a\n",
    ),
    ("awkward-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: awkward\nVersion: 1.0\n"),
    ("awkward-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\n"),
]


@pytest.fixture
def wheels(shop, tmp_path):
    weight = {"anvil": plans.HEAVY, "feather": 0, "leaf": 0}
    made = [add_wheel(shop, tmp_path, name, weight=n) for name, n in weight.items()]
    return [*made, awkward(shop, tmp_path)]


def awkward(store, folder):
    path = folder / "awkward-1.0-py3-none-any.whl"
    record = "awkward-1.0.dist-info/RECORD"
    rows = "".join(f"{name},,\n" for name in [*dict(AWKWARD), record])
    with zipfile.ZipFile(path, "w") as wheel:
        for number, (name, data) in enumerate([*AWKWARD, (record, rows.encode())]):
            info = zipfile.ZipInfo(name, (1980 + number, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            info.external_attr = (stat.S_IFLNK | 0o777 if number % 3 else 0o100600) << 16
            wheel.writestr(info, data)
    return LockedWheel("awkward", "1.0", path.name, f"file://{path}", store.add_file(path))


def build(store, plan):
    return LayersBuilder(store, Silent()).build(plan)


def elsewhere(base, wheels, shop, folder):
    """Give another store that has the base and the wheels."""
    other = store_with(base, folder)
    for wheel in wheels:
        other.add_file(shop.path(wheel.digest))
    return other


def test_layers_that_were_made_last_to_first_are_the_same(shop, base, wheels, tmp_path):
    plan = make_plan(shop, base, wheels, tmp_path)
    image = build(shop, plan)
    other = elsewhere(base, wheels, shop, tmp_path / "other")
    compiler = BaseCompiler(other, base)
    made = [
        layer_of(
            other,
            plans.key(planned, base),
            lambda planned=planned: members(planned, other, compiler),
            planned.comment,
        )
        for planned in reversed(plan.layers)
    ]
    assert [*base.layers, *reversed(made)] == list(image.layers)


def test_a_layer_does_not_depend_on_what_the_base_is_but_for_its_python(
    shop, base, wheels, tmp_path
):
    config = replace(base.config, labels={**base.config.labels, "another": "base"})
    another = oci.assemble(shop, base.reference, base.layers, config, CREATED)
    assert another.manifest != base.manifest
    images = [build(shop, make_plan(shop, one, wheels, tmp_path)) for one in (base, another)]
    # But for the lock's, whose bill of materials names the base.
    first, second = ([x for x in image.layers if x.comment != "lock"] for image in images)
    assert first == second


def test_one_model_on_two_environments_has_one_layer_and_so_has_the_runtime(
    shop, base, wheels, tmp_path
):
    first = build(shop, make_plan(shop, base, wheels, tmp_path))
    second = build(shop, make_plan(shop, base, wheels[:2], tmp_path))
    shared = [layer.comment for layer in first.layers if layer in second.layers]
    assert shared[1:] == ["environment of Python 3.11", "anvil 1.0", "runtime", "model"]


ONE_CORE = ("taskset", "--cpu-list", "0")
CHILD = """
import sys
from pathlib import Path
from build_plan import make_plan
from imagesmith.build.layers import LayersBuilder
from imagesmith.image import layout, oci
from imagesmith.progress import Silent
from imagesmith.resolve.lock import LockedWheel
from imagesmith.store import Store
root, digest, size, name, folder, *wheels = sys.argv[1:]
store = Store(Path(root))
base = oci.load(store.blobs, oci.Descriptor(oci.MANIFEST, digest, int(size)), name)
wheels = [LockedWheel(*wheel.split("|")) for wheel in wheels]
plan = make_plan(store, base, wheels, Path(folder))
print(LayersBuilder(store, Silent()).build(plan).manifest.digest)
"""


def test_another_process_with_another_hash_seed_mask_zone_and_core_makes_the_same(
    shop, base, wheels, tmp_path
):
    image = build(shop, make_plan(shop, base, wheels, tmp_path))
    other = elsewhere(base, wheels, shop, tmp_path / "other")
    named = ["|".join((w.name, w.version, w.filename, w.url, w.digest)) for w in wheels]
    manifest = base.manifest
    arguments = (other.root, manifest.digest, manifest.size, base.reference, tmp_path / "b")
    done = subprocess.run(
        [*ONE_CORE, sys.executable, "-O", "-c", CHILD, *map(str, arguments), *named],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
            "PYTHONHASHSEED": "7",
            "TZ": "Asia/Kathmandu",
            "LC_ALL": "C",
        },
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == image.manifest.digest
