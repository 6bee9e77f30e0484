"""A plan becomes an image: the same one everywhere, by whoever, and nothing where it cannot."""

import json
import multiprocessing
import os
import shutil
import tarfile
import zipfile
from dataclasses import replace

import pytest
from build_plan import add_wheel, make_plan, store_with

from imagesmith.build.layers import LayersBuilder
from imagesmith.findings import ImagesmithError
from imagesmith.image import oci
from imagesmith.image import plan as plans
from imagesmith.progress import Silent
from imagesmith.store import DamagedError, Store, sha256_file

pytestmark = pytest.mark.apt  # the base is made from Debian's packages


@pytest.fixture
def wheels(shop, tmp_path):
    weight = {"anvil": plans.HEAVY, "feather": 0, "leaf": 0}
    return {name: add_wheel(shop, tmp_path, name, weight=n) for name, n in weight.items()}


def build(store, plan):
    return LayersBuilder(store, Silent()).build(plan)


def left_over(store):
    return [path for path in store.root.rglob("*") if ".partial-" in path.name]


def test_where_a_wheel_came_from_is_no_part_of_the_image(shop, base, wheels, tmp_path):
    first = build(shop, make_plan(shop, base, wheels.values(), tmp_path))
    mirrored = [replace(w, url=f"https://mirror.example/{w.filename}") for w in wheels.values()]
    assert build(shop, make_plan(shop, base, mirrored, tmp_path)) == first


def test_the_layers_go_from_what_most_images_share_to_what_changes_most(
    shop, base, wheels, tmp_path
):
    wheels["zinc"] = add_wheel(shop, tmp_path, "zinc", weight=2 * plans.HEAVY)
    image = build(shop, make_plan(shop, base, wheels.values(), tmp_path))
    assert [layer.comment for layer in image.layers] == [
        base.layers[0].comment,
        "environment of Python 3.11",
        "anvil 1.0",
        "zinc 1.0",
        "feather 1.0, leaf 1.0",
        "lock",
        "runtime",
        "model",
    ]


def test_the_same_plan_gives_the_same_digest_again_and_in_another_store(
    shop, base, wheels, tmp_path
):
    first = build(shop, make_plan(shop, base, wheels.values(), tmp_path))
    assert build(shop, make_plan(shop, base, wheels.values(), tmp_path)) == first
    other = store_with(base, tmp_path / "other")
    for wheel in wheels.values():
        other.add_file(shop.path(wheel.digest))
    before = os.umask(0o077)
    try:
        elsewhere = build(other, make_plan(other, base, wheels.values(), tmp_path / "b"))
    finally:
        os.umask(before)
    assert elsewhere.manifest == first.manifest


def test_a_changed_wheel_changes_its_layer_and_the_lock_and_no_other(shop, base, wheels, tmp_path):
    first = build(shop, make_plan(shop, base, wheels.values(), tmp_path))
    wheels["anvil"] = add_wheel(shop, tmp_path, "anvil", b"X = 2\n", plans.HEAVY)
    second = build(shop, make_plan(shop, base, wheels.values(), tmp_path))
    pairs = zip(first.layers, second.layers, strict=True)
    changed = [one.comment for one, other in pairs if one != other]
    assert changed == ["anvil 1.0", "lock"]


def test_a_wheels_layer_has_its_byte_code(shop, base, wheels, tmp_path):
    image = build(shop, make_plan(shop, base, [wheels["leaf"]], tmp_path))
    (layer,) = [layer for layer in image.layers if layer.comment == "leaf 1.0"]
    with tarfile.open(image.blob(layer.blob.digest)) as tar:
        names = tar.getnames()
    site = "opt/env/lib/python3.11/site-packages/leaf"
    assert f"{site}/__init__.py" in names
    assert f"{site}/__pycache__/__init__.cpython-311.pyc" in names


def test_the_image_holds_its_bill_of_materials_beside_the_lock(shop, base, wheels, tmp_path):
    image = build(shop, make_plan(shop, base, wheels.values(), tmp_path))
    (layer,) = [layer for layer in image.layers if layer.comment == "lock"]
    with tarfile.open(image.blob(layer.blob.digest)) as tar:
        document = json.load(tar.extractfile("opt/imagesmith/sbom.spdx.json"))
    named = {one["name"]: one["versionInfo"] for one in document["packages"]}
    debian = dict(one.split("=") for one in base.config.labels[oci.LABEL_PACKAGES].split())
    assert named.items() >= {**debian, **dict.fromkeys(wheels, "1.0")}.items()
    assert named["base"] == base.manifest.digest
    assert len(named) == len(debian) + len(wheels) + 2


