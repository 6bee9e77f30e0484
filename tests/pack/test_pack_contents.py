"""What goes into a pack comes out of it: wheels, those built from source, conda's packages."""

import pickle
import tarfile
from dataclasses import replace

import pytest

from fixtures.channel import Content, Package, locked, write_package
from imagesmith.capture import bundle
from imagesmith.capture.bundle import Answers, Samples
from imagesmith.capture.environment import Environment
from imagesmith.findings import ImagesmithError
from imagesmith.image import layout, oci
from imagesmith.image.layer import write_layer
from imagesmith.image.plan import plan
from imagesmith.image.tar import file_member
from imagesmith.pack.read import unpacked
from imagesmith.pack.write import write
from imagesmith.resolve.lock import Lock, LockedSource, LockedWheel
from imagesmith.resolve.platform import Target
from imagesmith.store import Store, sha256

CREATED = "2001-09-09T01:46:40Z"
TARGET = Target("3.11", "2.36")
LABELS = {oci.LABEL_PYTHON: "3.11", oci.LABEL_GLIBC: "2.36"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def capture(tmp_path):
    folder = tmp_path / "captured"
    (folder / "modules" / "häuser").mkdir(parents=True)
    (folder / "func.pkl").write_bytes(pickle.dumps("no function", 5))
    (folder / "modules" / "häuser" / "a.py").write_text("X = 1\n")
    return bundle.seal(
        folder,
        name="m",
        version="1",
        target="m.py:f",
        input_type="strings",
        strings="str",
        cloudpickle="3.1.2",
        modules=(),
        recorded={},
        environment=Environment("3.11.2", "CPython", "linux-x86_64", "2.36", "venv", ()),
        samples=Samples(("a",), Answers(("b",), ("b",))),
    )


@pytest.fixture
def lock(store, tmp_path):
    files = {"share/x": Content(b"x")}
    archive = write_package(Package("thing", "1.0", files=files), tmp_path / "channel")
    store.add_file(archive)
    digests = [store.add(text) for text in (b"a wheel", b"a wheel that was built")]
    source = LockedSource("https://index.example/b-1.0.tar.gz", sha256(b"source"))
    wheels = (
        LockedWheel(
            *("a", "1.0", "a-1.0-py3-none-any.whl"),
            *("https://index.example/a-1.0-py3-none-any.whl", digests[0]),
        ),
        LockedWheel("b", "1.0", "b-1.0-py3-none-any.whl", "", digests[1], source),
    )
    return Lock(TARGET, wheels, (locked(archive),))


@pytest.fixture
def packed(store, capture, lock, tmp_path):
    """Give a function that packs an image of them, made without an interpreter to compile with."""

    def pack(file="m.pack", labels=LABELS, created=CREATED):
        base = assembled(store, "closure-base:3.11", ["base"], oci.ImageConfig(labels=labels))
        planned = plan(capture, lock, base, runtime(tmp_path), store, created)
        names = ["base", *(layer.comment for layer in planned.layers)]
        image = assembled(store, planned.reference, names, planned.config, created)
        write(tmp_path / file, image, planned, capture, lock, runtime(tmp_path), store)
        return tmp_path / file, image, planned

    return pack


def runtime(folder):
    (folder / "runtime").mkdir(exist_ok=True)
    (folder / "runtime" / "rpc.py").write_text("X = 1\n")
    return folder / "runtime"


def assembled(store, reference, names, config, created="1970-01-01T00:00:00Z"):
    layers = [write_layer(store, [file_member(f"n/{n}", n.encode())], n) for n in names]
    return oci.assemble(store, reference, tuple(layers), config, created)


def test_what_was_packed_comes_out_as_it_went_in(packed, capture, lock, tmp_path):
    file, image, planned = packed()
    other = Store(tmp_path / "other")
    with unpacked(file, other) as found:
        assert replace(found.capture, folder=capture.folder) == capture
        assert found.lock == lock
        assert (found.created, found.digest) == (CREATED, image.manifest.digest)
        assert (found.runtime / "rpc.py").read_text() == "X = 1\n"
        assert (found.capture.folder / "modules" / "häuser" / "a.py").read_text() == "X = 1\n"
        assert replace(found.base, blobs=planned.base.blobs) == planned.base
        assert all(other.has(artifact.digest) for artifact in lock.artifacts)
        again = plan(found.capture, found.lock, found.base, found.runtime, other, found.created)
        assert again.config == planned.config
        assert [layer.comment for layer in again.layers] == [
            layer.comment for layer in planned.layers
        ]
    assert not found.runtime.exists()


def test_only_what_is_built_from_is_taken_and_under_no_name(packed, lock, tmp_path):
    file, _, planned = packed()
    other = Store(tmp_path / "other")
    with unpacked(file, other):
        pass
    kept = {f"sha256:{path.name}" for path in other.root.rglob("*") if path.is_file()}
    of_the_base = {blob.digest for blob in planned.base.descriptors()}
    assert kept == of_the_base | {artifact.digest for artifact in lock.artifacts}
    assert list(layout.images(other.root)) == []


def test_the_same_gives_the_same_bytes_and_takes_the_place_of_an_earlier_pack(packed):
    first, _, _ = packed()
    data = first.read_bytes()
    second, _, _ = packed("again.pack")
    packed("again.pack")
    assert second.read_bytes() == data


def test_it_is_an_oci_layout_and_a_lock_and_a_bundle_as_others_read_them(packed, capture, tmp_path):
    file, image, planned = packed()
    with tarfile.open(file) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path / "out", filter="data")
    assert names[:2] == ["pack.json", "SHA256SUMS"]
    found = [found.pinned for found in layout.images(tmp_path / "out")]
    assert found == [planned.base.pinned, image.pinned]
    assert bundle.read(tmp_path / "out" / "bundle").digest == capture.digest
    assert {"conda-lock.yml", "conda-linux-64.lock", "pylock.toml", "requirements.txt"} <= {*names}
    added = [
        line.split()[1]
        for line in (tmp_path / "out" / "Dockerfile").read_text().splitlines()
        if line.startswith("ADD ")
    ]
    assert added == [f"blobs/sha256/{layer.blob.digest[7:]}" for layer in image.layers]


@pytest.mark.parametrize("labels", [{}, {**LABELS, oci.LABEL_PYTHON: "3.9"}])
def test_a_base_of_another_python_is_refused(packed, labels, tmp_path):
    file, _, _ = packed(labels=labels)
    with pytest.raises(ImagesmithError) as stopped, unpacked(file, Store(tmp_path / "other")):
        pass
    assert [finding.code for finding in stopped.value.findings] == ["build.pack"]


def test_what_the_store_has_lost_is_told_and_no_pack_is_left(packed, store, lock, tmp_path):
    file, _, _ = packed()
    before = file.read_bytes()
    store.path(lock.wheels[0].digest).write_bytes(b"a whale")
    with pytest.raises(ImagesmithError) as stopped:
        packed()
    assert [finding.code for finding in stopped.value.findings] == ["publish.damaged"]
    assert file.read_bytes() == before
    assert [path for path in tmp_path.iterdir() if ".partial-" in path.name] == []
