"""Sources become wheels: alone, without a network, checked, the same each time, and only once."""

import json
import subprocess
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
from source_archives import project

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image.bytecode import base_python
from imagesmith.image.unpack import unpacked
from imagesmith.resolve.platform import Target
from imagesmith.wheels.explain import explain
from imagesmith.wheels.source import of_folder

pytestmark = [pytest.mark.apt, pytest.mark.root]

EXTENSION = """
#include <Python.h>
static PyObject *one(PyObject *self, PyObject *args) { return PyLong_FromLong(1); }
static PyMethodDef methods[] = {{"one", one, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "thing", "", -1, methods};
PyMODINIT_FUNC PyInit_thing(void) { return PyModule_Create(&module); }
"""
SETUP = """
from setuptools import Extension, setup
setup(name="thing", version="1.0", ext_modules=[Extension("thing", ["thing.c"])])
"""


def refusal(build, source):
    with pytest.raises(ImagesmithError) as refused:
        build(source)
    (finding,) = refused.value.findings
    assert finding.code == "build.sdist"
    assert refused.value.exit_code is ExitCode.BUILD
    assert finding.remedy
    return finding, refused.value.log


def told(path):
    """Give what the build wrote into its wheel, as JSON."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("told.json"))


def nothing(*_args, **_keywords):
    raise AssertionError("this was to be known")


@pytest.fixture(scope="module")
def answer(base, store, tmp_path_factory):
    """Give a function that asks the base's Python with a wheel on its path."""
    (layer,) = base.layers
    root = unpacked(store, base.blob(layer.blob.digest), layer)
    python = base_python(root, "3.11")

    def ask(wheel, code):
        folder = tmp_path_factory.mktemp("installed")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        env = {**python.env, "PYTHONPATH": str(folder)}
        argv = [*python.argv, "-c", code]
        return subprocess.run(argv, env=env, capture_output=True, check=True, text=True).stdout

    return ask


@pytest.mark.index
def test_an_extension_is_compiled_and_serves_in_the_base(build, shop, sdist, answer):
    wheel = build(sdist(shop, {"setup.py": SETUP, "thing.c": EXTENSION}))
    assert wheel.filename == "thing-1.0-cp311-cp311-linux_x86_64.whl"
    assert (wheel.name, wheel.version) == ("thing", "1.0")
    assert {"setuptools"} <= {requirement.name for requirement in wheel.requirements}
    assert answer(shop.path(wheel.digest), "import thing; print(thing.one())") == "1\n"


@pytest.mark.index
def test_a_real_extension_of_the_index_is_built(build, shop, index_sdist, answer):
    wheel = build(index_sdist(shop, "markupsafe", "3.0.2"))
    code = "from markupsafe._speedups import _escape_inner; print(_escape_inner('<'))"
    assert answer(shop.path(wheel.digest), code) == "&lt;\n"


@pytest.mark.index
def test_real_projects_of_several_backends_are_built(build, shop, index_sdist):
    # setuptools without a pyproject.toml, flit, poetry, hatchling (which builds itself)
    of_backends = {"docopt": "0.6.2", "packaging": "24.2", "rich": "13.9.4", "hatchling": "1.27.0"}
    for name, version in of_backends.items():
        wheel = build(index_sdist(shop, name, version))
        assert wheel.filename.endswith("-none-any.whl")
        assert wheel.version == version


@pytest.mark.index
def test_cython_and_what_it_compiles_are_had(build, shop, sdist, answer):
    files = {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools", "cython<3.1"]\n',
        "setup.py": SETUP.replace("thing.c", "thing.pyx"),
        "thing.pyx": "def one():\n    cdef int n = 1\n    return n\n",
    }
    wheel = build(sdist(shop, files))
    assert answer(shop.path(wheel.digest), "import thing; print(thing.one())") == "1\n"


@pytest.mark.index
def test_two_stores_make_the_same_bytes(build, builder_of, shop, shop_of, sdist, tmp_path):
    files = {"setup.py": SETUP, "thing.c": EXTENSION}
    other = shop_of(tmp_path / "other")
    again = builder_of(other).build(sdist(other, files))
    assert again == build(sdist(shop, files))
    assert other.path(again.digest).read_bytes() == shop.path(again.digest).read_bytes()


def test_a_second_call_starts_nothing(build, builder_of, shop, sdist):
    source = sdist(shop, project())
    idle = builder_of(
        shop,
        runner=SimpleNamespace(start=nothing),
        solver=SimpleNamespace(identity=builder_of(shop).solver.identity, solve=nothing),
    )
    assert build(source) == idle.build(source)


