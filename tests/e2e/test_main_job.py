"""The promise of the README: one function, one command, an image that has been seen to answer."""

import json
import subprocess

import pytest

from imagesmith.image import layout
from imagesmith.image.find import find_image
from imagesmith.record.record import find
from imagesmith.store import Store

pytestmark = [pytest.mark.root, pytest.mark.apt, pytest.mark.index]

IRIS = (
    *("fixtures/iris/model.py:predict", "--version", "1", "--input-type", "doubles"),
    *("--samples", "fixtures/iris/samples.json"),
)


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_stdout_is_one_line_the_reference_with_its_digest(build):
    done, place = build(*IRIS, name="iris")
    assert done.returncode == 0, done.stderr
    (image,) = layout.images(place)
    assert done.stdout == f"iris:1@{image.manifest.digest}\n"
    assert "8 answers, 8 as the function's own" in done.stderr


def test_nothing_changed_is_no_work_that_says_so_and_gives_the_same_digest(build):
    first, place = build(*IRIS, name="iris")
    before = times(place)
    second, _ = build(*IRIS, name="iris")
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert "unchanged since its last capture" in second.stderr
    assert "seen before" in second.stderr
    assert times(place) == before


def test_how_it_was_built_is_kept_beside_the_image_and_stays(build, store):
    _, place = build(*IRIS, name="iris")
    (image,) = layout.images(place)
    first = find(store, image.manifest.digest)
    assert (first.builder, first.target, first.compared) == ("layers", IRIS[0], 8)
    assert (first.revision is None) == (first.dirty is None)
    assert first.layers == tuple(layer.comment for layer in image.layers)
    build(*IRIS, name="iris")
    assert find(store, image.manifest.digest) == first


def test_json_gives_one_document(build):
    done, _ = build(*IRIS, "--json", name="iris")
    document = json.loads(done.stdout)
    assert document["exit"] == 0
    assert document["image"] == f"iris:1@{document['digest']}"
    assert document["findings"] == []


def test_the_steps_taken_one_by_one_give_the_same_image(build, imagesmith, tmp_path):
    whole, _ = build(*IRIS, name="iris")
    target, *options = IRIS
    bundle, lock = tmp_path / "bundle", tmp_path / "lock"
    captured = imagesmith("capture", target, "--name", "iris", *options, "-o", bundle)
    assert captured.returncode == 0, captured.stderr
    locked = imagesmith("lock", bundle, "-o", lock)
    assert locked.returncode == 0, locked.stderr
    files = {"pylock.toml", "report.json", "requirements.txt"}
    assert {path.name for path in lock.iterdir()} == files
    built, _ = build(bundle, name="iris", output="stepwise")
    assert built.stdout == whole.stdout


def test_without_a_version_it_is_of_the_captures_digest(build):
    done, place = build("fixtures/functions/echo.py:sums", "--no-verify")
    assert done.returncode == 0, done.stderr
    (image,) = layout.images(place)
    version = image.reference.partition(":")[2]
    assert len(version) == 12
    assert set(version) <= set("0123456789abcdef")


@pytest.mark.skopeo
@pytest.mark.parametrize(("ours", "skopeos"), [("oci", "oci"), ("archive", "oci-archive")])
def test_skopeo_reads_the_image_and_copies_it(imagesmith, base, tmp_path, ours, skopeos):
    place = tmp_path / "out"
    done = imagesmith("build", *IRIS, "--name", "iris", "--output", f"{ours}:{place}")
    assert done.returncode == 0, done.stderr
    copy = ["skopeo", "copy", "-q", f"{skopeos}:{place}", f"oci:{tmp_path}/copied:iris"]
    subprocess.run(copy, check=True)
    (copied,) = layout.images(tmp_path / "copied")
    assert done.stdout.strip().endswith(copied.manifest.digest)
    verified = imagesmith("verify", f"oci:{tmp_path}/copied", "--samples", IRIS[-1])
    assert verified.returncode == 0, verified.stderr


def test_a_changed_model_changes_its_own_layer_and_no_other(build, tmp_path):
    model = tmp_path / "model.py"
    found = []
    for weight in (1, 2):
        model.write_text(f"WEIGHT = {weight}\ndef predict(xs):\n    return [WEIGHT for _ in xs]\n")
        done, place = build(f"{model}:predict", "--no-verify", output=f"out{weight}")
        assert done.returncode == 0, done.stderr
        found.append(find_image(f"oci:{place}", Store(tmp_path / "s")).layers)
    assert [a == b for a, b in zip(*found, strict=True)] == [True] * (len(found[0]) - 1) + [False]


@pytest.mark.parametrize(
    ("function", "label", "inputs", "options"),
    [
        ("echo.py:predict", "strings", '["a", "ä,b", "\\u0000"]', ()),
        ("echo.py:predict", "strings", '["a", "ä,b"]', ("--strings", "bytes")),
        ("echo.py:predict", "bytes", '["AAEC/w==", "AA=="]', ()),
        ("echo.py:predict", "integers", "[[1, -2], [3, 4]]", ()),
        ("echo.py:predict", "floats", "[[1.5], [2.5, 3.5]]", ()),
        ("by_value.py:model", "doubles", "[[1.0], [2.0]]", ()),
        ("by_value.py:model.predict", "doubles", "[[1.0], [2.0]]", ()),
        ("survey.py:predict", "strings", '["a good day", "nothing"]', ()),
        ("talkative.py:predict", "doubles", "[[1.0]]", ()),
    ],
)
def test_every_kind_of_input_and_function_answers_from_its_image(
    build, samples, function, label, inputs, options
):
    done, _ = build(
        f"fixtures/functions/{function}",
        *("--input-type", label, "--samples", samples(inputs), *options),
    )
    assert done.returncode == 0, done.stderr
    count = 2 * len(json.loads(inputs))
    assert f"{count} answers, {count} as the function's own" in done.stderr


def test_a_function_of_a_module_on_the_path(build, samples):
    done, _ = build(
        "survey:predict",
        *("--input-type", "strings", "--samples", samples('["a good day"]')),
        cwd="fixtures/functions",
    )
    assert done.returncode == 0, done.stderr
