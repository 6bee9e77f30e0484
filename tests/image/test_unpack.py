"""Unpacking a layer gives its tree, and refuses whatever could lead out of it."""

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagesmith.findings import ImagesmithError
from imagesmith.image.layer import write_layer
from imagesmith.image.oci import LAYER_GZIP, Descriptor, Layer
from imagesmith.image.tar import file_member, folder_member, link_member
from imagesmith.image.unpack import unpacked
from imagesmith.store import Store, sha256


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def entry(name, kind=tarfile.REGTYPE, data=b"", target="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, len(data), target, mode
    return info, data


def layer_of(store, *entries):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return layer_from(store, plain.getvalue())


def layer_from(store, tar):
    blob = gzip.compress(tar)
    return Layer(Descriptor(LAYER_GZIP, store.add(blob), len(blob)), sha256(tar), "a layer")


def unpack(store, layer):
    return unpacked(store, store.path(layer.blob.digest), layer)


def test_the_tree_has_the_members_with_their_contents_modes_and_times(store):
    members = [
        file_member("bin/run", b"#!/bin/sh\n", 0o755),
        folder_member("tmp", 0o1777),
        link_member("run", "bin/run"),
    ]
    root = unpack(store, write_layer(store, members, "a layer"))
    assert (root / "bin/run").read_bytes() == b"#!/bin/sh\n"
    assert (root / "bin/run").stat().st_mode & 0o7777 == 0o755
    assert (root / "bin/run").stat().st_mtime == 0
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert str((root / "run").readlink()) == "bin/run"


def test_a_layer_is_unpacked_once(store):
    layer = write_layer(store, [file_member("a", b"a")], "a layer")
    first = unpack(store, layer)
    store.path(layer.blob.digest).unlink()
    assert unpack(store, layer) == first


def test_a_hard_link_to_a_file_before_it_is_that_file(store):
    layer = layer_of(store, entry("a", data=b"a"), entry("b", tarfile.LNKTYPE, target="a"))
    assert (unpack(store, layer) / "b").read_bytes() == b"a"


def test_a_folder_that_forbids_writing_still_gets_its_files(store):
    layer = layer_of(store, entry("d", tarfile.DIRTYPE, mode=0o555), entry("d/f", data=b"f"))
    root = unpack(store, layer)
    assert (root / "d/f").read_bytes() == b"f"
    assert (root / "d").stat().st_mode & 0o777 == 0o555


EVIL = {
    "an absolute path": [entry("/etc/cron.d/x", data=b"x")],
    "a path upwards": [entry("a/../../x", data=b"x")],
    "a path upwards at the start": [entry("../x", data=b"x")],
    "a file through a link": [
        entry("out", tarfile.SYMTYPE, target="/tmp"),
        entry("out/x", data=b"x"),
    ],
    "a file in the place of a link": [
        entry("x", tarfile.SYMTYPE, target="/tmp/x"),
        entry("x", data=b"x"),
    ],
    "a folder in the place of a link": [
        entry("out", tarfile.SYMTYPE, target="/tmp"),
        entry("out", tarfile.DIRTYPE, mode=0o777),
    ],
    "a hard link to the host": [entry("x", tarfile.LNKTYPE, target="/etc/passwd")],
    "a hard link upwards": [entry("x", tarfile.LNKTYPE, target="../../../etc/passwd")],
    "a hard link to a link": [
        entry("x", tarfile.SYMTYPE, target="/etc/passwd"),
        entry("y", tarfile.LNKTYPE, target="x"),
    ],
    "a character device": [entry("null", tarfile.CHRTYPE)],
    "a block device": [entry("disk", tarfile.BLKTYPE)],
    "a pipe": [entry("pipe", tarfile.FIFOTYPE)],
    "a setuid file": [entry("su", data=b"x", mode=0o4755)],
    "a setgid file": [entry("wall", data=b"x", mode=0o2755)],
    "a whiteout": [entry("etc/.wh.passwd")],
    "an opaque whiteout": [entry("etc/.wh..wh..opq")],
}


@pytest.mark.parametrize("entries", EVIL.values(), ids=EVIL)
def test_what_could_lead_out_of_the_tree_is_refused_and_leaves_nothing(store, entries):
    layer = layer_of(store, *entries)
    with pytest.raises(ImagesmithError) as refused:
        unpack(store, layer)
    assert refused.value.findings[0].code == "build.layer"
    assert not list((store.root / "folders" / "layers").iterdir())


def test_a_damaged_blob_is_refused(store):
    layer = layer_of(store, entry("a", data=b"a" * 5000))
    path = store.path(layer.blob.digest)
    path.write_bytes(gzip.compress(b"another tar"))
    with pytest.raises(ImagesmithError):
        unpack(store, layer)


def test_a_truncated_blob_is_refused(store):
    layer = layer_of(store, entry("a", data=b"a" * 5000))
    path = store.path(layer.blob.digest)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImagesmithError):
        unpack(store, layer)


def test_a_tar_that_is_not_the_one_of_the_config_is_refused(store):
    layer = layer_of(store, entry("a", data=b"a"))
    other = replace(layer, diff_id=f"sha256:{hashlib.sha256(b'other').hexdigest()}")
    with pytest.raises(ImagesmithError, match="its tar is"):
        unpack(store, other)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(noise=st.binary(max_size=2048), at=st.integers(0, 1535))
def test_any_bytes_are_unpacked_or_refused(store, noise, at):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(entry("a/b", data=b"b")[0], io.BytesIO(b"b"))
        tar.addfile(entry("c", tarfile.SYMTYPE, target="a")[0])
    damaged = bytearray(plain.getvalue())
    damaged[at : at + len(noise)] = noise
    layer = layer_from(store, bytes(damaged))
    try:
        assert unpack(store, layer).is_dir()
    except ImagesmithError as refused:
        assert refused.findings[0].code == "build.layer"


def test_a_damaged_blob_of_the_store_is_dropped_so_that_it_is_made_again(store):
    layer = layer_of(store, entry("a", data=b"a" * 5000))
    store.path(layer.blob.digest).write_bytes(b"rotten")
    with pytest.raises(ImagesmithError):
        unpack(store, layer)
    assert not store.has(layer.blob.digest)


def test_a_name_that_the_file_system_cannot_hold_is_refused(store):
    layer = layer_of(store, entry("a" * 300, data=b"a"))
    with pytest.raises(ImagesmithError, match="too long") as refused:
        unpack(store, layer)
    assert refused.value.findings[0].code == "build.layer"


def test_a_full_disk_is_the_stores_and_not_the_layers_fault(store, monkeypatch):
    layer = layer_of(store, entry("a", data=b"a"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(ImagesmithError, match="No space left") as refused:
        unpack(store, layer)
    assert refused.value.findings[0].code == "build.store"
