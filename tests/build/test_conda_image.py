"""An environment of conda packages becomes an image whose Python is conda's."""

import json
import os
import tarfile
from types import SimpleNamespace

import cloudpickle
import pytest
from build_plan import CREATED, TARGET, add_wheel, make_plan, store_with

from fixtures.channel import Content, Package, archive, locked, write_package
from imagesmith.build.layers import LayersBuilder
from imagesmith.capture.bundle import Answers, Samples
from imagesmith.fetch import fetch
from imagesmith.findings import ImagesmithError
from imagesmith.image import plan as plans
from imagesmith.image.compiler import BaseCompiler
from imagesmith.image.plan import CondaLayer, PrefixLayer, WheelsLayer, plan
from imagesmith.pipeline import runtime_folder
from imagesmith.progress import Silent
from imagesmith.render import render
from imagesmith.resolve.lock import Lock
from imagesmith.run.rootfs import RootfsRunner
from imagesmith.run.runner import Network
from imagesmith.store import sha256_file
from imagesmith.verify.verify import verify

pytestmark = pytest.mark.apt  # the base, and conda's python, are made from Debian's packages

NAMES = ("cloudpickle", "numpy", "python", "pyzmq")


@pytest.fixture
def shop(base, tmp_path):
    """Give a store of the test's own that has the base."""
    return store_with(base, tmp_path / "store")


@pytest.fixture
def package(shop, tmp_path):
    """Give a function that writes a package with a module and some ballast into the store."""

    def make(name, weight=0, **more):
        files = {
            f"lib/python3.11/site-packages/{name}.py": Content(b"X = 1\n"),
            f"share/{name}": Content(os.urandom(weight)),
        }
        path = write_package(Package(name, "1.0", **{"files": files, **more}), tmp_path / "channel")
        shop.add_file(path)
        return locked(path)

    return make


def build(store, planned):
    return LayersBuilder(store, Silent()).build(planned)


def names_of(image, comment):
    (layer,) = [layer for layer in image.layers if layer.comment == comment]
    with tarfile.open(image.blob(layer.blob.digest)) as tar:
        return tar.getnames()


def test_heavy_packages_have_layers_of_their_own_python_first_and_wheels_come_last(
    shop, base, package, tmp_path
):
    packages = [
        package("anvil", plans.HEAVY),
        package("feather"),
        package("leaf"),
        package("python", plans.HEAVY),
    ]
    weight = {"wheel": plans.HEAVY, "x": 0}
    wheels = [add_wheel(shop, tmp_path, name, weight=n) for name, n in weight.items()]
    planned = make_plan(shop, base, wheels, tmp_path, packages=packages)
    assert [(type(layer), layer.comment) for layer in planned.layers[:5]] == [
        (CondaLayer, "python 1.0"),
        (CondaLayer, "anvil 1.0"),
        (CondaLayer, "feather 1.0, leaf 1.0"),
        (WheelsLayer, "wheel 1.0"),
        (WheelsLayer, "x 1.0"),
    ]
    assert not any(isinstance(layer, PrefixLayer) for layer in planned.layers)


def test_packages_and_wheels_share_one_budget_of_layers(shop, base, package, tmp_path, monkeypatch):
    monkeypatch.setattr(plans, "HEAVY", 1)
    monkeypatch.setattr(plans, "_LIMIT", len(base.layers) + 8)
    packages = [package(f"p{n}", 1000 * n) for n in range(5)]
    wheels = [add_wheel(shop, tmp_path, f"w{n}", weight=4500 + n) for n in range(5)]
    planned = make_plan(shop, base, wheels, tmp_path, packages=packages)
    assert len(base.layers) + len(planned.layers) == plans._LIMIT
    assert [layer.comment for layer in planned.layers[:-3]] == [
        "p0 1.0, p1 1.0, p2 1.0, p3 1.0, p4 1.0",
        "w2 1.0",
        "w3 1.0",
        "w4 1.0",
        "w0 1.0, w1 1.0",
    ]


def test_a_packages_layer_has_its_byte_code_and_its_record(shop, base, package, tmp_path):
    image = build(shop, make_plan(shop, base, [], tmp_path, packages=[package("leaf")]))
    names = names_of(image, "leaf 1.0")
    assert "opt/env/lib/python3.11/site-packages/__pycache__/leaf.cpython-311.pyc" in names
    assert "opt/env/conda-meta/leaf-1.0-0.json" in names


def test_a_layer_has_no_times_and_no_owners(shop, base, package, tmp_path):
    image = build(shop, make_plan(shop, base, [], tmp_path, packages=[package("leaf")]))
    with tarfile.open(image.blob(image.layers[1].blob.digest)) as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
            assert member.mode == (0o755 if member.isdir() else 0o644)


def test_the_same_packages_give_the_same_image_in_another_store(shop, base, package, tmp_path):
    packages = [package("anvil", plans.HEAVY), package("leaf")]
    first = build(shop, make_plan(shop, base, [], tmp_path, packages=packages))
    other = store_with(base, tmp_path / "other")
    fetch(Lock(TARGET, (), tuple(packages)), other, Silent())
    again = build(other, make_plan(other, base, [], tmp_path, packages=packages))
    assert again.manifest == first.manifest


