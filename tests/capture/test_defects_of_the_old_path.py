"""What went wrong when Clipper carried a conda environment: each defect is impossible here.

The numbers are those of Clipper's old path, in the order in which its contracts list them. What
belongs to resolving is in tests/resolve, what belongs to the container is named there.
"""

import ast
import json
from pathlib import Path

import pytest

import imagesmith
from imagesmith.capture import agent, bundle
from imagesmith.findings import ExitCode, ImagesmithError

TARGET = "model.py:predict"


def copied(captured):
    return {name.removeprefix("modules/") for name in captured.files} - {"func.pkl"}


def uses(*modules):
    """Write a function that uses modules by name, imported where its file is loaded."""
    return (
        f"import {', '.join(modules)}\n"
        f"def predict(inputs): return [str([{', '.join(modules)}]) for _ in inputs]\n"
    )


def test_1_installed_modules_are_never_copied_as_local_ones(project, venv):
    """The name of an installed package was read as its version, so that none was recognised."""
    venv.install("pure", "1.2.3", ["pure/__init__.py"], INSTALLER="conda\n")
    venv.install("single", "1.2.3", ["single.py"], INSTALLER="pip\n")
    project.write(model=uses("pure", "single"))
    captured = project.capture(TARGET, env=venv.prefix)
    assert captured.modules == ("pure", "single")
    assert copied(captured) == {"model.py"}


def test_2_what_pip_installed_is_known(project, venv, monkeypatch):
    """The list of pip's packages was looked for in the wrong folder, and silently not read."""
    (venv.prefix / "conda-meta").mkdir()
    venv.install("bypip", "1.0", ["bypip.py"], INSTALLER="pip\n")
    project.write(model=uses("bypip"))
    monkeypatch.chdir("/")
    captured = project.capture(TARGET, env=venv.prefix)
    assert [d.name for d in captured.environment.providers("bypip")] == ["bypip"]
    assert copied(captured) == {"model.py"}


@pytest.mark.parametrize(
    ("distribution", "module"),
    [("scikit-learn", "sklearn"), ("PyYAML", "yaml"), ("Pillow", "PIL")],
)
def test_3_a_module_is_found_under_its_own_name_not_its_distributions(
    project, venv, distribution, module
):
    """Names of distributions were compared with those of modules."""
    venv.install(distribution, "1.0", [f"{module}/__init__.py"])
    project.write(model=uses(module))
    captured = project.capture(TARGET, env=venv.prefix)
    assert captured.modules == (module,)
    (provider,) = captured.environment.providers(module)
    assert provider.name == distribution.lower()
    assert copied(captured) == {"model.py"}


def test_4_imports_in_other_branches_and_after_a_c_extension_are_found(project):
    """Only the main body of each statement was read, and no module after a compiled one."""
    project.write(
        {
            "pkg/__init__.py": "from . import a, b\n",
            "pkg/a.py": "",
            "pkg/b.py": "try:\n    pass\nexcept ValueError:\n    import in_except\n"
            "else:\n    import in_else\nfinally:\n    import in_finally\n"
            "if not pass_:\n    pass\nelse:\n    import in_else_of_if\n".replace(
                "pass_", "__doc__"
            ),
            **{f"in_{where}.py": "" for where in ("except", "else", "finally", "else_of_if")},
        },
        model=uses("pkg"),
    )
    (project.folder / "pkg" / "a_fast.abi3.so").write_bytes(b"\x7fELF")
    found = copied(project.capture(TARGET))
    assert {"in_except.py", "in_else.py", "in_finally.py", "in_else_of_if.py"} <= found


