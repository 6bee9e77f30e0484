"""Every byte of an image has an owner, and who that is, its records say."""

import tracemalloc

import pytest
from inspected_images import SITE, by_conda, image_of, installed

from imagesmith.findings import ImagesmithError
from imagesmith.image.layer import plain_size
from imagesmith.image.tar import Kind as MemberKind
from imagesmith.image.tar import Member, file_member, link_member
from imagesmith.inspect.contents import contents, gathered
from imagesmith.inspect.owners import Kind, Owner
from imagesmith.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def owners(store, *members):
    """Give what each owner has in a layer of these members."""
    (one,) = contents(image_of(store, [list(members)]), store)
    return {part.owner: part for part in one.parts}


def test_a_file_belongs_to_the_distribution_whose_record_lists_it(store):
    alpha = installed("Alpha_One", "1.0", {"alpha/__init__.py": bytes(5000)})
    beta = installed("beta", "2.0", {"beta.py": bytes(9000)}, listed=["../../../bin/beta"])
    script = file_member("opt/env/bin/beta", bytes(2000))
    found = owners(store, *alpha, *beta, script)
    assert set(found) == {Owner(Kind.PIP, "alpha-one", "1.0"), Owner(Kind.PIP, "beta", "2.0")}
    assert found[Owner(Kind.PIP, "beta", "2.0")].size > 11000


def test_what_conda_has_installed_is_condas_though_it_has_a_record_of_pythons(store):
    package = by_conda("numpy-base", "2.0", {"lib/python3.11/site-packages/np/__init__.py": b"1"})
    names = [m.path.removeprefix("opt/env/") for m in installed("numpy", "2.0", {})]
    everything = by_conda("numpy-base", "2.0", dict.fromkeys(names, b"x,,\n"))
    found = owners(store, *everything, *package[:1])
    assert Owner(Kind.CONDA, "numpy-base", "2.0") in found
    assert Owner(Kind.PIP, "numpy", "2.0") not in found


def test_the_rest_is_what_the_place_says(store):
    found = owners(
        store,
        file_member("usr/bin/python3.11", b"1"),
        file_member("opt/env/pyvenv.cfg", b"1"),
        file_member("opt/imagesmith/requirements.txt", b"1"),
        file_member("container/imagesmith/runtime/rpc.py", b"1"),
        link_member("model_is_ready.check", "/dev/shm/x"),
        file_member("model/func.pkl", b"1"),
    )
    kinds = {"base", "environment", "lock", "runtime", "model"}
    assert {str(owner) for owner in found} == kinds


def test_byte_code_is_counted_apart_and_goes_with_its_source(store):
    alpha = installed("alpha", "1.0", {"alpha/__init__.py": bytes(100)})
    code = file_member(f"{SITE}/alpha/__pycache__/__init__.cpython-311.pyc", bytes(4000))
    last = file_member("opt/env/x", b"")  # the end of a tar is the last file's
    part = owners(store, *alpha, code, last)[Owner(Kind.PIP, "alpha", "1.0")]
    assert part.byte_code == 512 + 4096 + 512  # with its folder's header
    assert part.files > 0


def test_the_parts_add_up_to_the_layer_and_the_layers_to_the_image(store):
    layers = [[file_member("etc/os-release", b"x")], installed("alpha", "1.0", {"a.py": b"1"})]
    image = image_of(store, layers)
    found = contents(image, store)
    for one in found:
        size = plain_size(store, one.layer, image.blob(one.layer.blob.digest))
        assert one.size == sum(part.size for part in one.parts) == size
    everything = gathered(part for one in found for part in one.parts)
    assert sum(part.size for part in everything) == sum(one.size for one in found)


def test_a_layer_without_files_is_a_layer_all_the_same(store):
    (one,) = contents(image_of(store, [[]]), store)
    assert one.size == 10240
    assert one.holds == "base"


def test_of_many_distributions_the_biggest_are_named(store):
    members = [
        member
        for name, size in (("a", 1), ("b", 40000), ("c", 20000), ("d", 30000), ("e", 10000))
        for member in installed(name, "1.0", {f"{name}.py": bytes(size)})
    ]
    (one,) = contents(image_of(store, [members]), store)
    assert one.holds == "b 1.0, d 1.0, c 1.0 and 2 more"


@pytest.mark.parametrize("record", [b'"', b"\xff\xfe,,\n", b"\0,,"])
def test_a_record_that_is_damaged_hinders_nothing(store, record):
    path = f"{SITE}/alpha-1.0.dist-info/RECORD"
    found = owners(store, file_member(path, record), file_member(f"{SITE}/alpha.py", b"1"))
    assert Owner(Kind.ENVIRONMENT) in found


@pytest.mark.parametrize("record", [b"[", b"[]", b'{"files": 3}', b"[" * 100_000])
def test_a_record_of_condas_that_is_damaged_hinders_nothing(store, record):
    found = owners(store, file_member("opt/env/conda-meta/x.json", record))
    assert set(found) == {Owner(Kind.ENVIRONMENT)}


def test_the_second_time_no_layer_is_read(store):
    image = image_of(store, [installed("alpha", "1.0", {"a.py": b"1"})])
    first = contents(image, store)
    image.blob(image.layers[0].blob.digest).unlink()
    assert contents(image, store) == first


def test_a_damaged_layer_is_told_and_not_remembered(store):
    image = image_of(store, [installed("alpha", "1.0", {"a.py": bytes(10000)})])
    blob = image.blob(image.layers[0].blob.digest)
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-20])
    with pytest.raises(ImagesmithError) as refused:
        contents(image, store)
    assert [finding.code for finding in refused.value.findings] == ["build.damaged"]
    blob.write_bytes(whole)
    assert contents(image, store)


def test_another_tar_than_the_one_that_is_named_is_refused(store):
    image = image_of(store, [[file_member("a", b"1")]])
    other = image_of(store, [[file_member("a", b"2")]])
    name = image.blob(image.layers[0].blob.digest)
    name.write_bytes(image.blob(other.layers[0].blob.digest).read_bytes())
    with pytest.raises(ImagesmithError):
        contents(image, store)


def test_a_big_layer_takes_no_more_memory_than_a_small_one(store):
    class Zeros:
        def __init__(self, size):
            self.left = size

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, size):
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    size = 64 << 20
    image = image_of(
        store, [[Member("model/w", MemberKind.FILE, 0o644, size, lambda: Zeros(size))]]
    )
    tracemalloc.start()
    try:
        (one,) = contents(image, store)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert one.size > size
    assert peak < 16 << 20
