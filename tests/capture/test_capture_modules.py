"""Which local modules are copied, and which installed ones are named."""

import os
from pathlib import Path

import pytest


def copied(captured):
    return {name.removeprefix("modules/") for name in captured.files} - {"func.pkl"}


def test_a_local_package_is_copied_whole_with_its_data(project):
    project.copy("functions")
    captured = project.capture("survey.py:predict")
    assert {"survey.py", "surveys/score.py", "surveys/words.txt"} <= copied(captured)


def test_only_what_is_reached_counts_as_needed(project):
    project.copy("functions")
    captured = project.capture("survey.py:predict")
    assert "rich" not in captured.modules


def test_what_the_target_imports_only_to_train_is_not_needed(project):
    project.write(
        training="import rich\nfit = len\n",
        model="import orjson, training\nWEIGHT = training.fit('abc')\n"
        "def predict(inputs):\n    return [WEIGHT for _ in inputs]\n",
    )
    captured = project.capture("model.py:predict")
    assert captured.modules == ("cloudpickle",)
    assert copied(captured) == {"model.py"}


def test_local_modules_are_followed_in_circles(project):
    project.write(
        one="import two\ndef f(x): return two.g(x)\n",
        two="def g(x):\n    import one, three\n    return x\n",
        three="",
        unused="",
        model="import one\ndef predict(inputs): return [one.f(x) for x in inputs]\n",
    )
    captured = project.capture("model.py:predict")
    assert copied(captured) == {"model.py", "one.py", "two.py", "three.py"}


def test_imports_in_every_branch_of_a_local_module_are_needed(project):
    project.write(
        helper="""
import importlib
try:
    import orjson
except ImportError:
    import platformdirs
else:
    import packaging.version
def lazily():
    from rich import print
    return importlib.import_module('installer')
""",
        model="import helper\ndef predict(inputs): return [helper.lazily for _ in inputs]\n",
    )
    needed = set(project.capture("model.py:predict").modules)
    assert {"orjson", "platformdirs", "packaging", "rich", "installer"} <= needed


def test_imports_for_type_checkers_are_not_needed(project):
    project.write(
        helper="""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import numpy
""",
        model="import helper\ndef predict(inputs): return [helper for _ in inputs]\n",
    )
    assert project.capture("model.py:predict").modules == ("cloudpickle",)


def test_imports_inside_the_function_are_needed(project):
    project.write(
        local="",
        model="def predict(inputs):\n    import local, packaging.version\n    return inputs\n",
    )
    captured = project.capture("model.py:predict")
    assert "packaging" in captured.modules
    assert "local.py" in copied(captured)


def test_what_a_call_imports_by_a_computed_name_is_needed(project):
    project.write(
        plugin="",
        model="""
import importlib
def predict(inputs):
    for name in inputs:
        importlib.import_module(name)
    return inputs
""",
    )
    captured = project.capture("model.py:predict", samples=["plugin", "orjson"])
    assert "orjson" in captured.modules
    assert "plugin.py" in copied(captured)


def test_a_relative_import_inside_the_function_brings_its_package(project):
    project.write(
        {
            "pkg/__init__.py": "",
            "pkg/model.py": "def predict(inputs):\n    from .rules import rule\n"
            "    return rule(inputs)\n",
            "pkg/rules.py": "def rule(x):\n    return x\n",
        }
    )
    captured = project.capture("pkg/model.py:predict")
    assert copied(captured) == {"pkg/__init__.py", "pkg/model.py", "pkg/rules.py"}


def test_a_module_of_a_namespace_folder_is_copied_to_its_place(project):
    project.write(
        {"shared/rules.py": "def rule(x):\n    return x\n", "shared/other.py": ""},
        model="from shared.rules import rule\ndef predict(inputs): return rule(inputs)\n",
    )
    assert copied(project.capture("model.py:predict")) == {"model.py", "shared/rules.py"}


