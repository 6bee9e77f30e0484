"""What can be named as a target, and what is said where it cannot be loaded."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.capture import target
from imagesmith.findings import ExitCode, ImagesmithError, exit_code


def code_of(text, project):
    with pytest.raises(ImagesmithError) as failed:
        target.parse(text, project)
    return failed.value.findings[0].code


def test_a_file_is_imported_by_its_stem_from_its_own_folder(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/flowers.py").touch()
    parsed = target.parse("models/flowers.py:Model.predict", tmp_path)
    assert (parsed.root, parsed.module) == (tmp_path / "models", "flowers")
    assert parsed.attribute == "Model.predict"


def test_a_file_in_a_package_is_imported_by_its_dotted_name(tmp_path):
    inner = tmp_path / "src/pkg/sub"
    inner.mkdir(parents=True)
    for file in (inner / "model.py", inner / "__init__.py", inner.parent / "__init__.py"):
        file.touch()
    parsed = target.parse("src/pkg/sub/model.py:predict", tmp_path)
    assert (parsed.root, parsed.module) == (tmp_path / "src", "pkg.sub.model")


def test_a_module_is_looked_for_in_the_project(tmp_path):
    parsed = target.parse("pkg.model:predict", tmp_path)
    assert (parsed.root, parsed.module, parsed.file) == (tmp_path, "pkg.model", None)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    assert code_of("model.py:predict", tmp_path) == "capture.no-file"


@pytest.mark.parametrize(
    "text", ["", "model.py", "model.py:", ":predict", "a b:predict", "m:pre dict", "m:if", "m:a..b"]
)
def test_what_names_no_object_is_a_bad_target(text, tmp_path):
    assert code_of(text, tmp_path) == "capture.bad-target"


def test_a_file_that_python_cannot_import_is_a_bad_target(tmp_path):
    (tmp_path / "model.v2.py").touch()
    assert code_of("model.v2.py:predict", tmp_path) == "capture.bad-target"


@given(st.text())
def test_any_text_is_a_target_or_a_finding(text):
    try:
        parsed = target.parse(text, Path("/nowhere"))
    except ImagesmithError as failed:
        assert failed.exit_code is ExitCode.CAPTURE
    else:
        assert f"{parsed.module}:{parsed.attribute}" == text


@pytest.mark.parametrize("text", ["x" * 300 + ".py:predict", "x/" * 3000 + "m.py:predict"])
def test_a_name_that_is_too_long_for_a_file_is_a_finding(text, tmp_path):
    assert code_of(text, tmp_path) == "capture.no-file"


def test_a_name_that_is_no_text_is_a_bad_target(tmp_path):
    assert code_of("caf\udce9.py:predict", tmp_path) == "capture.bad-target"
    assert code_of("model:predict", Path("/caf\udce9")) == "capture.bad-target"


def test_everything_wrong_with_a_command_is_said_at_once(project, tmp_path):
    found = project.fails(
        "nowhere.py:predict",
        input_type="numbers",
        strings="text",
        name="Not OK",
        version="1.0",
        env=tmp_path,
    )
    assert set(found) == {
        "usage.name",
        "usage.version",
        "usage.input-type",
        "usage.strings",
        "capture.no-file",
        "capture.no-python",
    }
    assert exit_code(found.values()) is ExitCode.USAGE


def test_a_wrong_attribute_gets_a_suggestion(project):
    project.write(model="def predict(inputs): return inputs\n")
    finding = project.fails("model.py:predit")["capture.no-attribute"]
    assert "model has no predit" in finding.message
    assert "predict" in finding.remedy


def test_what_cannot_be_called_is_refused(project):
    project.write(model="predict = 0.5\n")
    assert "a float" in project.fails("model.py:predict")["capture.not-callable"].message


def test_an_exception_while_loading_is_told_with_its_place_and_its_traceback(project):
    project.copy("functions")
    finding = project.fails("broken.py:predict")["capture.target-failed"]
    place = project.folder / "broken.py"
    assert finding.message.endswith(f"OSError: weights.bin is not there ({place}:5)")
    assert "in load" in project.log
    assert "agent.py" not in project.log


def test_a_syntax_error_is_told_with_its_line(project):
    project.write(model="x = 1\ndef predict(inputs:\n    return inputs\n")
    assert "model.py:2" in project.fails("model.py:predict")["capture.target-failed"].message


def test_an_object_that_a_script_pickled_as_its_own_is_told_with_the_mend(project):
    train = "import pickle\nclass Scale: pass\npickle.dump(Scale(), open('m.pkl', 'wb'))\n"
    load = "import pickle\npredict = pickle.load(open('m.pkl', 'rb'))\n"
    project.write(train=train, model=load)
    subprocess.run([sys.executable, "train.py"], cwd=project.folder, check=True)
    finding = project.fails("model.py:predict")["capture.target-failed"]
    assert "Scale" in finding.message
    assert "move the class into a module" in finding.remedy


def test_a_target_that_leaves_while_loading_is_a_finding(project):
    project.write(model="import sys\nsys.exit(0)\n")
    assert "SystemExit" in project.fails("model.py:predict")["capture.target-failed"].message


def test_an_interpreter_that_dies_is_a_finding(project):
    project.write(model="import os, sys\nprint('so long', flush=True)\nos._exit(41)\n")
    assert "status 41" in project.fails("model.py:predict")["capture.died"].message
    assert project.log == "so long\n"


def test_a_target_that_loses_its_own_file_is_a_finding(project):
    project.write(model="import os\nos.remove(__file__)\ndef predict(inputs): return inputs\n")
    assert "model.py" in project.fails("model.py:predict")["capture.unreadable"].message


def test_an_attribute_that_fails_is_a_finding(project):
    project.write(model="class M:\n    predict = property(lambda self: 1 / 0)\nmodel = M()\n")
    finding = project.fails("model.py:model.predict")["capture.target-failed"]
    assert "ZeroDivisionError" in finding.message


@pytest.mark.parametrize("text", ["'\\udc80'", "Odd()"])
def test_an_exception_that_has_no_text_is_a_finding(project, text):
    odd = "class Odd:\n    def __str__(self): raise ValueError\n"
    project.write(model=f"{odd}raise RuntimeError({text})\n")
    assert "RuntimeError" in project.fails("model.py:predict")["capture.target-failed"].message


def test_a_module_that_is_nowhere_is_said_to_be_missing_where_it_was_looked_for(project):
    finding = project.fails("nowhere.model:predict")["capture.no-module"]
    assert f"in {project.folder}, nor in the environment {project.env}" in finding.message


@pytest.mark.parametrize("name", ["json", "numpy"])
def test_a_file_that_would_shadow_another_module_is_refused(project, name):
    project.write(**{name: "def predict(inputs): return inputs\n"})
    assert name in project.fails(f"{name}.py:predict")["capture.shadow"].message


def test_a_file_runs_as_python_would_run_it_but_not_as_main(project):
    project.write(
        beside="X = 'beside'\n",
        model="""
