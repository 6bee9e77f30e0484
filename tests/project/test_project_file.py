"""A project's file: the options of `build` by model, every fault of it told by file, table, key."""

import inspect
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.cli import project as cli_project
from imagesmith.cli import walk
from imagesmith.findings import ImagesmithError
from imagesmith.pipeline import BuildWish, CaptureWish
from imagesmith.project.keys import KEYS
from imagesmith.project.read import _Reading, read
from imagesmith.resolve import Sources, Wish

WHOLE = """
[tool.imagesmith]
input-type = "strings"
base = "3.11"
channel = ["https://one", "https://two"]

[tool.imagesmith.models.iris]
target = "iris.py:predict"
version = "1"
strings = "bytes"
samples = "data/samples.json"
env = "env"
output = "oci:dist"
push = "host:5000/iris:1"
builder = "layers"
template = "Dockerfile.j2"
deps = "all"
allow-missing = ["mkl"]
update = ["numpy==2.0", "scipy"]
index-url = "https://index"
cuda = "12.4"
pip-resolver = "pip-tools"
verify = false
compare = false
rtol = 1

[tool.imagesmith.models.other]
target = "wine.py:predict"
name = "wine"
input-type = "doubles"
"""


@pytest.fixture
def project(tmp_path):
    """Give a function that writes a file and reads the project."""

    def written(text, name="pyproject.toml", **overrides):
        (tmp_path / name).write_text(text)
        return read(tmp_path, overrides)

    return written


@pytest.fixture
def faults(project):
    """Give a function that reads a faulty file and gives each finding's place and message."""

    def found(text, name="pyproject.toml"):
        with pytest.raises(ImagesmithError) as stopped:
            project(text, name)
        assert stopped.value.exit_code == 2
        return {finding.subject: finding for finding in stopped.value.findings}

    return found


def test_each_key_is_the_option_of_its_name(project):
    iris, wine = project(WHOLE)
    assert iris.capture == CaptureWish(
        *("iris.py:predict", "iris", "1", "strings", "bytes", "env", Path("data/samples.json"))
    )
    assert iris.build == BuildWish(
        base="3.11",
        sources=Sources("https://index", ("https://one", "https://two"), "12.4"),
        lock=Wish(True, frozenset({"mkl"}), {"numpy": "2.0", "scipy": None}),
        pip_resolver="pip-tools",
        verify=False,
        rtol=1.0,
        compare=False,
        builder="layers",
        template=Path("Dockerfile.j2"),
    )
    assert (iris.output, iris.push) == ("oci:dist", "host:5000/iris:1")
    assert wine.capture == CaptureWish("wine.py:predict", "wine", input_type="doubles")
    assert wine.build == BuildWish(
        base="3.11", sources=Sources(channels=("https://one", "https://two"))
    )


def test_imagesmith_toml_has_the_same_tables_at_its_top(project):
    own = project(WHOLE.replace("tool.imagesmith]", "x]").replace("[x]", "")
                  .replace("tool.imagesmith.", ""), "imagesmith.toml")  # fmt: skip
    (own_place,) = {model.title for model in own if model.capture.name == "wine"}
    assert own_place == "other"


def test_every_option_of_build_is_a_key():
    shared = {"console", "context", *cli_project._SHARED}
    options = set(inspect.signature(walk.build_command).parameters) - shared
    named = {cli_project._OFF.get(name, name.replace("_", "-")) for name in options}
    assert named == set(KEYS) - {"target"}