def test_a_build_is_nobody_has_no_network_and_knows_nothing_of_the_host(
    build, shop, sdist, monkeypatch
):
    monkeypatch.setenv("SECRET", "of the host")
    order = """
import json, os, socket

def files():
    facts = {
        "ids": [os.getuid(), os.getgid(), os.getgroups()],
        "networks": [name for _, name in socket.if_nameindex()],
        "env": dict(os.environ),
        "umask": os.umask(0o022),
        "folder": os.getcwd(),
        "age": os.stat("order.py").st_mtime,
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    }
    return {"told.json": json.dumps(facts)}
"""
    facts = told(shop.path(build(sdist(shop, project(order=order))).digest))
    assert facts["ids"] == [1000, 1000, []]
    assert facts["networks"] == ["lo"]
    assert "SECRET" not in facts["env"]
    assert facts["env"]["PYTHONHASHSEED"] == "0"
    assert facts["env"]["SOURCE_DATE_EPOCH"] == "315532800"
    assert facts["age"] == 315532800
    assert facts["umask"] == 0o022
    assert facts["folder"] == "/tmp/build/source"
    assert facts["processes"] == 2


def test_a_build_that_connects_fails_and_is_told_why(build, shop, sdist):
    backend = "import urllib.request; urllib.request.urlopen('https://example.org')"
    finding, log = refusal(build, sdist(shop, project(backend=backend)))
    assert finding.subject == "thing==1.0"
    assert "wants the network" in finding.message
    assert "urlopen" in log


@pytest.mark.index
def test_a_compiler_that_fails_is_quoted(build, shop, sdist):
    broken = EXTENSION.replace("PyLong_FromLong(1)", "no_such_thing")
    finding, log = refusal(build, sdist(shop, {"setup.py": SETUP, "thing.c": broken}))
    assert "thing.c:3:" in finding.message
    assert "undeclared" in finding.message
    assert finding.message.rpartition(": ")[2] in log


@pytest.mark.index
def test_a_missing_header_is_named(build, shop, sdist):
    files = {"setup.py": SETUP, "thing.c": "#include <mysql.h>\n" + EXTENSION}
    finding, _ = refusal(build, sdist(shop, files))
    assert "the C header mysql.h" in finding.message
    assert "has a wheel" in finding.remedy


@pytest.mark.index
def test_what_the_backend_asks_for_is_there_when_it_builds(build, shop, sdist):
    backend = "def get_requires_for_build_wheel(settings=None): return ['toolz==1.0.0']"
    order = "def files():\n    import toolz\n    return {'told.json': f'\"{toolz.__version__}\"'}\n"
    wheel = build(sdist(shop, project(backend=backend, order=order)))
    assert [requirement.name for requirement in wheel.requirements] == ["toolz"]
    assert told(shop.path(wheel.digest)) == "1.0.0"


@pytest.mark.index
def test_a_build_requirement_that_is_source_only_itself_is_a_finding(build, shop, sdist):
    files = project() | {"pyproject.toml": '[build-system]\nrequires = ["docopt"]\n'}
    finding, _ = refusal(build, sdist(shop, files))
    assert "docopt" in finding.message


@pytest.mark.parametrize(
    "requires",
    [
        "-r /etc/passwd",
        "--index-url https://example.org",
        "a @ https://example.org/a.whl",
        "a\\n-e.",
    ],
)
def test_a_build_requirement_cannot_speak_to_the_solver(build, shop, sdist, requires):
    files = project() | {"pyproject.toml": f'[build-system]\nrequires = ["{requires}"]\n'}
    finding, _ = refusal(build, sdist(shop, files))
    assert "require" in finding.message


BROKEN = {
    "no TOML": "[build-system",
    "no table": "build-system = 1",
    "no list": '[build-system]\nrequires = "setuptools"',
    "no backend": '[build-system]\nrequires = []\nbuild-backend = "os; import sys"',
    "a path that climbs": '[build-system]\nrequires = []\nbackend-path = ["../.."]',
}


