"""Conda packages of real wheels and of Debian's Python: an environment that runs."""

import json
import subprocess
from pathlib import Path

import pytest

from fixtures.channel import archive, from_wheel, stock, write_package
from fixtures.channel.peer import solve
from fixtures.channel.repodata import record
from fixtures.channel.wheels import download

pytestmark = [pytest.mark.apt, pytest.mark.index]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conda")
    wanted = ("python", "scikit-learn", "pyzmq", "cloudpickle", "prometheus-client")
    assert "" not in solve(stock(folder / "channel"), *wanted, prefix=folder / "env")
    return folder / "env"


@pytest.fixture(scope="module")
def asked(prefix):
    """Give a function that has the prefix's Python say something, as JSON, in an empty world."""

    def ask(what, *options):
        code = f"import json, sys\nprint(json.dumps({what}))"
        argv = [str(prefix / "bin/python"), *options, "-c", code]
        done = subprocess.run(argv, env={}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


def test_its_prefix_is_where_it_was_put(asked, prefix):
    assert asked("[sys.prefix, sys.base_prefix, sys.exec_prefix]") == [str(prefix)] * 3
    assert asked("__import__('sysconfig').get_config_var('BINDIR')") == f"{prefix}/bin"


@pytest.mark.parametrize("options", [(), ("-I",), ("-X", "frozen_modules=off")])
def test_it_looks_for_site_packages_and_not_for_debians(asked, prefix, options):
    path = asked("sys.path[-1]", *options)
    assert path == f"{prefix}/lib/python3.11/site-packages"
    paths = asked("__import__('sysconfig').get_paths()", *options)
    assert paths["purelib"] == paths["platlib"] == path
    assert not any("dist-packages" in p for p in asked("__import__('site').getsitepackages()"))


def test_of_the_system_it_uses_the_c_library_alone(asked, prefix):
    modules = ("ssl", "sqlite3", "ctypes", "zlib", "bz2", "lzma", "readline", "curses", "uuid")
    imports = ", ".join(f"__import__({name!r}).__name__" for name in modules)
    mapped = asked(f"[[{imports}], open('/proc/self/maps').read()]")[1]
    libraries = {line.split()[-1] for line in mapped.splitlines() if ".so" in line}
    outside = {Path(path).name for path in libraries if not path.startswith(str(prefix))}
    of_glibc = {"ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"}
    assert outside <= of_glibc
    assert any("libssl" in path for path in libraries)


def test_what_it_imports_are_the_real_packages(asked):
    fitted = (
        "__import__('sklearn.linear_model').linear_model.LinearRegression().fit([[0], [1]], [1, 3])"
    )
    assert asked(f"round({fitted}.predict([[2]])[0])") == 5
    assert asked("__import__('zmq').zmq_version()")


def test_its_distributions_are_conda_s(asked):
    found = asked(
        "[(d.metadata['Name'], d.read_text('INSTALLER').strip(), d.read_text('direct_url.json'))"
        " for d in __import__('importlib.metadata').metadata.distributions()]"
    )
    assert ["numpy", "conda", None] in found
    assert {installer for _, installer, _ in found} == {"conda"}
    assert all(d is None for *_, d in found)


def test_a_script_runs_in_the_prefix(prefix):
    done = subprocess.run([prefix / "bin/f2py", "-v"], env={}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_wheel_with_binaries_depends_on_its_python_and_a_pure_one_on_any_it_takes():
    numpy, pure = record(archive("numpy")), record(archive("threadpoolctl"))
    assert numpy["depends"] == ["python >=3.11,<3.12.0a0"]
    assert (numpy["subdir"], numpy["build"]) == ("linux-64", "py311_0")
    assert pure["depends"] == ["python >=3.10"]
    assert (pure["subdir"], pure["noarch"]) == ("noarch", "python")
    assert "numpy >=1.24.1" in record(archive("scikit-learn"))["depends"]


def test_a_wheel_gives_the_same_bytes_again(tmp_path):
    wheel = download("pyzmq", "27.3.0")
    one, other = (write_package(from_wheel(wheel), tmp_path / name) for name in "ab")
    assert one.read_bytes() == other.read_bytes() == archive("pyzmq").read_bytes()
