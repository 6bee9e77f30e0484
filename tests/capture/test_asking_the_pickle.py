"""The pickle is loaded and called in a process of its own, where nothing else was loaded."""

import pytest

from imagesmith.findings import ExitCode, Severity, exit_code

TARGET = "model.py:predict"


def copied(captured):
    return {name.removeprefix("modules/") for name in captured.files} - {"func.pkl"}


def test_what_training_has_loaded_does_not_hide_what_a_call_imports(project):
    project.write(
        plugin="",
        model="""
import importlib
import orjson, plugin
WEIGHT = len(orjson.dumps([1]))
def predict(inputs):
    for name in inputs:
        importlib.import_module(name)
    return inputs
""",
    )
    assert "orjson" not in project.capture(TARGET, samples=["json"]).modules
    captured = project.capture(TARGET, samples=["orjson", "plugin"])
    assert "orjson" in captured.modules
    assert "plugin.py" in copied(captured)


@pytest.mark.parametrize("how", ["importlib.import_module(name)", "__import__(name)"])
def test_what_the_capture_itself_has_loaded_does_not_hide_it(project, how):
    """numpy is there before the call, since the batch is made of it."""
    project.write(
        model=f"import importlib\ndef predict(inputs): return [{how} and 1 for name in inputs]\n"
    )
    assert "numpy" in project.capture(TARGET, samples=["numpy"]).modules
    assert "numpy" not in project.capture(TARGET, samples=["json"]).modules


def test_what_a_local_module_imports_by_a_computed_name_is_needed(project):
    project.write(
        {"engines/fast.py": ""},
        helper="import importlib\nfor name in ('engines.fast', 'orjson'):\n"
        "    importlib.import_module(name)\ndef use(text): return text\n",
        model="import helper\ndef predict(inputs): return [helper.use(x) for x in inputs]\n",
    )
    captured = project.capture(TARGET)
    assert "orjson" in captured.modules
    assert "engines/fast.py" in copied(captured)


def test_of_what_a_call_loads_the_requirements_of_others_are_not_pinned(project, venv, lean):
    """They may belong to the platform of the capture; what nothing requires is needed, though."""
    for path in next(lean.glob("lib/python*/site-packages")).glob("numpy*"):
        (venv.site / path.name).symlink_to(path)
    for name, requires in (("big", ["small"]), ("small", []), ("plugin", [])):
        venv.install(name, "1.0", [f"{name}.py"], requires)
    (venv.site / "big.py").write_text(
        "import small\nfor name in ['plugin']:\n    __import__(name)\n"
    )
    project.write(
        model="def predict(inputs):\n    import importlib\n"
        "    return [importlib.import_module(name).__name__ for name in inputs]\n"
    )
    captured = project.capture(TARGET, samples=["big"], env=venv.prefix)
    assert captured.modules == ("big", "plugin")


def test_a_function_that_its_loading_has_prepared_elsewhere_is_found_out(project):
    project.write(
        settings="FACTOR = 1\n",
        model="import settings\nsettings.FACTOR = 2\n"
        "def predict(inputs): return [x * settings.FACTOR for x in inputs]\n",
    )
    project.capture(TARGET, samples=["a"])
    (finding,) = project.heard.findings
    assert (finding.code, finding.severity) == ("verify.pickle-differs", Severity.WARNING)
    assert "'aa' by the function, and 'a' by its pickle" in finding.message


def test_a_function_that_fails_without_that_is_an_error(project):
    project.write(
        registry="TABLE = {}\n",
        model="import registry\nregistry.TABLE['a'] = 1\n"
        "def predict(inputs): return [registry.TABLE[x] for x in inputs]\n",
    )
    found = project.fails(TARGET, samples=["a"])
    assert "KeyError: 'a' (sample 1 of 1)" in found["verify.pickle-differs"].message
    assert exit_code(found.values()) is ExitCode.VERIFY
    assert "Traceback" in project.log


def test_a_pickle_that_no_other_process_can_load_is_an_error(project):
    project.write(
        model="""
import sys, types
made = sys.modules['made'] = types.ModuleType('made')
exec('def use(x): return x', made.__dict__)
def predict(inputs):
    return [made.use(x) for x in inputs]
"""
    )
    found = project.fails(TARGET)
    assert "ModuleNotFoundError: No module named 'made'" in found["capture.not-loadable"].message
    assert exit_code(found.values()) is ExitCode.CAPTURE


def test_a_process_that_ends_while_it_is_asked_is_a_finding(project):
    project.write(
        fragile="GOOD = False\n",
        model="import fragile, os\nfragile.GOOD = True\n"
        "def predict(inputs): return inputs if fragile.GOOD else os._exit(7)\n",
    )
    assert "status 7" in project.fails(TARGET, samples=["a"])["capture.died"].message


def test_answers_that_only_look_different_are_the_same(project):
    project.write(
        state="SHIFT = 0.0\n",
        model="import state\nstate.SHIFT = 1e-12\n"
        "def predict(inputs): return [1.5 + state.SHIFT for _ in inputs]\n",
    )
    project.capture(TARGET, samples=["a"])
    assert project.heard.codes == []


def test_what_the_function_prints_is_told_once(project):
    project.write(model="def predict(inputs):\n    print('asked', inputs[0])\n    return inputs\n")
    project.capture(TARGET, samples=["a"])
    assert project.heard.lines.count("asked a") == 2  # alone, and in the batch


def test_an_extension_code_of_this_process_gets_into_no_pickle(project, load_and_ask):
    project.write(
        model="import copyreg, decimal\ncopyreg.add_extension('decimal', 'Decimal', 240)\n"
        "ONE = decimal.Decimal(1)\ndef predict(inputs): return [ONE for _ in inputs]\n"
    )
    assert load_and_ask(project.capture(TARGET, samples=["a"]), ["a"]) == ["1"]


def test_a_pickle_whose_names_cannot_be_read_is_refused(project):
    """Only by running str() would it show which module it names."""
    project.write(
        helper="""
class Name(str):
    def __reduce__(self):
        return str, (str(self),)
class Odd:
    pass
Odd.__module__ = Name('helper')
""",
        model="from helper import Odd\ndef predict(inputs): return [Odd for _ in inputs]\n",
    )
    assert "makes up" in project.fails(TARGET)["capture.bad-pickle"].message


def test_versions_that_objects_record_are_kept(project, tmp_path):
    from imagesmith.capture import bundle

    project.write(
        model="class Estimator:\n    def __getstate__(self):\n"
        "        return {'_sklearn_version': '1.3.2'}\nMODEL = Estimator()\n"
        "def predict(inputs): return [MODEL for _ in inputs]\n"
    )
    captured = project.capture(TARGET)
    assert captured.recorded == {"scikit-learn": "1.3.2"}
    bundle.write(captured, tmp_path / "bundle")
    assert bundle.read(tmp_path / "bundle").recorded == captured.recorded