@pytest.mark.parametrize("pyproject", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_pyproject_is_a_finding(build, shop, sdist, pyproject):
    refusal(build, sdist(shop, project() | {"pyproject.toml": pyproject}))


LIES = {
    "another name": ("name = 'other-1.0'", "of other, not of thing"),
    "another version": ("name = 'thing-2.0'", "version 2.0, not 1.0"),
    "another Python": ("tag = 'cp39-cp39-linux_x86_64'", "does not fit Python 3.11"),
    "another system": ("tag = 'py3-none-win_amd64'", "does not fit Python 3.11"),
    "other metadata": ("metadata = 'Name: thing\\nVersion: 3\\n'", "speaks of thing 3"),
    "a climbing file": ("def files(): return {'../x.py': ''}", "'../x.py'"),
    "a false record": ("import backend; backend._hash = lambda text: 'sha256=x'", "."),
}


@pytest.mark.parametrize(("order", "why"), LIES.values(), ids=LIES.keys())
def test_no_wheel_is_taken_that_has(build, shop, sdist, order, why):
    finding, _ = refusal(build, sdist(shop, project(order=order)))
    assert why in finding.message


def test_a_backend_that_gives_no_wheel_is_a_finding(build, shop, sdist):
    backend = "build_wheel = lambda *_: '../../etc/passwd'"
    finding, _ = refusal(build, sdist(shop, project(backend=backend)))
    assert "passwd" in finding.message


def test_a_hostile_archive_is_a_finding(build, shop, sdist):
    finding, _ = refusal(build, sdist(shop, project() | {"../../escaped": "x"}))
    assert "escaped" in finding.message


def test_a_compiled_wheel_is_not_taken_to_an_older_glibc(builder_of, shop, sdist):
    older = builder_of(shop, target=Target("3.11", "2.31"))
    compiled = sdist(shop, project(order="tag = 'cp311-cp311-linux_x86_64'"))
    assert builder_of(shop).build(compiled)
    finding, _ = refusal(older.build, compiled)
    assert "glibc 2.36" in finding.message
    assert older.build(sdist(shop, project())).filename == "thing-1.0-py3-none-any.whl"


def test_a_python_without_a_toolchain_is_a_finding(builder_of, shop, sdist):
    builder = builder_of(shop, target=Target("3.12", "2.36"))
    finding, _ = refusal(builder.build, sdist(shop, project()))
    assert "3.11" in finding.message


def test_a_folder_becomes_a_wheel_and_its_version_is_what_it_says(build, shop, tmp_path):
    for path, text in project(version="2.5").items():
        (tmp_path / path).write_text(text)
    wheel = build(of_folder(tmp_path, "thing", shop))
    assert (wheel.version, wheel.filename) == ("2.5", "thing-2.5-py3-none-any.whl")


def test_what_it_is_may_be_left_to_the_build_but_is_minded_where_it_is_said(build, shop, sdist):
    source = sdist(shop, project())
    nameless = build(replace(source, name=None, version=None))
    assert (nameless.name, nameless.version) == ("thing", "1.0")
    for other in (replace(source, name="other"), replace(source, version="2.0")):
        refusal(build, other)


def test_a_project_in_a_subfolder_is_found(build, shop, sdist):
    files = {f"python/{path}": text for path, text in project().items()}
    assert build(sdist(shop, files, subdirectory="python")).version == "1.0"


def test_a_backend_that_would_ask_the_repository_is_told_the_version(build, shop, sdist):
    order = """
import os
version = os.environ["SETUPTOOLS_SCM_PRETEND_VERSION"]
name, metadata = f"thing-{version}", f"Name: thing\\nVersion: {version}\\n"
"""
    source = sdist(shop, project(order=order), version=None, scm_version="3.4.dev5+gabc")
    assert build(source).version == "3.4.dev5+gabc"
    assert build(replace(source, scm_version="3.5")).version == "3.5"


@pytest.mark.engine
def test_an_engine_builds_the_same_wheel(builder_of, build, shop, shop_of, sdist, engine, tmp_path):
    from imagesmith.progress import Silent
    from imagesmith.publish.engine import EnginePublisher
    from imagesmith.run.docker import DockerRunner

    other = shop_of(tmp_path / "other")
    runner = DockerRunner(EnginePublisher(other, Silent(), host=engine.host), host=engine.host)
    by_engine = builder_of(other, runner=runner).build(sdist(other, project()))
    assert by_engine == build(sdist(shop, project()))


@pytest.mark.parametrize(
    ("printed", "meaning"),
    [
        ("/usr/bin/ld: cannot find -lpq: No such file", "the C library pq"),
        ("Package libcurl was not found in the pkg-config search path.", "the C library libcurl"),
        ("error: can't find Rust compiler", "written in Rust"),
        ("error: command 'gfortran' failed: No such file or directory", "the program gfortran"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'cmake'", "looks for cmake"),
        ("  | ModuleNotFoundError: No module named 'numpy'\n +---", "needs numpy to be built"),
        ("ValueError: no good\nnote: this comes from elsewhere", "ValueError: no good"),
        ("../meson.build:4:0: ERROR: Problem encountered: no", "Problem encountered"),
        ("", "it printed nothing"),
    ],
)
def test_the_line_that_matters_is_found(printed, meaning):
    assert meaning in explain(printed)


def test_no_container_stays_behind(build, shop, sdist):
    build(sdist(shop, project(version="1.0", order="built = 'lately'")))
    assert list((shop.root / "run").iterdir()) == []