def test_all_faults_are_told_at_once_each_with_its_place(faults):
    found = faults(
        """
        [tool.imagesmith]
        inputtype = "doubles"
        version = "1"
        [tool.imagesmith.models.Iris]
        target = "iris.py:predict"
        input_type = "doubles"
        input-type = "double trouble"
        verify = "no"
        [tool.imagesmith.models.wine]
        version = "a_b"
        builder = "podman"
        [tool.imagesmith.models]
        flat = "x.py:f"
        """.replace("[tool.imagesmith.models]\n", "").replace(
            'flat = "x.py:f"', "[tool.imagesmith.models.beer]\ntarget = 1"
        )
    )
    assert set(found) == {
        "pyproject.toml: [tool.imagesmith] inputtype",
        "pyproject.toml: [tool.imagesmith] version",
        "pyproject.toml: [tool.imagesmith.models.Iris] name",
        "pyproject.toml: [tool.imagesmith.models.Iris] input_type",
        "pyproject.toml: [tool.imagesmith.models.Iris] input-type",
        "pyproject.toml: [tool.imagesmith.models.Iris] verify",
        "pyproject.toml: [tool.imagesmith.models.wine] target",
        "pyproject.toml: [tool.imagesmith.models.wine] version",
        "pyproject.toml: [tool.imagesmith.models.wine] builder",
        "pyproject.toml: [tool.imagesmith.models.beer] target",
    }
    unknown = found["pyproject.toml: [tool.imagesmith.models.Iris] input_type"]
    assert unknown.remedy.startswith("did you mean input-type?")


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        ('version = "1"', 'version = "1"', "version"),
        ("", "", "version"),
        ('version = "1"\npush = "h:5000/m:1"', 'version = "2"\npush = "h:5000/m:1"', "push"),
        ('version = "1"\noutput = "archive:a"', 'version = "2"\noutput = "archive:a"', "output"),
    ],
)
def test_two_models_may_not_be_one(faults, first, second, key):
    tables = (
        f'[tool.imagesmith.models.{title}]\nname = "m"\ntarget = "m.py:f"\n{lines}\n'
        for title, lines in (("a", first), ("b", second))
    )
    found = faults("".join(tables))
    assert set(found) == {f"pyproject.toml: [tool.imagesmith.models.b] {key}"}


@pytest.mark.parametrize(
    "text",
    [
        "[project]\n",
        "tool = 1",
        "[tool.imagesmith]\n",
        "[tool.imagesmith]\nmodels = 1",
        "[tool.imagesmith.models]\niris = 1",
        "[tool.imagesmith",
        "[" * 10_000,
    ],
)
def test_what_is_no_project_is_a_usage_error(faults, text):
    assert faults(text)


def test_both_files_at_once_are_refused(project, faults):
    project(WHOLE)
    (found,) = faults('[models.m]\ntarget = "m.py:f"', "imagesmith.toml").values()
    assert "keep one of the two" in found.remedy


def test_a_pyproject_of_other_tools_does_not_disturb(project):
    (model,) = project(
        '[models.m]\ntarget = "m.py:f"',
        "imagesmith.toml",
    )
    assert model.capture == CaptureWish("m.py:f", "m")


def test_what_is_typed_takes_the_place_of_what_is_written(project):
    models = project(WHOLE, base="3.13", verify=True)
    assert [model.build.base for model in models] == ["3.13", "3.13"]
    assert [model.build.verify for model in models] == [True, True]


def test_a_token_in_an_index_is_in_no_repr(project):
    (model, _) = project(WHOLE.replace("https://index", "https://user:secret@index"))
    assert "secret" not in repr(model)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TABLES = st.dictionaries(st.sampled_from([*KEYS, "nme"]) | st.text(), VALUES, max_size=5)


@given(shared=TABLES, models=st.dictionaries(st.text(), TABLES | VALUES, max_size=3))
def test_whatever_a_table_holds_it_is_read_or_every_fault_is_told(shared, models):
    reading = _Reading(Path("imagesmith.toml"), "")
    found = reading.models({**shared, "models": models}, {})
    assert reading.findings or len(found) == len(models) > 0
    assert all(finding.subject.isprintable() for finding in reading.findings)


def test_the_readme_s_example_is_a_project(tmp_path):
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    example = readme.partition("```toml\n")[2].partition("```")[0]
    tomllib.loads(example)
    (tmp_path / "pyproject.toml").write_text(example)
    assert len(read(tmp_path, {})) == 2
