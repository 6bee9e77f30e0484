"""The bundle: what is written is read back, and nothing else is taken for one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from imagesmith.capture import bundle
from imagesmith.findings import ImagesmithError
from imagesmith.store import sha256


@pytest.fixture(scope="module")
def captured(project_in, tmp_path_factory):
    """One capture for all tests here; its folder is the store's, and nobody writes to it."""
    project = project_in(tmp_path_factory.mktemp("captured"))
    project.copy("functions")
    return project.capture("survey.py:predict", samples=["a good day"])


def refused(action, *args):
    with pytest.raises(ImagesmithError) as failed:
        action(*args)
    (finding,) = failed.value.findings
    return finding


def test_a_bundle_is_read_back_as_it_was_written(captured, tmp_path):
    bundle.write(captured, tmp_path / "bundle")
    assert bundle.read(tmp_path / "bundle") == replace(captured, folder=tmp_path / "bundle")


def test_a_bundle_without_samples_is_read_back(project, tmp_path):
    project.copy("functions")
    captured = project.capture("survey.py:predict")
    bundle.write(captured, tmp_path / "bundle")
    assert bundle.read(tmp_path / "bundle").samples is None


def test_a_bundle_holds_plain_files(captured, tmp_path):
    bundle.write(captured, tmp_path / "bundle")
    found = {path.name for path in (tmp_path / "bundle").iterdir()}
    assert found == {"func.pkl", "modules", "environment.json", "capture.json", "samples.json"}


def test_a_bundle_gives_way_to_a_newer_one(captured, tmp_path):
    bundle.write(captured, tmp_path / "bundle")
    bundle.write(replace(captured, version="v2"), tmp_path / "bundle")
    assert bundle.read(tmp_path / "bundle").version == "v2"


def test_a_bundle_never_takes_the_place_of_anything_else(captured, tmp_path):
    (tmp_path / "precious.txt").touch()
    assert refused(bundle.write, captured, tmp_path).code == "publish.occupied"
    assert refused(bundle.write, captured, tmp_path / "precious.txt").code == "publish.occupied"


def test_a_bundle_that_cannot_be_written_is_told(captured, tmp_path):
    (tmp_path / "file").touch()
    assert refused(bundle.write, captured, tmp_path / "file/bundle").code == "publish.unwritable"


@pytest.mark.parametrize("name", ["func.pkl", "modules/surveys/words.txt", "modules/new.py"])
def test_a_bundle_that_was_changed_is_refused(captured, tmp_path, name):
    bundle.write(captured, tmp_path / "bundle")
    (tmp_path / "bundle" / name).write_text("changed")
    finding = refused(bundle.read, tmp_path / "bundle")
    assert finding.code == "capture.damaged"
    assert name in finding.message


@pytest.mark.parametrize(
    "name", ["func.pkl", "modules/surveys/words.txt", "modules/new", "modules"]
)
@pytest.mark.parametrize("target", ["/etc", "/etc/passwd"])
def test_a_bundle_with_a_link_is_refused_and_not_followed(captured, tmp_path, name, target):
    bundle.write(captured, tmp_path / "bundle")
    place = tmp_path / "bundle" / name
    if place.exists():
        place.rename(tmp_path / "away")
    place.symlink_to(target)
    finding = refused(bundle.read, tmp_path / "bundle")
    assert finding.code == "capture.not-a-bundle"
    assert f"{name} is a link" in finding.message


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"format": 99}'])
def test_any_other_folder_is_not_a_bundle(tmp_path, text):
    if text is not None:
        (tmp_path / "capture.json").write_text(text)
    assert refused(bundle.read, tmp_path).code == "capture.not-a-bundle"


