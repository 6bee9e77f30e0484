"""What cannot be is told at once: a finding with a remedy, its exit status, nothing half done."""

import re
import socket

import pytest

from imagesmith.image import oci
from imagesmith.image.layer import write_layer
from imagesmith.publish.layout import LayoutPublisher
from imagesmith.store import Store

FUNCTIONS = "fixtures/functions"
GOOD = f"{FUNCTIONS}/echo.py:sums"


def told(done, status, code):
    """Check that a command failed as it should: the finding, its remedy, and no traceback."""
    assert done.returncode == status, done.stderr
    assert f"[{code}]" in done.stderr
    assert "    do:  " in done.stderr
    ours = re.sub(r"^--- log$.*?^---$", "", done.stderr, flags=re.DOTALL | re.MULTILINE)
    assert "Traceback" not in ours
    assert done.stdout == ""


@pytest.fixture
def refused(imagesmith, tmp_path):
    """Give a function that checks a refused build and that nothing came of it."""

    def check(status, code, target, *options, name="m", **more):
        place = tmp_path / "layout"
        done = imagesmith(
            "build", target, "--name", name, "--output", f"oci:{place}", *options, **more
        )
        told(done, status, code)
        assert not place.exists()
        assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
        return done

    return check


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("nowhere.py:predict", "capture.no-file", "no file"),
        (f"{FUNCTIONS}/echo.py", "capture.bad-target", "after a colon"),
        (f"{FUNCTIONS}/echo.py:predikt", "capture.no-attribute", "predict"),
        (f"{FUNCTIONS}/by_value.py:constant", "capture.not-callable", "float"),
        (f"{FUNCTIONS}/faulty.py:locked", "capture.unpicklable", "LOCK"),
        (
            f"{FUNCTIONS}/faulty.py:deeply_locked",
            "capture.unpicklable",
            "global SETTINGS -> item 'guard'",
        ),
        (f"{FUNCTIONS}/broken.py:load", "capture.target-failed", "weights.bin is not there"),
        ("no_such_module:predict", "capture.no-module", "no_such_module"),
    ],
)
def test_a_target_that_cannot_be_captured(refused, target, code, words):
    assert words in refused(3, code, target).stderr


@pytest.mark.parametrize("name", ["Iris", "iris_1", "-iris", ""])
def test_a_name_that_clipper_would_refuse(refused, name):
    refused(2, "usage.name", GOOD, name=name)


def test_a_version_that_clipper_would_refuse(refused):
    refused(2, "usage.version", GOOD, "--version", "1.0")


def test_an_unknown_input_type(refused):
    refused(2, "usage.input-type", GOOD, "--input-type", "decimals")


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("doubles", "[[1.0,"),
        ("doubles", '{"input": [1.0]}'),
        ("doubles", "[]"),
        ("doubles", '[["a"]]'),
        ("doubles", "[[1]]"),
        ("doubles", "[[]]"),
        ("integers", "[[1.0]]"),
        ("integers", "[[4294967296]]"),
        ("strings", "[1]"),
        ("bytes", '["not base64"]'),
    ],
)
def test_samples_that_are_not_json_or_not_of_the_type(refused, samples, label, text):
    refused(2, "usage.samples", GOOD, "--input-type", label, "--samples", samples(text))


def test_samples_that_are_not_there(refused, tmp_path):
    refused(2, "usage.samples", GOOD, "--samples", tmp_path / "none.json")


def test_a_bundle_is_not_captured_again(refused, imagesmith, samples, tmp_path):
    bundle = tmp_path / "bundle"
    assert imagesmith("capture", GOOD, "--name", "m", "-o", bundle).returncode == 0
    refused(2, "usage.bundle", bundle, "--samples", samples("[[1.0]]"))


def test_everything_that_is_wrong_is_told_at_once(refused, samples):
    done = refused(
        *(2, "usage.name", "nowhere.py:predict"),
        *("--input-type", "decimals", "--version", "1.0", "--samples", samples("[")),
        name="Iris",
    )
    for code in ("usage.name", "usage.version", "usage.input-type", "capture.no-file"):
        assert f"[{code}]" in done.stderr


def test_a_folder_that_holds_something_else(imagesmith, tmp_path):
    place = tmp_path / "thesis"
    place.mkdir()
    (place / "chapter").write_text("years of work")
    told(
        imagesmith("build", GOOD, "--name", "m", "--output", f"oci:{place}"),
        8,
        "publish.occupied",
    )
    assert [path.name for path in place.iterdir()] == ["chapter"]


@pytest.mark.parametrize("output", ["dist", "docker-daemon:m"])
def test_an_unknown_kind_of_output(imagesmith, output):
    told(imagesmith("build", GOOD, "--name", "m", "--output", output), 2, "usage.output")


def test_a_base_that_is_not_there(refused):
    refused(6, "build.no-base", GOOD, "--base", "sha256:" + "0" * 64)