def test_5_a_modules_place_is_its_import_name_whatever_its_folder_is_called(
    project_in, tmp_path, load_and_ask
):
    """The package's folder was cut out of the path as text, so that names that recur misled it."""
    project = project_in(tmp_path, "pkg/sub/pkg")
    project.write(
        {
            "pkg/__init__.py": "",
            "pkg/sub/pkg/mod.py": "from ... import sub\ndef use(text): return text * 2\n",
        },
        model="from pkg.sub.pkg.mod import use\n"
        "def predict(inputs): return [use(text) for text in inputs]\n",
    )
    captured = project.capture(TARGET, samples=["a"])
    assert {"pkg/__init__.py", "pkg/sub/pkg/mod.py"} <= copied(captured)
    assert load_and_ask(captured, ["a"]) == ["aa"]


def test_5_two_modules_whose_files_have_one_name_keep_their_places(project):
    """All were copied into one folder by the last part of their paths."""
    project.write(
        {"one/__init__.py": "", "one/rules.py": "X = 1", "two/__init__.py": "", "two/rules.py": ""},
        model="import one.rules, two.rules\n"
        "def predict(inputs): return [str([one.rules, two.rules]) for _ in inputs]\n",
    )
    captured = project.capture(TARGET)
    assert {"one/rules.py", "two/rules.py"} <= copied(captured)


def test_6_a_package_with_a_c_extension_is_supplied_with_all_its_sources(project):
    """One compiled file in it, and the whole package was left out without a word."""
    project.write(
        {"pkg/__init__.py": "", "pkg/plain.py": "", "pkg/data.txt": ""}, model=uses("pkg")
    )
    (project.folder / "pkg" / "fast.so").write_bytes(b"\x7fELF")
    captured = project.capture(TARGET)
    assert copied(captured) == {"model.py", "pkg/__init__.py", "pkg/plain.py", "pkg/data.txt"}
    assert project.heard.codes == ["capture.extension-module"]


def test_7_sources_in_any_encoding_are_read_and_copied_byte_for_byte(project):
    """Sources and pickles went through text files of Python 2."""
    source = "# -*- coding: latin-1 -*-\nNAME = 'Käse'\nimport helper\n".encode("latin-1")
    project.write(helper="", model=uses("odd"))
    (project.folder / "odd.py").write_bytes(source)
    captured = project.capture(TARGET)
    assert (captured.folder / "modules/odd.py").read_bytes() == source
    assert "helper.py" in copied(captured)


def imports_of(path):
    finder = agent.ImportFinder("module", "package")
    finder.visit(ast.parse(path.read_bytes()))
    return {name.partition(".")[0] for name, *_ in finder.found}


def test_7_and_16_nothing_imports_imp_or_conda():
    """The old path stood on a module that Python has dropped, and on conda's own inside."""
    sources = [p for p in Path(imagesmith.__file__).parent.rglob("*.py") if p.is_file()]
    assert len(sources) > 50
    named = {path: imports_of(path) & {"imp", "conda", "conda_env"} for path in sources}
    assert not any(named.values()), named


def test_8_what_a_functions_body_imports_by_statement_by_name_or_by_chance_is_found(project):
    """Only modules that the function referred to by its globals were seen."""
    project.write(
        local="",
        named="",
        computed="",
        model="""
import importlib
def predict(inputs):
    import local
    importlib.import_module('named')
    importlib.import_module('com' + 'puted')
    return inputs
""",
    )
    found = copied(project.capture(TARGET, samples=["a"]))
    assert found == {"model.py", "local.py", "named.py", "computed.py"}


def test_8_the_files_that_a_call_reads_go_along(project):
    """Data files of a function were not thought of."""
    project.write(
        {"words.txt": "good\n"},
        model="from pathlib import Path\ndef predict(inputs):\n"
        "    return [Path(__file__).with_name('words.txt').read_text() for _ in inputs]\n",
    )
    assert "words.txt" in copied(project.capture(TARGET, samples=["a"]))


