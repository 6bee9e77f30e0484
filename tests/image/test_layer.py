"""A layer is a function of its members alone, compressed so that any gunzip reads it."""

import gzip
import hashlib
from pathlib import Path

import pytest

from imagesmith.image import layer as layers
from imagesmith.image.tar import file_member
from imagesmith.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def members():
    noise = hashlib.shake_256(b"noise").digest(5_000_000)
    return [file_member("opt/noise", noise), file_member("opt/zeros", bytes(6_000_000))]


def test_the_diff_id_is_the_digest_of_what_gunzip_gives(store):
    layer = layers.write_layer(store, members(), "noise")
    data = store.path(layer.blob.digest).read_bytes()
    assert "sha256:" + hashlib.sha256(data).hexdigest() == layer.blob.digest
    assert len(data) == layer.blob.size
    assert "sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest() == layer.diff_id


@pytest.mark.parametrize("cores", [1, 2, 7])
def test_the_bytes_do_not_depend_on_the_number_of_cores(store, monkeypatch, cores):
    expected = layers.write_layer(store, members(), "noise")
    monkeypatch.setattr(layers, "_AHEAD", cores)
    assert layers.write_layer(store, members(), "noise") == expected


def test_the_bytes_are_the_pinned_compressors(store):
    layer = layers.write_layer(store, [file_member("a", b"b" * 100_000)], "pinned")
    # If this changes, every image changes: raise RECIPE and say so in the changelog.
    assert layer.blob.digest == (
        "sha256:3301a1670dd936ce631c1aaad857e143a06bd16d892f2ff28d44dd82e91d329c"
    )


def test_a_layer_is_made_once_for_what_it_is_made_from(store):
    made = []

    def contents():
        made.append(1)
        return members()

    first = layers.layer_of(store, ["noise", 1], contents, "noise")
    assert layers.layer_of(store, ["noise", 1], contents, "noise") == first
    assert len(made) == 1


def test_a_layer_whose_blob_is_gone_is_made_again(store):
    first = layers.layer_of(store, ["noise", 1], members, "noise")
    store.path(first.blob.digest).unlink()
    assert layers.layer_of(store, ["noise", 1], members, "noise") == first
    assert store.has(first.blob.digest)


def test_a_layer_that_fails_half_way_leaves_nothing(store):
    def contents():
        yield file_member("a", bytes(9_000_000))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        layers.layer_of(store, ["broken"], contents, "broken")
    assert list(store.blobs.iterdir()) == []
    assert store.recall_all("layers") == {}
