"""The pickle: the same for the same function, free of the builder's paths, loadable elsewhere."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from imagesmith.capture import agent

pytestmark = pytest.mark.usefixtures("twice")


def pickle_of(captured):
    return (captured.folder / "func.pkl").read_bytes()


@pytest.mark.parametrize("target", ["model", "model.predict"])
def test_classes_by_value_give_the_same_pickle_in_two_folders(project, another_project, target):
    pickles = set()
    for place in (project, another_project):
        place.copy("functions")
        pickles.add(pickle_of(place.capture(f"by_value.py:{target}")))
    assert len(pickles) == 1


def test_byte_code_beside_the_sources_makes_no_difference(project, another_project):
    for place in (project, another_project):
        place.copy("functions")
    compiling = [sys.executable, "-m", "compileall", "-q", "."]
    subprocess.run(compiling, cwd=project.folder, check=True)
    assert list(project.folder.rglob("__pycache__"))
    digests = {p.capture("by_value.py:model").digest for p in (project, another_project)}
    assert len(digests) == 1


def test_no_path_of_the_builder_is_in_the_pickle(project):
    project.write(
        helper="""
def adder(n):
    def add(x):
        return x + n
    return add
""",
        model="""
import contextlib
from helper import adder

class Model:
    def __call__(self, inputs):
        return [add(len(x)) for x in inputs]

add = adder(1)

@contextlib.contextmanager
def quietly():
    yield

def predict(inputs):
    with quietly():
        return [add(len(x)) for x in inputs] or __file__
""",
    )
    data = pickle_of(project.capture("model.py:predict"))
    for path in (project.folder, Path(os.__file__).parent, Path.home()):
        assert bytes(path) not in data
    assert b"/model/modules/model.py" in data
    assert b"/model/modules/helper.py" in data


def test_a_traceback_in_the_image_finds_the_source(project):
    project.write(
        {"pkg/__init__.py": "", "pkg/model.py": "def predict(inputs):\n    return inputs\n"}
    )
    captured = project.capture("pkg/model.py:predict")
    assert b"/model/modules/pkg/model.py" in pickle_of(captured)
    assert "modules/pkg/model.py" in captured.files


def test_a_path_of_the_project_that_the_function_keeps_is_told(project):
    project.write(
        model="""
from pathlib import Path
DATA = Path(__file__).parent / 'data.txt'
def predict(inputs):
    return [DATA.read_text() for _ in inputs]
"""
    )
    project.capture("model.py:predict")
    assert project.heard.codes == ["capture.local-path"]
    assert project.heard.findings[0].subject == str(project.folder / "data.txt")


def test_the_pickle_loads_without_the_sources_and_answers_the_same(project, load_and_ask):
    project.copy("functions")
    texts = ["a good fine day", "none"]
    captured = project.capture("survey.py:predict", samples=texts)
    assert load_and_ask(captured, texts) == list(captured.samples.answers.batch) == ["2", "0"]


def test_classes_by_value_load_without_the_sources(project, load_and_ask):
    project.copy("functions")
    inputs = [[1.0], [2.0]]
    captured = project.capture("by_value.py:model", "doubles", samples=inputs)
    (captured.folder / "modules" / "by_value.py").unlink()
    assert load_and_ask(captured, inputs) == ["LOW", "HIGH"]


def test_a_fitted_model_is_shipped_as_it_is_and_not_fitted_again(project, load_and_ask):
    project.copy("iris")
    flowers = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]
    captured = project.capture("model.py:predict", "doubles", samples=flowers, env=sys.prefix)
    (captured.folder / "modules" / "model.py").write_text("raise SystemExit('fitted again')")
    assert load_and_ask(captured, flowers) == ["setosa", "virginica"]
    assert captured.modules == ("cloudpickle", "numpy", "sklearn")
    assert project.heard.codes == []


@pytest.mark.parametrize(
    ("target", "way"),
    [
        ("locked", "global LOCK"),
        ("deeply_locked", "global SETTINGS -> item 'guard'"),
        ("enclosed", "variable lock"),
        ("GUARDED.predict", "object -> attribute lock"),
    ],
)
def test_what_cannot_be_pickled_is_named_by_the_way_to_it(project, target, way):
    project.copy("functions")
    finding = project.fails(f"faulty.py:{target}")["capture.unpicklable"]
    why = f"{target} cannot be pickled, because its {way} is a _thread.lock (TypeError: "
    assert finding.message.startswith(why)


def test_the_way_to_what_cannot_be_pickled_is_told_as_far_as_it_is_of_use(project):
    project.write(
        model="""
import threading
class Odd:
    def __repr__(self):
        raise ValueError
LOCKS = {Odd(): threading.Lock()}
DEEP = []
for _ in range(2000):
    DEEP = [DEEP]
def odd(inputs):
    return [LOCKS for _ in inputs]
def deep(inputs):
    return [DEEP for _ in inputs]
"""
    )
    assert "item a model.Odd is" in project.fails("model.py:odd")["capture.unpicklable"].message
    assert len(project.fails("model.py:deep")["capture.unpicklable"].message) < 300


def test_a_target_that_draws_without_a_seed_is_told(project):
    project.copy("functions")
    project.capture("unseeded.py:predict")
    assert project.heard.codes == ["capture.unsteady"]


def test_an_old_cloudpickle_is_refused(project, venv):
    venv.install("cloudpickle", "1.6.0", ["cloudpickle.py"])
    (venv.site / "cloudpickle.py").write_text("__version__ = '1.6.0'\n")
    project.write(model="def predict(inputs): return inputs\n")
    found = project.fails("model.py:predict", env=venv.prefix)
    assert "1.6.0" in found["capture.cloudpickle-old"].message


def named_modules(data):
    return {what for kind, what in agent.PickleReader(data) if kind == "module"}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_audit_reads_the_modules_that_a_pickle_names(protocol):
    import collections
    import fractions

    things = [collections.Counter("ab"), fractions.Fraction(1, 2), collections.OrderedDict]
    data = pickle.dumps(things, protocol)
    assert {"collections", "fractions"} <= named_modules(data)


def test_the_audit_reads_names_that_the_pickle_repeats_by_reference():
    import email.message
    import email.mime.text

    data = cloudpickle.dumps([email.message, email.mime.text, email.message.Message])
    assert {"email.message", "email.mime.text", "cloudpickle.cloudpickle"} == named_modules(data)


def test_a_module_made_on_the_spot_is_pickled_by_value(project, load_and_ask):
    project.write(
        model="""
import types
words = types.ModuleType('words')
words.good = 'good'
def predict(inputs):
    return [words.good for _ in inputs]
"""
    )
    assert load_and_ask(project.capture("model.py:predict"), ["a"]) == ["good"]
