"""Clearing the store: what was unused for longest goes, and what anybody counts on stays."""

import os
import time

import pytest

from imagesmith.cache.age import in_days, parse_age
from imagesmith.cache.prune import Wish, prune
from imagesmith.cache.survey import Kind, survey
from imagesmith.findings import ImagesmithError
from imagesmith.image import layout, oci
from imagesmith.image.layer import layer_of
from imagesmith.image.tar import file_member
from imagesmith.partial import PARTIAL
from imagesmith.store import Store, hex_of

DAY = 24 * 3600
NOW = time.time()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def nobody_there():
    raise AssertionError("somebody uses the store")


def age(store, days):
    """Have nothing in the store been used for so many days."""
    for path in store.root.rglob("*"):
        os.utime(path, (NOW - days * DAY,) * 2, follow_symlinks=False)


def used(path, days):
    os.utime(path, (NOW - days * DAY,) * 2)


def image_of(store, name, text):
    """Make an image with a layer that the store remembers, and name it."""
    layer = layer_of(store, [name], lambda: [file_member("model/func.pkl", text)], "model")
    image = oci.assemble(store, f"{name}:1", (layer,), oci.ImageConfig(), "1970-01-01T00:00:00Z")
    layout.put(store.root, image)
    return image


def pruned(store, days=None, size=None, images=False, **options):
    since = None if days is None else NOW - days * DAY
    return prune(store, Wish(since, size, images), nobody_there, **options)


def left(store):
    return {path.name for path in store.blobs.iterdir()}


def test_what_was_not_used_for_long_goes(store):
    old, new = store.add(b"old"), store.add(b"new")
    used(store.path(old), 40)
    done = pruned(store, days=30)
    assert [item.path for item in done.items] == [store.path(old)]
    assert (store.has(old), store.has(new)) == (False, True)


def test_the_longest_unused_goes_until_the_size_is_right(store):
    blobs = [store.add(bytes([n]) * 1000) for n in range(5)]
    for days, digest in enumerate(blobs):
        used(store.path(digest), days)
    assert pruned(store, size=2500).left == 2000
    assert left(store) == {hex_of(digest) for digest in blobs[:2]}


def test_a_store_of_the_right_size_is_left_alone(store):
    store.add(bytes(1000))
    assert pruned(store, size=1000).items == ()


def test_named_images_stay_with_all_that_they_consist_of(store):
    image = image_of(store, "kept", b"x")
    stray = store.add(b"stray")
    store.remember("builds", hex_of(image.manifest.digest), {"builder": "layers"})
    age(store, 400)
    pruned(store, days=1, size=0)
    assert oci.load(store.blobs, image.manifest, image.reference) == image
    assert all(store.has(blob.digest) for blob in image.descriptors())
    assert store.recall("builds", hex_of(image.manifest.digest))
    assert not store.has(stray)


def test_with_images_those_go_that_were_not_used_for_long(store):
    old, new = image_of(store, "old", b"o"), image_of(store, "new", b"n")
    age(store, 400)
    used(store.path(new.manifest.digest), 1)
    done = pruned(store, days=30, images=True)
    assert [named.image.pinned for named in done.images] == [old.pinned]
    assert [image.pinned for image in layout.images(store.root)] == [new.pinned]
    assert left(store) == {hex_of(blob.digest) for blob in new.descriptors()}


def test_with_images_and_a_size_names_are_given_up_only_where_the_rest_is_not_enough(store):
    first, second = image_of(store, "first", os.urandom(5000)), image_of(store, "second", b"s")
    stray = store.add(os.urandom(9000))
    used(store.path(first.manifest.digest), 9)
    size = survey(store).size
    assert pruned(store, size=size - 1000, images=True).images == ()
    assert not store.has(stray)
    done = pruned(store, size=survey(store).size - 1000, images=True)
    assert [named.image.pinned for named in done.images] == [first.pinned]
    assert [image.pinned for image in layout.images(store.root)] == [second.pinned]