def test_a_bundle_with_half_an_environment_is_not_a_bundle(captured, tmp_path):
    bundle.write(captured, tmp_path / "bundle")
    (tmp_path / "bundle" / "environment.json").write_text(json.dumps({"python": "3.11.7"}))
    assert refused(bundle.read, tmp_path / "bundle").code == "capture.not-a-bundle"


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("capture.json", {"name": 5}),
        ("capture.json", {"name": "Not OK"}),
        ("capture.json", {"modules": [1]}),
        ("capture.json", {"modules": None}),
        ("capture.json", {"files": 1}),
        ("capture.json", {"input_type": "numbers"}),
        ("capture.json", {"strings": "text"}),
        ("environment.json", {"python": None}),
        ("environment.json", {"distributions": [{"name": "alpha"}]}),
        ("environment.json", {"more": 1}),
        ("samples.json", {"inputs": None}),
        ("samples.json", {"answers": {"batch": [], "single": []}}),
    ],
)
def test_a_bundle_that_says_what_none_can_say_is_not_a_bundle(captured, tmp_path, file, change):
    bundle.write(captured, tmp_path / "bundle")
    path = tmp_path / "bundle" / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert refused(bundle.read, tmp_path / "bundle").code == "capture.not-a-bundle"


def test_a_name_that_is_too_long_for_a_folder_is_no_bundle():
    assert not bundle.is_bundle(Path("x" * 300))


def test_the_version_left_out_is_the_head_of_the_digest(captured):
    assert captured.version == captured.digest.removeprefix("sha256:")[:12]


def test_the_digest_is_that_of_the_model_and_not_of_its_name_or_place(project, another_project):
    digests = set()
    for place, name in ((project, "one"), (another_project, "two")):
        place.copy("functions")
        digests.add(place.capture("survey.py:predict", name=name, version=name).digest)
    assert len(digests) == 1


@pytest.mark.parametrize("asked", [{"input_type": "bytes"}, {"strings": "bytes"}])
def test_what_the_function_gets_is_part_of_the_digest(project, asked):
    project.copy("functions")
    plain = project.capture("echo.py:predict")
    assert project.capture("echo.py:predict", **asked).digest != plain.digest


def test_a_needed_distributions_version_is_part_of_the_digest(project, venv):
    project.write(model="def predict(inputs):\n    import used\n    return inputs\n")
    venv.install("used", "1.0", ["used.py"])
    venv.install("unused", "1.0", ["unused.py"])
    first = project.capture("model.py:predict", env=venv.prefix)
    (venv.site / "unused-1.0.dist-info").rename(venv.site / "gone")
    venv.install("unused", "2.0", ["unused.py"])
    second = project.capture("model.py:predict", env=venv.prefix)
    (venv.site / "used-1.0.dist-info").rename(venv.site / "gone-too")
    venv.install("used", "2.0", ["used.py"])
    third = project.capture("model.py:predict", env=venv.prefix)
    assert first.digest == second.digest != third.digest


def reseal(folder, data):
    """Put another pickle into a bundle, with a digest that fits."""
    (folder / "func.pkl").write_bytes(data)
    described = json.loads((folder / "capture.json").read_text())
    described["files"]["func.pkl"] = sha256(data)
    (folder / "capture.json").write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\x80\x05\x95", "byte 2"),
        (b"\x80\x04\x8c\x02osR\x8c\x06system\x93.", "byte"),
        (b"\x80\x04N\x8c\x06system\x93.", "makes up"),
        (b"\x80\x02crequests\nget\n.", "requests"),
    ],
)
def test_a_bundle_with_a_pickle_that_is_not_as_captured_is_refused(
    captured, tmp_path, data, reason
):
    bundle.write(captured, tmp_path / "bundle")
    reseal(tmp_path / "bundle", data)
    finding = refused(bundle.read, tmp_path / "bundle")
    assert finding.code == "capture.bad-pickle"
    assert reason in finding.message


def test_a_hostile_pickle_in_a_bundle_does_not_run(captured, tmp_path):
    bundle.write(captured, tmp_path / "bundle")
    reseal(tmp_path / "bundle", b"cos\nmkdir\n(V%s/harm\ntR." % bytes(tmp_path))
    bundle.read(tmp_path / "bundle")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["surveys", "surveys.score", "cloudpickle.more", "os.path"])
def test_a_pickle_may_name_what_its_capture_lists(captured, tmp_path, name):
    bundle.write(captured, tmp_path / "bundle")
    reseal(tmp_path / "bundle", f"c{name}\nf\n.".encode())
    assert bundle.read(tmp_path / "bundle").modules == captured.modules