def test_caches_hidden_folders_and_links_out_stay_behind(project, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    project.write(
        {"pkg/__init__.py": "X = 1\n"},
        model="import pkg\ndef predict(inputs): return [pkg.X for _ in inputs]\n",
    )
    for folder in (".git", "__pycache__"):
        (project.folder / "pkg" / folder).mkdir()
        (project.folder / "pkg" / folder / "file").touch()
    (project.folder / "pkg" / "link.txt").symlink_to(tmp_path / "secret.txt")
    (project.folder / "pkg" / "system").symlink_to("/etc")
    assert copied(project.capture("model.py:predict")) == {"model.py", "pkg/__init__.py"}
    assert project.heard.codes == ["capture.link-out", "capture.link-out"]


def test_a_compiled_local_module_is_told(project):
    project.write(
        {"pkg/__init__.py": ""},
        model="import pkg\ndef predict(inputs): return [pkg for _ in inputs]\n",
    )
    (project.folder / "pkg" / "fast.so").touch()
    project.capture("model.py:predict")
    assert project.heard.codes == ["capture.extension-module"]


def test_a_file_whose_name_is_no_text_is_told_and_left_out(project):
    project.write(
        {"pkg/__init__.py": "X = 1\n"},
        model="import pkg\ndef predict(inputs): return [pkg.X for _ in inputs]\n",
    )
    Path(os.fsdecode(bytes(project.folder) + b"/pkg/caf\xe9.txt")).touch()
    assert copied(project.capture("model.py:predict")) == {"model.py", "pkg/__init__.py"}
    assert project.heard.codes == ["capture.file-name"]


def test_a_local_module_that_is_too_deep_to_be_read_is_told(project):
    project.write(
        helper="def never(): return " + " + ".join(["1"] * 700) + "\n",
        model="import helper\ndef predict(inputs): return [helper for _ in inputs]\n",
    )
    project.capture("model.py:predict")
    assert project.heard.codes == ["capture.unreadable-module"]


def test_imports_from_above_the_outermost_package_are_passed_over(project):
    project.write(
        helper="def never():\n    from ... import x\n    __import__('')\n    import __main__\n",
        model="import helper\ndef predict(inputs): return [helper for _ in inputs]\n",
    )
    assert copied(project.capture("model.py:predict")) == {"model.py", "helper.py"}
    assert project.heard.codes == []


def test_a_module_that_nobody_brings_is_told(project):
    project.write(model="def predict(inputs):\n    import nobodys\n    return inputs\n")
    project.capture("model.py:predict")
    assert project.heard.codes == ["capture.unknown-module"]
    assert project.heard.findings[0].subject == "nobodys"


def test_a_module_that_may_be_missing_is_not_told(project):
    project.write(
        helper="try:\n    import nobodys\nexcept ImportError:\n    nobodys = None\n",
        model="import helper\ndef predict(inputs): return [helper for _ in inputs]\n",
    )
    project.capture("model.py:predict")
    assert project.heard.codes == []


def test_modules_in_a_namespace_package_are_named_dotted(project, venv):
    venv.install("google-cloud-storage", "2.0", ["google/cloud/storage/__init__.py"])
    venv.install("google-cloud-other", "2.0", ["google/cloud/other/__init__.py"])
    project.write(
        model="def predict(inputs):\n    from google.cloud import storage\n    return inputs\n"
    )
    captured = project.capture("model.py:predict", env=venv.prefix)
    assert captured.modules == ("google.cloud.storage",)


def test_an_editable_distribution_is_local(project, venv):
    project.write({"src/mine/__init__.py": "", "src/mine/rules.py": "def rule(x): return x\n"})
    url = f'{{"url": "file://{project.folder}", "dir_info": {{"editable": true}}}}'
    venv.install("mine", "1.0", ["mine.pth"], direct_url_json=url)
    (venv.site / "mine.pth").write_text(str(project.folder / "src"))
    project.write(model="from mine.rules import rule\ndef predict(inputs): return rule(inputs)\n")
    captured = project.capture("model.py:predict", env=venv.prefix)
    assert {"mine/__init__.py", "mine/rules.py"} <= copied(captured)
    assert "mine" not in captured.modules


@pytest.mark.parametrize("target", ["statistics:mean", "packaging.version:parse"])
def test_an_installed_function_is_pickled_by_its_name(project, target):
    captured = project.capture(target)
    assert copied(captured) == set()
    assert target.partition(":")[0].encode() in (captured.folder / "func.pkl").read_bytes()
