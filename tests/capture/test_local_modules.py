"""The user's own modules, however they are installed: carried with all that they read."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from imagesmith.findings import ExitCode, Severity, exit_code

TARGET = "model.py:predict"
USE = "def predict(inputs):\n    return [use(text) for text in inputs]\n"
# What the image's Python loads: enough of ELF's head to say so.
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00"
HERE = "cpython-{}{}-x86_64-linux-gnu".format(*sys.version_info)


def copied(captured):
    return {name.removeprefix("modules/") for name in captured.files} - {"func.pkl"}


def answers(project, load_and_ask, env=None):
    """Capture with a sample, and see that it answers the same without the project."""
    captured = project.capture(TARGET, samples=["a"], env=env)
    gone = project.folder.with_name("gone")
    project.folder.rename(gone)
    try:
        assert load_and_ask(captured, ["a"]) == list(captured.samples.answers.single)
    finally:
        gone.rename(project.folder)
    return captured


def test_a_single_file_beside_the_target(project, load_and_ask):
    project.write(helper="def use(text): return text * 2\n", model="from helper import use\n" + USE)
    assert copied(answers(project, load_and_ask)) == {"model.py", "helper.py"}


def test_a_package_with_its_data_and_a_nested_relative_import(project, load_and_ask):
    project.write(
        {
            "pkg/__init__.py": "",
            "pkg/data.json": '{"a": "one"}',
            "pkg/unread.txt": "goes along, too",
            "pkg/other/__init__.py": "",
            "pkg/other/words.py": "import json\nfrom pathlib import Path\n"
            "FILE = Path(__file__).parent.parent / 'data.json'\n"
            "def word(text): return json.loads(FILE.read_text())[text]\n",
            "pkg/sub/__init__.py": "",
            "pkg/sub/mod.py": "from ..other import words\ndef use(text): return words.word(text)\n",
        },
        model="from pkg.sub.mod import use\n" + USE,
    )
    captured = answers(project, load_and_ask)
    assert captured.samples.answers.single == ("one",)
    assert {"pkg/data.json", "pkg/unread.txt", "pkg/other/words.py"} <= copied(captured)
    assert project.heard.codes == []


READERS = {
    "by __file__": "from pathlib import Path\n"
    "def use(text): return (Path(__file__).parent / 'data.txt').read_text()\n",
    "by os.path": "import os\nHERE = os.path.dirname(os.path.abspath(__file__))\n"
    "def use(text): return open(os.path.join(HERE, 'data.txt')).read()\n",
    "by pkgutil": "import pkgutil\n"
    "def use(text): return pkgutil.get_data('pkg', 'data.txt').decode()\n",
    "by importlib.resources": "from importlib import resources\n"
    "def use(text): return resources.files('pkg').joinpath('data.txt').read_text()\n",
    "at import": "from pathlib import Path\nFILE = Path(__file__).with_name('data.txt')\n"
    "TEXT = FILE.read_text()\ndef use(text): return TEXT\n",
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
@pytest.mark.parametrize("package", ["pkg/__init__.py", None])
def test_a_data_file_is_read_in_every_way(project, load_and_ask, reader, package):
    """From a package with an __init__, and from a mere folder (PEP 420)."""
    if reader == READERS["by pkgutil"] and not package:
        return  # it finds none in a mere folder, here or anywhere
    project.write(
        {"pkg/rules.py": reader, "pkg/data.txt": "good", **({package: ""} if package else {})},
        model="from pkg.rules import use\n" + USE,
    )
    captured = answers(project, load_and_ask)
    assert captured.samples.answers.single == ("good",)
    assert "pkg/data.txt" in copied(captured)


@pytest.mark.parametrize(
    "reader",
    [
        "from pathlib import Path\ndef use(text):\n"
        "    return (Path(__file__).parent / 'data' / 'a.txt').read_text()\n",
        "from pathlib import Path\nDATA = Path(__file__).parent / 'data' / 'a.txt'\n"
        "def use(text): return DATA.read_text()\n",
        "from pathlib import Path\nHERE = Path(__file__).resolve().parent\n"
        "def use(text): return (HERE / 'data/a.txt').read_text()\n",
    ],
)
@pytest.mark.parametrize("module", ["helper", "model"])
def test_a_file_that_a_call_reads_beside_its_module_goes_along(project, module, reader):
    """The module is copied, or pickled by value, with its path in the image."""
    project.write({"data/a.txt": "good", "data/unread.txt": ""})
    sources = {"model": "from helper import use\n", module: reader}
    sources["model"] += USE
    project.write(**sources)
    captured = project.capture(TARGET, samples=["a"])
    assert captured.samples.answers.single == ("good",)
    assert copied(captured) == {"data/a.txt", "model.py", f"{module}.py"}
    assert project.heard.codes == []
    pickled = (captured.folder / "func.pkl").read_bytes()
    assert os.fsencode(project.folder) not in pickled


def test_a_file_that_only_training_reads_stays_behind(project):
    project.write({"train.csv": "1,2,3\n"})
    project.write(
        model="from pathlib import Path\n"
        "SIZE = len(Path(__file__).with_name('train.csv').read_text())\n"
        "def predict(inputs): return [SIZE for _ in inputs]\n"
    )
    assert copied(project.capture(TARGET, samples=["a"])) == {"model.py"}
    assert project.heard.codes == []


@pytest.mark.parametrize(
    ("path", "place"),
    [("'data.txt'", "data.txt"), ("Path(__file__).parent.parent / 'x.txt'", "../x.txt")],
    ids=["from the working folder", "above the modules"],
)
def test_a_file_that_the_image_cannot_have_is_told(project, path, place):
    project.write({"data.txt": "a", "x.txt": "a", "lib/model.py": ""})
    project.write(
        {
            "lib/model.py": "from pathlib import Path\n"
            f"def predict(inputs):\n    return [open({path}).read() for _ in inputs]\n"
        }
    )
    captured = project.capture("lib/model.py:predict", samples=["a"])
    assert project.heard.codes == ["capture.local-path"]
    told = project.heard.findings[0].subject
    assert told == os.path.normpath(project.folder / "lib" / place) or told.endswith(place)
    assert copied(captured) == {"model.py"}


def test_a_hidden_file_that_is_read_is_told_and_stays_behind(project):
    project.write({".env": "TOKEN=secret"})
    project.write(
        model="from pathlib import Path\ndef predict(inputs):\n"
        "    return [len(Path(__file__).with_name('.env').read_text()) for _ in inputs]\n"
    )
    assert copied(project.capture(TARGET, samples=["a"])) == {"model.py"}
    assert project.heard.codes == ["capture.local-path"]


def test_namespace_folders_in_folders_are_followed_though_nothing_loaded_them(project):
    project.write(
        {"shared/deep/rules.py": "from . import more\n", "shared/deep/more.py": ""},
        model="def predict(inputs):\n    if not inputs:\n        import shared.deep.rules\n"
        "    return inputs\n",
    )
    assert copied(project.capture(TARGET)) == {
        *("model.py", "shared/deep/rules.py", "shared/deep/more.py")
    }
    assert project.heard.codes == []


def test_a_star_import_brings_the_modules_that_it_exports(project):
    project.write(
        {
            "pkg/__init__.py": "__all__ = ['one']\n",
            "pkg/one.py": "import helper\n",
            "pkg/two.py": "import unused\n",
        },
        helper="",
        unused="",
        rules="def use(text):\n    return text\ndef never():\n    pass\nfrom pkg import *\n",
        model="from rules import use\n" + USE,
    )
    found = copied(project.capture(TARGET))
    assert "helper.py" in found
    assert "unused.py" not in found


# --- However it is installed


@pytest.fixture
def setuptools_editable(project, venv):
    """Give a function that installs the project as `pip install -e` does, with real setuptools."""

    def install(mode, **files):
        project.write(files)
        made = project.folder.with_name("wheel")
        made.mkdir()
        build = (
            "import sys; from setuptools import build_meta as b;"
            "print(b.build_editable(sys.argv[1], {'editable_mode': sys.argv[2]}))"
        )
        subprocess.run(
            [sys.executable, "-c", build, made, mode],
            cwd=project.folder,
            check=True,
            capture_output=True,
        )
        with zipfile.ZipFile(next(made.glob("*.whl"))) as wheel:
            wheel.extractall(venv.site)
        info = next(venv.site.glob("*.dist-info"))
        url = {"url": project.folder.as_uri(), "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(url))
        return venv.prefix

    return install


@pytest.mark.parametrize("mode", ["lenient", "strict"])
def test_an_editable_package_of_setuptools(project, load_and_ask, setuptools_editable, mode):
    """PEP 660 by a finder that maps names, or by a folder of links."""
    pyproject = "[project]\nname='mine'\nversion='1'\n[tool.setuptools]\npackages=['mine']\n"
    env = setuptools_editable(
        mode,
        **{
            "pyproject.toml": pyproject + "package-dir={mine='code'}\npy-modules=['single']\n"
            "[tool.setuptools.package-data]\nmine=['*.txt']\n",
            "code/__init__.py": "",
            "code/rules.py": "import single\ndef use(text): return single.twice(text)\n",
            "code/data.txt": "",
            "single.py": "def twice(text): return text * 2\n",
            "model.py": "",
        },
    )
    target = project.folder.with_name("elsewhere")
    target.mkdir()
    (target / "model.py").write_text("from mine.rules import use\n" + USE)
    captured = project.capture(f"{target}/model.py:predict", env=env)
    needed = {"model.py", "mine/__init__.py", "mine/rules.py", "mine/data.txt", "single.py"}
    assert needed <= copied(captured)
    assert "mine" not in captured.modules
    assert project.heard.codes == []


def test_a_source_folder_named_by_a_pth_file(project, venv):
    src = project.folder.with_name("src")
    (src / "mine").mkdir(parents=True)
    (src / "mine/__init__.py").write_text("")
    (src / "mine/rules.py").write_text("import single\ndef use(text): return text\n")
    (src / "single.py").write_text("")
    (venv.site / "paths.pth").write_text(str(src))
    project.write(model="from mine.rules import use\n" + USE)
    found = copied(project.capture(TARGET, env=venv.prefix))
    assert found == {"model.py", "mine/__init__.py", "mine/rules.py", "single.py"}


def test_a_develop_installation_with_an_egg_link(project, venv):
    src = project.folder.with_name("src")
    (src / "mine.egg-info").mkdir(parents=True)
    (src / "mine.egg-info/PKG-INFO").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (src / "mine.egg-info/top_level.txt").write_text("mine\n")
    (src / "mine.py").write_text("def use(text): return text\n")
    (venv.site / "mine.egg-link").write_text(f"{src}\n.")
    (venv.site / "easy-install.pth").write_text(str(src))
    project.write(model="from mine import use\n" + USE)
    captured = project.capture(TARGET, env=venv.prefix)
    assert copied(captured) == {"model.py", "mine.py"}
    assert "mine" not in captured.modules


def test_modules_in_a_folder_that_the_target_puts_on_the_path(project, load_and_ask):
    project.write(
        {"lib/helper.py": "import more\ndef use(text): return more.twice(text)\n"},
        model="import os, sys\nsys.path.insert(0, os.path.dirname(__file__) + '/lib')\n"
        "from helper import use\n" + USE,
    )
    project.write({"lib/more.py": "def twice(text): return text * 2\n"})
    assert copied(answers(project, load_and_ask)) == {"model.py", "helper.py", "more.py"}


def test_modules_in_a_zip_file(project, load_and_ask):
    with zipfile.ZipFile(project.folder / "lib.zip", "w") as archive:
        archive.writestr(
            "single.py", "from pkg.sub import rules\ndef use(t): return rules.use(t)\n"
        )
        archive.writestr("pkg/__init__.py", "")
        archive.writestr("pkg/sub/__init__.py", "")
        archive.writestr(
            "pkg/sub/rules.py",
            "import pkgutil\nfrom ..more import twice\n"
            "def use(t): return twice(pkgutil.get_data('pkg', 'data.txt').decode())\n",
        )
        archive.writestr("pkg/more.py", "def twice(text): return text * 2\n")
        archive.writestr("pkg/data.txt", "ab")
        archive.writestr("pkg/.hidden", "")
    project.write(
        model="import os, sys\nsys.path.insert(0, os.path.dirname(__file__) + '/lib.zip')\n"
        "from single import use\n" + USE
    )
    captured = answers(project, load_and_ask)
    assert captured.samples.answers.single == ("abab",)
    assert copied(captured) == {
        *("model.py", "single.py", "pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/rules.py"),
        *("pkg/more.py", "pkg/data.txt"),
    }
    assert project.heard.codes == []


def test_what_lies_among_the_installed_modules_and_nobody_brings_is_carried_and_told(project, venv):
    venv.install("used", "1.0", ["used.py"])
    (venv.site / "byhand").mkdir()
    (venv.site / "byhand/__init__.py").write_text("from . import more\nimport used\n")
    (venv.site / "byhand/more.py").write_text("")
    project.write(model="import byhand\ndef predict(inputs): return [byhand for _ in inputs]\n")
    captured = project.capture(TARGET, env=venv.prefix)
    assert {"byhand/__init__.py", "byhand/more.py"} <= copied(captured)
    assert "used" in captured.modules
    assert project.heard.codes == ["capture.unclaimed-module"]


def test_a_local_module_that_stands_before_the_standard_librarys_is_carried(project, load_and_ask):
    project.write(
        {"this.py": "def use(text): return text * 2\n"}, model="from this import use\n" + USE
    )
    assert "this.py" in copied(answers(project, load_and_ask))


def test_what_the_interpreter_loads_when_it_starts_is_not_carried(project, monkeypatch):
    extra = project.folder.with_name("extra")
    extra.mkdir()
    (extra / "sitecustomize.py").write_text("import helper\n")
    (extra / "helper.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(extra))
    project.write(model="def predict(inputs): return inputs\n")
    assert copied(project.capture(TARGET, samples=["a"])) == {"model.py"}


def test_what_a_script_does_as_main_is_not_needed(project):
    project.write(
        model="if __name__ == '__main__':\n    import nobodys\ndef predict(inputs): return inputs\n"
    )
    captured = project.capture(TARGET)
    assert copied(captured) == {"model.py"}
    assert project.heard.codes == []


def test_local_imports_in_a_circle_through_a_package_end(project):
    project.write(
        {
            "pkg/__init__.py": "from . import a\n",
            "pkg/a.py": "from . import b\n",
            "pkg/b.py": "def f():\n    import pkg\n    from .a import g\n    import outer\n",
        },
        outer="import pkg.b\n",
        model="import pkg\ndef predict(inputs): return [pkg for _ in inputs]\n",
    )
    assert "outer.py" in copied(project.capture(TARGET))


def test_two_files_that_would_land_on_one_name_are_an_error_that_names_both(project):
    reader = "from pathlib import Path\nC = Path(__file__).with_name('config.txt').read_text()\n"
    project.write(
        {"config.txt": "1", "lib/config.txt": "2", "lib/helper.py": reader},
        model="import os, sys\nsys.path.insert(0, os.path.dirname(__file__) + '/lib')\n"
        "import beside, helper\n"
        "def predict(inputs): return [beside.C + helper.C for _ in inputs]\n",
        beside=reader,
    )
    finding = project.fails(TARGET)["capture.two-files"]
    assert finding.subject == "config.txt"
    assert str(project.folder / "config.txt") in finding.message
    assert str(project.folder / "lib" / "config.txt") in finding.message


def test_a_finder_that_fails_is_told(project):
    project.write(
        model="""
import sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name == 'strange':
            raise RuntimeError('no way')
sys.meta_path.append(Finder)
def predict(inputs):
    if not inputs:
        import strange
    return inputs
"""
    )
    project.capture(TARGET)
    assert project.heard.codes == ["capture.finder-failed"]
    assert "no way" in project.heard.findings[0].message


def test_a_package_that_raises_is_carried_all_the_same(project):
    project.write(
        {"pkg/__init__.py": "raise ImportError('not here')\n", "pkg/mod.py": "import helper\n"},
        helper="",
        model="def predict(inputs):\n    try:\n        import pkg.mod\n    except ImportError:\n"
        "        pass\n    return inputs\n",
    )
    assert {"pkg/__init__.py", "helper.py"} <= copied(project.capture(TARGET, samples=["a"]))


# --- Extension modules


@pytest.fixture
def with_extension(project):
    """Give a function that captures a package with a compiled file of this name and content."""

    def capture(file, content=ELF, imports="", **options):
        project.write(
            {"pkg/__init__.py": imports, "pkg/plain.py": ""},
            model="import pkg\ndef predict(inputs): return [pkg.__name__ for _ in inputs]\n",
        )
        (project.folder / "pkg" / file).write_bytes(content)
        return project.capture(TARGET, **options)

    return capture


@pytest.mark.parametrize("file", [f"fast.{HERE}.so", "fast.abi3.so", "fast.so", "libfast.so"])
def test_an_extension_module_for_the_image_is_carried_with_a_warning(project, with_extension, file):
    assert f"pkg/{file}" in copied(with_extension(file))
    assert project.heard.codes == ["capture.extension-module"]
    assert project.heard.findings[0].severity is Severity.WARNING


FOREIGN = [
    ("fast.cpython-311-darwin.so", b"\xcf\xfa\xed\xfe" + bytes(16)),
    ("fast.cp311-win_amd64.pyd", b"MZ" + bytes(18)),
    ("fast.pyd", b"MZ" + bytes(18)),
    ("fast.cpython-37m-x86_64-linux-gnu.so", ELF),
    (f"fast.{HERE.replace('x86_64', 'aarch64')}.so", ELF[:18] + b"\xb7\x00"),
    (f"fast.{HERE}.so", ELF[:18] + b"\xb7\x00"),
    (f"fast.{HERE}.so", b""),
]


@pytest.mark.parametrize(("file", "content"), FOREIGN)
def test_one_for_another_platform_or_python_stays_behind(project, with_extension, file, content):
    captured = with_extension(file, content)
    assert copied(captured) == {"model.py", "pkg/__init__.py", "pkg/plain.py"}
    assert project.heard.codes == ["capture.extension-module"]


@pytest.mark.parametrize(("file", "content"), FOREIGN)
def test_one_that_is_imported_is_an_error(project, with_extension, file, content):
    """With exit status 5: something needed is missing for linux-64."""
    project.write({"pkg/lazy.py": "from . import fast\n"})
    imports = "def f():\n    from .fast import f\n"
    with pytest.raises(Exception, match="the function imports it") as failed:
        with_extension(file, content, imports)
    (finding,) = failed.value.findings
    assert finding.code == "missing.extension-module"
    assert finding.subject == str(project.folder / "pkg" / file)
    assert exit_code(failed.value.findings) is ExitCode.MISSING


@pytest.mark.parametrize(("file", "content"), FOREIGN)
def test_one_that_may_be_missing_is_none(project, with_extension, file, content):
    with_extension(file, content, "try:\n    from . import fast\nexcept ImportError:\n    pass\n")
    assert project.heard.codes == ["capture.extension-module"]


def test_a_compiled_module_is_carried_and_answers(project, load_and_ask):
    project.write(
        {
            "pkg/__init__.py": "",
            "pkg/fast.c": "#include <Python.h>\n"
            'static struct PyModuleDef d = {PyModuleDef_HEAD_INIT, "fast", 0, -1, 0};\n'
            "PyMODINIT_FUNC PyInit_fast(void) {\n"
            "    PyObject *m = PyModule_Create(&d);\n"
            '    PyModule_AddIntConstant(m, "X", 42);\n    return m;\n}\n',
        },
        model="from pkg import fast\ndef predict(inputs): return [fast.X for _ in inputs]\n",
    )
    import sysconfig

    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        pytest.skip("Python's headers are not there")
    source = project.folder / "pkg/fast.c"
    built = project.folder / f"pkg/fast.{HERE}.so"
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{headers}", source, "-o", built], check=True)
    captured = answers(project, load_and_ask)
    assert captured.samples.answers.single == ("42",)
    assert project.heard.codes == ["capture.extension-module"]