def test_the_runtime_and_the_models_modules_have_their_byte_code(shop, base, tmp_path):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "local.py").write_text("X = 1\n")
    plan = make_plan(shop, base, [], tmp_path, modules=["modules/local.py"])
    image = build(shop, plan)
    names = set()
    for layer in image.layers[1:]:
        with tarfile.open(image.blob(layer.blob.digest)) as tar:
            names.update(tar.getnames())
    assert {
        "container/imagesmith/runtime/__pycache__/rpc.cpython-311.pyc",
        "model/modules/__pycache__/local.cpython-311.pyc",
    } <= names


def damaged(path):
    """Spoil the bytes of the first member."""
    with zipfile.ZipFile(path) as wheel:
        entry = wheel.infolist()[0]
    data = bytearray(path.read_bytes())
    at = entry.header_offset + 30 + len(entry.filename)
    data[at : at + entry.compress_size] = b"~" * entry.compress_size
    path.write_bytes(data)


def no_zip(path):
    path.write_bytes(b"no zip")


@pytest.mark.parametrize("spoil", [damaged, no_zip])
def test_a_damaged_wheel_is_named_and_leaves_nothing(shop, base, wheels, tmp_path, spoil):
    path = tmp_path / wheels["leaf"].filename
    spoil(path)
    wheels["leaf"] = replace(wheels["leaf"], digest=shop.add_file(path))
    with pytest.raises(ImagesmithError, match=r"leaf-1\.0-py3-none-any\.whl") as refused:
        build(shop, make_plan(shop, base, wheels.values(), tmp_path))
    assert [finding.code for finding in refused.value.findings] == ["build.wheel"]
    assert not left_over(shop)
    assert not (shop.root / "index.json").exists()


@pytest.mark.parametrize("spoilt", [b"other", b"longer than it was", b""])
def test_a_model_that_changes_while_it_is_built_is_refused(shop, base, tmp_path, spoilt):
    """Its layer would else be remembered under the digest of what it was before."""
    plan = make_plan(shop, base, [], tmp_path)
    (tmp_path / "func.pkl").write_bytes(spoilt)
    with pytest.raises(ImagesmithError, match=r"func\.pkl") as refused:
        build(shop, plan)
    assert refused.value.findings[0].code == "build.file"
    assert not left_over(shop)


def test_a_store_that_cannot_be_written_says_so(shop, base, tmp_path):
    plan = make_plan(shop, base, [], tmp_path)
    (shop.root / "records").write_text("no folder")
    with pytest.raises(ImagesmithError, match="cannot be written") as refused:
        build(shop, plan)
    assert refused.value.findings[0].code == "build.store"
    assert str(shop.root) in refused.value.findings[0].subject


def test_a_full_disk_says_so_and_leaves_nothing(shop, base, tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(28, "No space left on device")

    plan = make_plan(shop, base, [], tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ImagesmithError, match="No space left") as refused:
        build(shop, plan)
    assert "free some space" in refused.value.findings[0].remedy
    assert not left_over(shop)


@pytest.mark.parametrize("spoil", [damaged, no_zip])
def test_what_the_store_has_damaged_is_named_and_dropped(shop, base, wheels, tmp_path, spoil):
    spoil(shop.path(wheels["leaf"].digest))
    with pytest.raises(DamagedError, match=r"leaf-1\.0-py3-none-any\.whl") as refused:
        build(shop, make_plan(shop, base, wheels.values(), tmp_path))
    assert refused.value.digest == wheels["leaf"].digest
    assert not shop.has(wheels["leaf"].digest)  # so that it is fetched again
    assert not left_over(shop)


def test_a_layer_that_was_cut_short_is_made_again(shop, base, wheels, tmp_path):
    plan = make_plan(shop, base, wheels.values(), tmp_path)
    image = build(shop, plan)
    blob = image.blob(image.layers[-1].blob.digest)
    blob.write_bytes(blob.read_bytes()[:-1])
    assert build(shop, plan).manifest == image.manifest
    assert sha256_file(blob) == image.layers[-1].blob.digest


def test_what_a_killed_build_left_is_cleared(shop, base, tmp_path):
    (shop.blobs / ".partial-x").write_bytes(b"half a layer")
    build(shop, make_plan(shop, base, [], tmp_path))
    assert not left_over(shop)


def _build_beside(begin, folder, plan, results):
    begin.wait()
    results.put(build(Store(folder), plan).manifest.digest)


def test_two_processes_that_build_the_same_at_once_give_the_same(shop, base, wheels, tmp_path):
    """The base is not unpacked yet, no layer is there: both want to make everything."""
    shutil.rmtree(shop.root / "folders")
    plan = make_plan(shop, base, wheels.values(), tmp_path)
    spawn = multiprocessing.get_context("spawn")
    begin, results = spawn.Event(), spawn.Queue()
    workers = [
        spawn.Process(target=_build_beside, args=(begin, shop.root, plan, results))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    begin.set()
    digests = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert digests[0] == digests[1] == build(shop, plan).manifest.digest
    assert not left_over(shop)