def test_a_layer_that_two_images_share_goes_with_the_last_of_them(store):
    one = image_of(store, "one", b"same")
    two = oci.assemble(
        store, "two:1", one.layers, oci.ImageConfig(user="2"), "1970-01-01T00:00:00Z"
    )
    layout.put(store.root, two)
    age(store, 400)
    used(store.path(two.manifest.digest), 1)
    pruned(store, days=30, images=True)
    assert store.has(one.layers[0].blob.digest)
    assert not store.has(one.manifest.digest)


def test_records_go_with_the_blob_that_they_are_about_and_the_others_stay(store):
    image = image_of(store, "gone", b"x")
    (layer,) = image.layers
    store.remember("locks", "key", {"lock": {"wheels": [{"digest": layer.blob.digest}]}})
    used(store.path(layer.blob.digest), 40)
    layout.drop(store.root, image)
    pruned(store, days=30)
    assert store.recall_all("layers") == {}
    assert store.recall_all("locks").keys() == {"key"}
    assert store.recall_all("sizes").keys() == {hex_of(layer.diff_id)}


def test_a_capture_goes_with_what_is_remembered_of_it(store):
    tree = store.folder("captures", "key", lambda folder: (folder / "func.pkl").write_text("x"))
    store.remember("captures", "order", {"folder": "key", "state": {}})
    assert [item.kind for item in survey(store).items] == [Kind.CAPTURES, Kind.RECORDS]
    used(tree, 40)
    assert pruned(store, days=30).size > 0
    assert not tree.exists()
    assert store.recall_all("captures") == {}


def test_what_a_container_runs_from_stays(store):
    running, idle = (store.folder("layers", name, lambda _: None) for name in ("a" * 64, "b" * 64))
    lower = store.root / "run" / "0123456789ab" / "lower"
    lower.mkdir(parents=True)
    (lower / "0").symlink_to(running.resolve())
    age(store, 400)
    pruned(store, days=1, size=0)
    assert (running.exists(), idle.exists()) == (True, False)


def test_the_replicas_of_a_deployment_are_never_forgotten(store):
    store.remember("replicas", "id", {"clipper": None})
    age(store, 400)
    pruned(store, days=1, size=0)
    assert store.recall("replicas", "id") is not None


def test_a_dry_run_says_the_same_and_removes_nothing(store):
    digest = store.add(b"old")
    used(store.path(digest), 40)
    said = pruned(store, days=30, dry_run=True)
    assert store.has(digest)
    used(store.path(digest), 40)
    assert pruned(store, days=30) == said


def test_looking_is_no_use(store):
    image_of(store, "one", b"x")
    age(store, 40)
    survey(store)
    assert all(item.used < NOW - 39 * DAY for item in survey(store).items)


def test_everything_is_counted_once_and_what_is_being_written_not_at_all(store):
    image_of(store, "one", b"x")
    store.add(b"wheel")
    store.folder("layers", "c" * 64, lambda folder: (folder / "file").write_bytes(bytes(100)))
    (store.blobs / f"{PARTIAL}1").write_bytes(bytes(1000))
    found = survey(store)
    files = [path for path in store.root.rglob("*") if path.is_file() and PARTIAL not in path.name]
    about = [path for path in files if path.name not in ("index.json", "oci-layout")]
    assert found.size == sum(path.stat().st_size for path in about)
    kinds = {item.kind for item in found.items}
    assert kinds >= {Kind.ARTIFACTS, Kind.LAYERS, Kind.IMAGES, Kind.FOLDERS, Kind.RECORDS}


def test_an_empty_store_can_be_cleared(store):
    assert pruned(store, days=0, size=0).items == ()


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 30 * DAY), ("12h", DAY // 2), ("1 w", 7 * DAY)]
)
def test_an_age_is_a_number_and_a_unit(text, seconds):
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1m", "1.5d"])
def test_what_is_no_age_is_a_usage_error(text):
    with pytest.raises(ImagesmithError) as refused:
        parse_age(text)
    assert [finding.code for finding in refused.value.findings] == ["usage.age"]


def test_how_long_ago_is_said_in_days():
    assert [in_days(n * DAY) for n in (-1, 0.5, 1.2, 30)] == [
        *("today", "today", "1 day ago", "30 days ago")
    ]
