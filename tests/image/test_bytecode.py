"""Byte code comes from the base's own Python, and is the same in every run."""

import json
import marshal
import subprocess
import zipfile
from pathlib import Path

import pytest

from imagesmith import base as bases
from imagesmith.findings import ImagesmithError
from imagesmith.image.bytecode import base_python
from imagesmith.image.bytecode import compiled as compiled_of
from imagesmith.image.compile_pyc import sorted_dumps
from imagesmith.image.tar import contents
from imagesmith.image.unpack import unpacked
from imagesmith.progress import Silent
from imagesmith.store import Store, sha256_file

SOURCES = {
    "pkg/__init__.py": "def f(x):\n    return x in {'p', 'q', 'r', 's', None, 1}\n",
    "pkg/broken.py": "print 'Python 2'\n",
    "pkg/deep/mod.py": "from pkg import f\n__doc__ = 'same' 'same'\nY = lambda: (f, 'same', 1.5)\n",
    "pkg/tests/test_f.py": "import pkg\n",
    "pkg/test/helper.py": "import pkg\n",
    "pkg/testing.py": "X = 1\n",
    "pkg/data.txt": "not a source\n",
    "pkg-1.data/purelib/other.py": "X = 1\n",
    "single.py": "X = 1\n",
}
PREFIX = "/opt/env/lib/python3.11/site-packages"


@pytest.fixture(scope="session")
def root(store, base):
    (layer,) = base.layers
    return unpacked(store, base.blob(layer.blob.digest), layer)


@pytest.fixture(scope="session")
def interpreter(root):
    return base_python(root, "3.11")


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "pkg-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, source in SOURCES.items():
            archive.writestr(name, source)
    return path


def compiled(store, interpreter, wheel, key="base"):
    return compiled_of(store, key, lambda: interpreter, wheel, sha256_file(wheel), PREFIX)


def files_of(bytecode):
    """Give the files by their path."""
    return {member.path: b"".join(contents(member)) for member in bytecode.members()}


def ask(interpreter, code, *args):
    done = subprocess.run(
        [*interpreter.argv, "-c", code, *args],
        env=interpreter.env,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_interpreter_uses_the_base_and_nothing_of_the_host(root, interpreter):
    code = """
import json, sys, _ssl, sqlite3, ctypes, re
maps = [line.split()[-1] for line in open('/proc/self/maps') if '/' in line]
print(json.dumps([*sys.path[1:], _ssl.__file__, re.__file__, *maps]))
"""
    assert [path for path in ask(interpreter, code) if not path.startswith(str(root))] == []


def test_each_source_outside_tests_and_data_that_compiles_has_byte_code(
    tmp_path, interpreter, wheel
):
    assert list(files_of(compiled(Store(tmp_path), interpreter, wheel))) == [
        "pkg/__pycache__/__init__.cpython-311.pyc",
        "pkg/deep/__pycache__/mod.cpython-311.pyc",
        "pkg/__pycache__/testing.cpython-311.pyc",
        "__pycache__/single.cpython-311.pyc",
    ]


def test_two_runs_give_the_same_bytes(tmp_path, interpreter, wheel):
    runs = [compiled(Store(tmp_path / name), interpreter, wheel) for name in ("a", "b", "c")]
    assert len({(made.digest, made.files, made.blob.read_bytes()) for made in runs}) == 1


# The hash of a tuple with None in it is another one in each process, so is the order in a set.
SETS = """
def f(x):
    return x in {(None, 1), (2, None), (None, None), (3, "a", None)} or x in {None, ..., "b", 2.5}
class C:
    Y = lambda x: [y for y in x if y in {(None, b"c"), ("d", None), (None, 4), (None, 5)}]
"""


def test_sets_are_sorted_as_pythons_own_marshal_sorts_them():
    sources = [SETS, *(path.read_text() for path in Path(json.__file__).parent.glob("*.py"))]
    for source in sources:
        code = compile(source, "m.py", "exec", dont_inherit=True)
        assert sorted_dumps(code) == marshal.dumps(code, 2)
        assert marshal.loads(sorted_dumps(code)) == code


@pytest.mark.long
@pytest.mark.apt
def test_two_runs_of_an_older_python_give_the_same_bytes_too(store, tmp_path):
    base = bases.ensure(store, "3.9", Silent())
    (layer,) = base.layers
    python = base_python(unpacked(store, base.blob(layer.blob.digest), layer), "3.9")
    wheel = tmp_path / "sets.zip"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("m.py", SETS)
    runs = [compiled(Store(tmp_path / str(number)), python, wheel) for number in range(4)]
    assert len({made.digest for made in runs}) == 1


def test_a_wheel_is_compiled_once_for_each_interpreter(tmp_path, interpreter, wheel):
    store = Store(tmp_path)
    first = compiled(store, interpreter, wheel)
    made = first.blob.stat().st_mtime_ns
    assert compiled(store, None, wheel) == first  # so its base need not even be unpacked
    assert first.blob.stat().st_mtime_ns == made
    assert compiled(store, interpreter, wheel, "another").blob.stat().st_mtime_ns > made


def test_the_base_imports_the_byte_code_without_reading_the_source(tmp_path, interpreter, wheel):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as members:
        members.extractall(site)
    for path, data in files_of(compiled(Store(tmp_path), interpreter, wheel)).items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_bytes(data)
    (site / "pkg/deep/mod.py").write_text("raise SystemExit('the source was read')\n")
    code = """
import json, sys
sys.path.insert(0, sys.argv[1])
import pkg.deep.mod as mod
print(json.dumps(mod.Y()[1:]))
"""
    assert ask(interpreter, code, str(site)) == ["same", 1.5]


def test_byte_code_names_the_sources_by_their_place_in_the_image(tmp_path, interpreter, wheel):
    files = files_of(compiled(Store(tmp_path), interpreter, wheel))
    code = files["pkg/deep/__pycache__/mod.cpython-311.pyc"]
    assert f"{PREFIX}/pkg/deep/mod.py".encode() in code
    assert str(tmp_path).encode() not in code


def test_a_wheel_that_is_no_zip_is_a_finding_with_the_interpreters_words(tmp_path, interpreter):
    wheel = tmp_path / "bad.whl"
    wheel.write_bytes(b"no zip")
    with pytest.raises(ImagesmithError) as failed:
        compiled(Store(tmp_path / "store"), interpreter, wheel)
    assert failed.value.findings[0].code == "build.bytecode"
    assert "BadZipFile" in failed.value.log


def test_a_base_without_that_python_is_a_finding(root):
    with pytest.raises(ImagesmithError) as missing:
        base_python(root, "3.9")
    assert missing.value.findings[0].code == "build.base-python"