def test_a_base_of_another_python(refused, tmp_path):
    store = Store(tmp_path / "store")
    labels = {oci.LABEL_BASE: "closure", oci.LABEL_PYTHON: "3.9", oci.LABEL_GLIBC: "2.31"}
    config = oci.ImageConfig(labels=labels)
    layers = (write_layer(store, [], "nothing"),)
    base = oci.assemble(store, "closure-base:3.9", layers, config, "1970-01-01T00:00:00Z")
    LayoutPublisher(tmp_path / "base").publish(base)
    done = refused(3, "capture.python", GOOD, "--base", f"oci:{tmp_path}/base")
    assert "Python 3.9" in done.stderr


def test_a_python_that_debian_has_no_packages_of(imagesmith):
    told(imagesmith("base", "build", "--python", "3.7"), 6, "build.base-python")
    told(imagesmith("base", "build"), 2, "usage.python")
    told(imagesmith("base", "build", "--from", "nobodys:1"), 2, "usage.base")


def test_a_base_without_the_tool_that_makes_it(imagesmith, tmp_path):
    done = imagesmith(
        "base", "build", "--python", "3.11", IMAGESMITH_CACHE=str(tmp_path), PATH="/nowhere"
    )
    told(done, 6, "build.base-tool")


@pytest.mark.apt
def test_no_index_in_reach(refused, base):
    refused(10, "reach.index", GOOD, "--index-url", "http://127.0.0.1:9/simple")


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        ("raises", "verify.sample-raised", "ValueError: a length below zero"),
        ("too_few", "verify.wrong-count", "1 answer"),
        ("a_string", "verify.not-a-list", "string"),
        ("nothing", "verify.not-a-list", "None"),
    ],
)
def test_a_function_that_does_not_answer_its_samples(refused, samples, function, code, words):
    given = samples("[[1.0], [-1.0]]")
    done = refused(7, code, f"{FUNCTIONS}/faulty.py:{function}", "--samples", given)
    (reason,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert words in reason


@pytest.mark.root
@pytest.mark.apt
@pytest.mark.index
def test_a_function_that_needs_a_file_of_this_machine(refused, base, samples, tmp_path):
    """It answers here and crashes in the image: the build stops and shows the container's log."""
    (tmp_path / "weights.txt").write_text("2.0")
    (tmp_path / "model.py").write_text(
        f"def predict(xs):\n"
        f"    weight = float(open({str(tmp_path / 'weights.txt')!r}).read())\n"
        f"    return [x[0] * weight for x in xs]\n"
    )
    target = f"{tmp_path}/model.py:predict"
    done = refused(7, "verify.crashed", target, "--samples", samples("[[1.0]]"))
    (reason,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "FileNotFoundError" in reason
    assert "--- log\n" in done.stderr


@pytest.mark.root
@pytest.mark.apt
@pytest.mark.index
def test_a_function_that_answers_otherwise_in_the_image(build, samples, tmp_path):
    (tmp_path / "model.py").write_text(
        "import os\ndef predict(xs):\n    return [os.getcwd() for _ in xs]\n"
    )
    target, given = f"{tmp_path}/model.py:predict", samples("[[1.0]]")
    done, place = build(target, "--samples", given)
    told(done, 7, "verify.mismatch")
    assert not place.exists()
    taken, _ = build(target, "--samples", given, "--no-compare")
    assert taken.returncode == 0, taken.stderr
    assert "[verify.not-compared]" in taken.stderr


def test_an_image_that_is_nowhere(imagesmith):
    for command in ("verify", "run", "deploy"):
        told(imagesmith(command, "nothing:1"), 2, "usage.image")


def test_no_clipper_in_reach(imagesmith, tmp_path, model_layout):
    done = imagesmith("deploy", model_layout, "--clipper", "http://127.0.0.1:9")
    told(done, 10, "reach.clipper")


def test_a_port_in_use(imagesmith, model_layout):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command in (("run", model_layout), ("clipper", "up")):
            done = imagesmith(
                *(*command, "--query-port", port, "--management-port", 0, "--rpc-port", 0)
            )
            told(done, 9, "register.port-in-use")
            assert str(port) in done.stderr


@pytest.fixture
def model_layout(tmp_path):
    """Give an image with a model's labels that nothing needs to start."""
    store = Store(tmp_path / "store")
    config = oci.ImageConfig(
        labels={oci.LABEL_MODEL: "m", oci.LABEL_VERSION: "1", oci.LABEL_INPUT_TYPE: "doubles"}
    )
    layers = (write_layer(store, [], "nothing"),)
    image = oci.assemble(store, "m:1", layers, config, "1970-01-01T00:00:00Z")
    LayoutPublisher(tmp_path / "model").publish(image)
    return f"oci:{tmp_path}/model"