def test_a_changed_package_changes_its_layer_and_the_lock_alone(shop, base, package, tmp_path):
    packages = [package("anvil", plans.HEAVY), package("leaf")]
    first = build(shop, make_plan(shop, base, [], tmp_path, packages=packages))
    packages[0] = package("anvil", plans.HEAVY)
    second = build(shop, make_plan(shop, base, [], tmp_path, packages=packages))
    pairs = zip(first.layers, second.layers, strict=True)
    assert [one.comment for one, other in pairs if one != other] == ["anvil 1.0", "lock"]


def test_a_package_that_leaves_the_prefix_stops_the_build(shop, base, package, tmp_path):
    evil = package("evil", files={"../x": Content(b"")})
    with pytest.raises(ImagesmithError) as refused:
        build(shop, make_plan(shop, base, [], tmp_path, packages=[evil]))
    assert [finding.code for finding in refused.value.findings] == ["build.package"]
    assert not [path for path in shop.root.rglob("*") if ".partial-" in path.name]
    assert not (shop.root / "index.json").exists()


def test_the_dockerfile_names_the_packages_and_its_tars_are_the_layers(
    shop, base, package, tmp_path
):
    packages = [package("anvil", plans.HEAVY), package("feather"), package("leaf")]
    planned = make_plan(shop, base, [], tmp_path, packages=packages)
    lock = Lock(TARGET, (), tuple(packages))
    render(planned, shop, lock, BaseCompiler(shop, base), tmp_path / "context")
    text = (tmp_path / "context/Dockerfile").read_text()
    assert "# anvil 1.0\n" in text
    assert "# feather 1.0, leaf 1.0\n" in text
    tars = sorted(path.name for path in (tmp_path / "context/layers").iterdir())
    assert tars[1:3] == ["01-anvil.tar", "02-packages.tar"]
    image = build(shop, planned)
    for tar, layer in zip(tars, image.layers, strict=True):
        assert sha256_file(tmp_path / "context/layers" / tar) == layer.diff_id


@pytest.fixture(scope="module")
def real(store, base, tmp_path_factory):
    """Give a plan of real packages, with a wheel on top, whose model sums up with numpy."""
    folder = tmp_path_factory.mktemp("real")

    def predict(inputs):
        import numpy

        return [str(float(numpy.sum(row))) for row in inputs]

    (folder / "func.pkl").write_bytes(cloudpickle.dumps(predict))
    capture = SimpleNamespace(
        name="conda",
        version="1",
        input_type="doubles",
        strings="str",
        python_minor="3.11",
        cloudpickle="3.1.2",
        modules=("numpy", "zmq", "leaf"),
        files={"func.pkl": sha256_file(folder / "func.pkl")},
        folder=folder,
    )
    packages = tuple(locked(archive(name)) for name in NAMES)
    lock = Lock(TARGET, (add_wheel(store, folder, "leaf"),), packages)
    fetch(lock, store, Silent())
    return plan(capture, lock, base, runtime_folder(), store, CREATED)


@pytest.fixture
def container(real, store):
    """Start the image of the real packages, asleep."""
    image = build(store, real)
    runner = RootfsRunner(store)
    container = runner.start(image, env={}, network=Network.NONE, read_only=True)
    yield container
    container.stop(grace=0)


def said(container, code):
    done = container.execute(("/opt/env/bin/python", "-c", code), b"", 60)
    assert done.status == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.index
@pytest.mark.root
def test_its_python_is_condas_and_imports_what_conda_brought(container):
    found = said(
        container,
        "import json, os, sys, numpy, zmq, cloudpickle, leaf, ssl, sqlite3\n"
        "print(json.dumps([sys.prefix, sys.base_prefix, os.path.realpath(sys.executable),"
        " numpy.__file__, leaf.__file__, float(numpy.ones(3) @ numpy.ones(3))]))",
    )
    site = "/opt/env/lib/python3.11/site-packages"
    assert found == [
        "/opt/env",
        "/opt/env",
        "/opt/env/bin/python3.11",
        f"{site}/numpy/__init__.py",
        f"{site}/leaf/__init__.py",
        3.0,
    ]


@pytest.mark.index
@pytest.mark.root
def test_its_libraries_are_condas_too(container):
    mapped = said(
        container, "import json, ssl, sqlite3; print(json.dumps(open('/proc/self/maps').read()))"
    )
    libraries = {line.split()[-1] for line in mapped.splitlines() if "libssl" in line}
    assert libraries == {"/opt/env/lib/libssl.so.3"}


@pytest.mark.index
@pytest.mark.root
def test_nothing_is_compiled_when_it_is_imported(container):
    argv = ("/opt/env/bin/python", "-v", "-c", "import ctypes, numpy, zmq, cloudpickle")
    traced = container.execute(argv, b"", 60).stderr.decode()
    loaded = [line for line in traced.splitlines() if line.startswith("# code object from ")]
    assert loaded
    assert all(line.rstrip("'").endswith(".cpython-311.pyc") for line in loaded)


@pytest.mark.index
@pytest.mark.root
def test_it_serves_and_answers_as_the_function_does(real, store):
    samples = Samples(([1.0, 2.0], [3.0]), Answers(("3.0", "3.0"), ("3.0", "3.0")))
    verdict = verify(build(store, real), samples, RootfsRunner(store), store, again=True)
    assert (verdict.answered, verdict.compared) == (4, 4)