import sys, beside
assert sys.path[0] == __file__.rpartition('/')[0], sys.path
assert sys.argv == [__file__]
if __name__ == '__main__':
    raise SystemExit('trained again')
NAME = __name__
def predict(inputs):
    return [f'{NAME} {beside.X}' for _ in inputs]
""",
    )
    captured = project.capture("model.py:predict", samples=["a"])
    assert captured.samples.answers.single == ("model beside",)


def test_what_the_target_prints_reaches_the_log_and_nothing_else(project):
    project.copy("functions")
    captured = project.capture("talkative.py:predict", samples=["a"])
    assert captured.samples.answers.batch == ("0",)
    assert {"loading the weights", "this model is old"} < set(project.heard.lines)


def test_threads_that_the_target_left_running_do_not_hold_the_capture(project):
    project.write(
        model="""
import threading
threading.Thread(target=threading.Event().wait).start()
def predict(inputs):
    return inputs
"""
    )
    assert project.capture("model.py:predict").target == "model.py:predict"


def test_a_process_that_the_target_leaves_behind_does_not_hold_the_capture(project):
    project.write(
        model="""
import subprocess
CHILD = subprocess.Popen(['sleep', '60']).pid
def predict(inputs):
    return [CHILD for _ in inputs]
"""
    )
    began = time.monotonic()
    children = [project.capture("model.py:predict", samples=["a"]).samples.answers.single[0]]
    assert time.monotonic() - began < 30
    os.kill(int(children[0]), signal.SIGTERM)


@pytest.mark.parametrize("leaves", ["", "\n    sys.exit(3)"])
def test_a_process_that_the_target_forks_leaves_the_capture_to_its_parent(project, leaves):
    project.write(
        model=f"import os, sys\nif os.fork() == 0:\n    pass{leaves}\n"
        "def predict(inputs):\n    os.fork()\n    return [1 for _ in inputs]\n"
    )
    captured = project.capture("model.py:predict", samples=["a"])
    assert captured.samples.answers.single == ("1",)


def test_of_a_target_that_prints_without_end_the_end_is_told(project):
    project.write(
        model="print('word ' * 100_000)\nprint('the end')\ndef predict(inputs): return inputs\n"
    )
    project.capture("model.py:predict")
    assert "the end" in project.heard.lines
    assert sum(map(len, project.heard.lines)) < 200_000


def test_threads_and_closed_streams_together_do_not_hold_the_capture(project):
    project.write(
        model="""
import sys, threading
sys.stdout = None
sys.stderr.close()
threading.Thread(target=threading.Event().wait).start()
def predict(inputs):
    return inputs
"""
    )
    assert project.capture("model.py:predict").target == "model.py:predict"


def test_a_project_may_be_named_by_a_link(project):
    project.copy("functions")
    link = project.folder.with_name("link")
    link.symlink_to(project.folder, target_is_directory=True)
    direct = project.capture("survey.py:predict")
    project.folder = link
    assert project.capture("survey.py:predict").digest == direct.digest


def test_names_may_be_in_any_script(project):
    project.write(größe="def präge(inputs):\n    return [str(x) for x in inputs]\n")
    captured = project.capture("größe.py:präge", samples=["ß"])
    assert captured.samples.answers.single == ("ß",)
    assert "modules/größe.py" in captured.files