def test_8_the_environment_variables_that_a_call_reads_are_told(project, monkeypatch):
    """Nor were environment variables: here those are told that are set, and the values kept out."""
    monkeypatch.setenv("MODEL_MODE", "very-private")
    project.write(
        settings="import os\nMODE = os.getenv('MODEL_MODE', 'plain')\n",
        model="import os, settings\n"
        "def predict(inputs):\n"
        "    return [os.environ.get('NOT_SET', settings.MODE[:0]) for _ in inputs]\n",
    )
    captured = project.capture(TARGET, samples=["a"])
    (finding,) = project.heard.findings
    assert (finding.code, finding.subject) == ("capture.environment-variable", "MODEL_MODE")
    kept = [p.read_bytes() for p in captured.folder.rglob("*") if p.is_file()]
    assert not any(b"very-private" in data for data in kept)


def test_8_a_native_library_that_a_module_loads_goes_along(project):
    """Nor were native libraries."""
    project.write(
        native="import ctypes\nfrom pathlib import Path\n"
        "LIBRARY = Path(__file__).with_name('libsmall.so')\n"
        "def use(text):\n    try:\n        ctypes.CDLL(str(LIBRARY))\n"
        "    except OSError:\n        return 'no library, only its head'\n",
        model="from native import use\ndef predict(inputs): return [use(x) for x in inputs]\n",
    )
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00"
    (project.folder / "libsmall.so").write_bytes(head)
    assert "libsmall.so" in copied(project.capture(TARGET, samples=["a"]))


def test_9_what_the_function_does_not_need_is_not_needed(project, venv):
    """Every package of the environment was, and any, however unrelated, could block it all."""
    venv.install("used", "1.0", ["used.py"])
    venv.install("unrelated", "1.0", ["unrelated.py"], ["no-such-thing==0"])
    project.write(model=uses("used"))
    assert project.capture(TARGET, env=venv.prefix).modules == ("used",)


def test_12_a_capture_that_fails_is_an_error_and_leaves_nothing_behind(project):
    """A failed check gave False, and the next step went on with that."""
    project.copy("functions")
    with pytest.raises(ImagesmithError) as failed:
        project.capture("faulty.py:locked")
    assert failed.value.exit_code is ExitCode.CAPTURE
    assert not list(project.store.root.glob("folders/captures/*"))


def test_13_a_conda_environment_needs_no_variable_to_be_set(project, venv, monkeypatch):
    """With CONDA_PREFIX unset the check failed, though conda itself had worked."""
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    (venv.prefix / "conda-meta").mkdir()
    project.write(model="def predict(inputs): return inputs\n")
    assert project.capture(TARGET, env=venv.prefix).environment.kind == "conda"


def test_14_the_script_that_looks_around_lies_beside_what_starts_it(project, monkeypatch, tmp_path):
    """The script that checked the environment was not where it was looked for."""
    assert Path(agent.__file__).parent == Path(bundle.__file__).parent
    monkeypatch.chdir(tmp_path)
    project.write(model="def predict(inputs): return inputs\n")
    assert project.capture(TARGET).target == TARGET


def test_15_a_second_capture_into_the_same_folder_replaces_the_first(project, tmp_path):
    """The environment was appended to the file of the deployment before."""
    project.write(extra="", model="def predict(inputs): import extra; return inputs\n")
    bundle.write(project.capture(TARGET), tmp_path / "bundle")
    project.write(model="def predict(inputs): return inputs\n")
    captured = project.capture(TARGET)
    for _ in range(2):
        bundle.write(captured, tmp_path / "bundle")
        assert bundle.read(tmp_path / "bundle").files == captured.files
        assert json.loads((tmp_path / "bundle/environment.json").read_text())["python"]


def test_17_a_target_that_prints_more_than_a_pipe_holds_does_not_stop_the_capture(project):
    """Its output went into a pipe that nobody read, and the process waited for ever."""
    project.write(
        model="import os, sys\nfor stream in (1, 2):\n    os.write(stream, b'x' * 500_000)\n"
        "def predict(inputs):\n    print('y' * 500_000, file=sys.stderr)\n    return inputs\n"
    )
    assert project.capture(TARGET, samples=["a"]).samples.answers.single == ("a",)
