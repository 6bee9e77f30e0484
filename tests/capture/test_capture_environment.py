"""The environment: which interpreter, and what is installed for it."""

import os
import sys
from pathlib import Path

import pytest

from imagesmith.capture.environment import Distribution, Environment, interpreter
from imagesmith.findings import ImagesmithError

MODEL = "def predict(inputs):\n    return inputs\n"


def refused(env):
    with pytest.raises(ImagesmithError) as failed:
        interpreter(str(env), {})
    return failed.value.findings[0].code


def fake_python(prefix, script):
    python = prefix / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)


def names(captured):
    return {d.name for d in captured.environment.distributions}


def by_name(captured, name):
    return next(d for d in captured.environment.distributions if d.name == name)


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_the_active_environment_is_the_default(venv, variable):
    assert interpreter("auto", {variable: str(venv.prefix)}) == venv.prefix / "bin" / "python"


def test_without_an_active_environment_the_running_one_is_taken():
    assert interpreter("auto", {}) == Path(sys.executable)


def test_a_folder_without_python_is_refused(tmp_path):
    assert refused(tmp_path) == "capture.no-python"


def test_a_folder_whose_name_is_too_long_is_refused():
    assert refused("x" * 5000) == "capture.no-python"


def test_a_python_that_does_not_run_is_refused(tmp_path):
    fake_python(tmp_path, "exit 1")
    assert refused(tmp_path) == "capture.no-python"


def test_a_python_that_is_too_old_is_refused(tmp_path):
    fake_python(tmp_path, "echo 3.7")
    assert refused(tmp_path) == "capture.python-old"


def test_another_interpreter_without_cloudpickle_captures_with_the_lent_one(project):
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("the system has no Python of its own")
    project.copy("functions")
    captured = project.capture("by_value.py:model", env="/usr")
    assert captured.environment.kind == "system"
    assert captured.cloudpickle
    assert "cloudpickle" not in captured.modules
    assert set(captured.files) == {"func.pkl", "modules/by_value.py"}


def test_the_interpreter_is_described(project, venv):
    project.write(model=MODEL)
    captured = project.capture("model.py:predict", env=venv.prefix)
    environment = captured.environment
    assert environment.python == captured.python == sys.version.split()[0]
    assert captured.python_minor == "{}.{}".format(*sys.version_info)
    assert environment.kind == "venv"
    assert environment.implementation == "cpython"
    assert environment.platform.startswith("linux")


def test_distributions_are_described(project, venv):
    venv.install(
        "Some.Thing",
        "1.2",
        ["some/__init__.py", "some/inner.py", "thing.py", "../../../bin/thing"],
        ["numpy>=1", 'toml; extra == "more"'],
        INSTALLER="pip\n",
        REQUESTED="",
        direct_url_json='{"url": "https://me:secret@host/thing.whl?sig=secret", "dir_info": {}}',
    )
    project.write(model=MODEL)
    found = by_name(project.capture("model.py:predict", env=venv.prefix), "some-thing")
    assert (found.version, found.installer, found.requested) == ("1.2", "pip", True)
    assert found.modules == ("some", "thing")
    assert found.requires == ("numpy>=1", 'toml; extra == "more"')
    assert found.direct_url == "https://host/thing.whl"
    assert not found.editable


def distribution(name, *modules, requires=()):
    return Distribution(name, "1", tuple(requires), modules, None, False, "pip", True, 1)


def environment(*distributions):
    return Environment("3.11.7", "cpython", "linux-x86_64", "2.36", "venv", distributions)


def test_a_module_in_a_namespace_comes_from_the_longest_match():
    storage = distribution("google-cloud-storage", "google.cloud.storage")
    query = distribution("google-cloud-bigquery", "google.cloud.bigquery")
    installed = environment(storage, query)
    assert installed.providers("google.cloud.storage.blob") == (storage,)
    assert installed.providers("google.cloud") == (storage, query)


def test_a_module_that_several_provide_comes_from_all_of_them():
    full = distribution("opencv-python", "cv2")
    headless = distribution("opencv-python-headless", "cv2")
    assert environment(full, headless).providers("cv2.gapi") == (full, headless)


def test_a_name_that_only_begins_alike_is_another_module():
    assert environment(distribution("pyyaml", "yaml")).providers("yamlish") == ()


@pytest.mark.parametrize(
    "line", ["not a requirement!", "beta; os_name ~= 'x'", "beta; what == 'x'"]
)
def test_a_requirement_that_says_nothing_is_passed_over(line):
    alpha = distribution("alpha", requires=[line, "gamma"])
    found = environment(alpha, distribution("beta"), distribution("gamma")).closure(["alpha"], {})
    assert [d.name for d in found] == ["alpha", "gamma"]


def test_of_two_versions_in_one_folder_one_counts_and_both_are_told(project, venv):
    venv.install("twice", "1.0", ["twice.py"])
    venv.install("twice", "2.0", ["twice.py"])
    project.write(model=MODEL)
    captured = project.capture("model.py:predict", env=venv.prefix)
    assert project.heard.codes == ["capture.several-versions"]
    assert "1.0" in project.heard.findings[0].message
    assert "2.0" in project.heard.findings[0].message
    assert len([d for d in captured.environment.distributions if d.name == "twice"]) == 1


def test_a_conda_environment_is_known_by_its_records(project, venv):
    (venv.prefix / "conda-meta").mkdir()
    project.write(model=MODEL)
    captured = project.capture("model.py:predict", env=venv.prefix)
    assert captured.environment.kind == "conda"
    assert project.heard.codes == []


def test_broken_metadata_is_told_and_left_out(project, venv):
    venv.install("broken", "1.0", metadata="Metadata-Version: 2.1\nName: broken\n")
    project.write(model=MODEL)
    captured = project.capture("model.py:predict", env=venv.prefix)
    assert project.heard.codes == ["capture.broken-metadata"]
    assert "broken" not in names(captured)


def test_what_is_there_only_for_imagesmith_is_left_out(project, venv):
    venv.install("imagesmith", "0.1", [], ["tool-only", "shared", "asked", "used", "extra[more]"])
    venv.install("tool-only", "1", [], ["tool-inner"])
    venv.install("tool-inner", "1")
    venv.install("shared", "1")
    venv.install("asked", "1", REQUESTED="")
    venv.install("used", "1", ["used.py"], ["used-inner"])
    venv.install("used-inner", "1")
    venv.install("extra", "1", [], ['extra-more; extra == "more"'])
    venv.install("extra-more", "1")
    venv.install("users", "1", [], ["shared"])
    project.write(model="def predict(inputs):\n    import used\n    return inputs\n")
    captured = project.capture("model.py:predict", env=venv.prefix)
    assert names(captured) == {"shared", "asked", "used", "used-inner", "users"}
