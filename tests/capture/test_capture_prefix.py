"""An environment read by its folder: of any platform, and without running anything of it."""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest
from conda_prefix import FORGE, CondaPrefix, package, read
from uv import find_uv_bin

from imagesmith.capture.environment import Environment
from imagesmith.capture.prefix import read_prefix
from imagesmith.findings import ImagesmithError

PYTHON = sysconfig.get_python_version()

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def windows(tmp_path):
    made = CondaPrefix(tmp_path / "windows", "win-64")
    made.record("python", "3.11.7", ["python.exe", "Lib/os.py"])
    made.write("python.exe")
    return made


def refused(folder):
    with pytest.raises(ImagesmithError) as failed:
        read_prefix(folder)
    return failed.value.findings[0].code


def test_a_prefix_of_a_mac_is_read_anywhere(mac):
    mac.install(
        "scikit-learn",
        "1.3.2",
        ["sklearn/__init__.py", "sklearn/tree/__init__.py"],
        depends=["numpy >=1.23,<2", "python >=3.11,<3.12.0a0"],
    )
    environment = read(mac)
    assert (environment.python, environment.kind) == ("3.11.7", "conda")
    assert (environment.platform, environment.glibc) == ("macosx-11.0-arm64", None)
    assert environment.channels == (FORGE,)
    learn = package(environment, "scikit-learn")
    assert (learn.version, learn.build, learn.subdir) == ("1.3.2", "h123_0", "osx-arm64")
    assert learn.requires == ("numpy >=1.23,<2", "python >=3.11,<3.12.0a0")
    assert (learn.distributions, learn.modules) == (("scikit-learn",), ("sklearn",))
    assert learn.size == 50
    found = next(d for d in environment.distributions if d.name == "scikit-learn")
    assert (found.version, found.installer, found.modules) == ("1.3.2", "conda", ("sklearn",))


def test_a_prefix_of_windows_is_read_anywhere(windows):
    windows.install("pyyaml", "6.0.1", ["yaml/__init__.py", "_yaml.pyd"], called="PyYAML")
    windows.record("vc14_runtime", "14.38")
    environment = read(windows)
    assert environment.platform == "win-amd64"
    assert [d.name for d in environment.distributions] == ["pyyaml"]
    assert package(environment, "pyyaml").modules == ("_yaml", "yaml")
    assert package(environment, "vc14_runtime").distributions == ()


def test_what_it_holds_can_be_written_down_and_read_again(mac):
    mac.install("numpy", "1.26.4", ["numpy/__init__.py"])
    environment = read(mac)
    assert Environment.from_json(json.loads(json.dumps(environment.as_json()))) == environment


def test_a_package_without_metadata_of_python_brings_its_modules_all_the_same(mac):
    mac.record("graph", "1.0", [f"{mac.site}/graph/__init__.py", "lib/libgraph.dylib"])
    found = package(read(mac), "graph")
    assert (found.distributions, found.modules) == ((), ("graph",))


def test_what_came_as_an_egg_is_known_too(mac):
    mac.write(f"{mac.site}/Old.Thing-1.0-py3.11.egg-info", "Name: Old.Thing\nVersion: 1.0\n")
    mac.record("oldthing", "1.0", [f"{mac.site}/Old.Thing-1.0-py3.11.egg-info"])
    environment = read(mac)
    assert package(environment, "oldthing").distributions == ("old-thing",)
    assert ("old-thing", "1.0") in {(d.name, d.version) for d in environment.distributions}


def test_the_paths_of_windows_may_have_its_own_slashes(windows):
    windows.record("thing", "1.0", ["Lib\\site-packages\\thing\\__init__.py"])
    assert package(read(windows), "thing").modules == ("thing",)


def test_metadata_in_a_folder_whose_name_is_no_text_is_read_or_told(mac):
    Path(os.fsdecode(bytes(mac.prefix / mac.site) + b"/caf\xe9-1.0.dist-info")).mkdir()
    _, findings = read_prefix(mac.prefix)
    assert [finding.code for finding in findings] == ["capture.broken-metadata"]
    findings[0].message.encode()


@pytest.mark.parametrize("name", ["", "gone", "x" * 5000, "a\0b"])
def test_a_folder_that_is_no_environment_is_refused(tmp_path, name):
    assert refused(tmp_path / name) == "capture.no-environment"


def test_a_conda_prefix_without_python_is_refused(tmp_path):
    made = CondaPrefix(tmp_path / "r", "linux-64")
    made.record("r-base", "4.3")
    assert refused(made.prefix) == "capture.no-python"


def test_of_this_machine_the_c_library_is_known(tmp_path):
    made = CondaPrefix(tmp_path / "linux", "linux-64")
    made.record("python", "3.11.7")
    here = sysconfig.get_platform() == "linux-x86_64"
    assert (read(made).glibc is not None) == here


def test_the_python_of_a_pyenv_says_its_whole_version(tmp_path):
    (tmp_path / "lib/python3.11/site-packages").mkdir(parents=True)
    (tmp_path / "include/python3.11").mkdir(parents=True)
    assert read_prefix(tmp_path)[0].python == "3.11"
    header = tmp_path / "include/python3.11/patchlevel.h"
    header.write_text('#define PY_VERSION             "3.11.9"\n')
    environment, _ = read_prefix(tmp_path)
    assert (environment.python, environment.kind) == ("3.11.9", "system")


@pytest.mark.parametrize(
    ("config", "version"),
    [
        ("version = 3.11.2\n", "3.11.2"),
        ("version_info = 3.11.2.final.0\n", "3.11.2"),
        ("uv = 0.5\nversion_info = 3.14.0rc1\n", "3.14.0rc1"),
        ("VERSION=3.12\n", "3.12"),
    ],
)
def test_a_venvs_version_is_in_its_configuration(tmp_path, config, version):
    (tmp_path / "pyvenv.cfg").write_text(config)
    assert read_prefix(tmp_path)[0].python == version


def test_editable_installs_are_read_by_their_pth_files(venv, project):
    source = project.folder / "source"
    info = source / "mine.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n")
    (venv.site / "easy-install.pth").write_text(f"# a comment\nimport sys\n{source}\nnowhere\n")
    environment, findings = read_prefix(venv.prefix)
    assert [(d.name, d.editable) for d in environment.distributions] == [("mine", True)]
    assert not findings
    project.write(model="def predict(inputs):\n    return inputs\n")
    assert environment == project.capture("model.py:predict", env=venv.prefix).environment


def test_what_the_base_has_counts_where_a_venv_shares_it(venv, tmp_path):
    base = tmp_path / "base" / "lib" / venv.site.parent.name / "site-packages" / "b-1.dist-info"
    base.mkdir(parents=True)
    (base / "METADATA").write_text("Name: b\nVersion: 1\n")
    config = venv.prefix / "pyvenv.cfg"
    alone = f"home = {tmp_path / 'base' / 'bin'}\nversion = {PYTHON}.1\n"
    for shares, names in (("false", []), ("true", ["b"])):
        config.write_text(f"{alone}include-system-site-packages = {shares}\n")
        assert [d.name for d in read_prefix(venv.prefix)[0].distributions] == names


def make_with_venv(prefix):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)


def make_with_virtualenv(prefix):
    tool = [find_uv_bin(), "tool", "run", "--quiet", "virtualenv", "--quiet", "--no-seed"]
    subprocess.run([*tool, "--python", sys.executable, prefix], check=True)


def make_with_uv(prefix):
    tool = [find_uv_bin(), "venv", "--quiet", "--python", sys.executable]
    subprocess.run([*tool, prefix], check=True)


@pytest.mark.index
def test_every_kind_of_venv_gives_the_same_picture_and_the_agents(project, tmp_path):
    project.write(model="def predict(inputs):\n    return inputs\n")
    pictures = []
    for kind, make in (
        ("venv", make_with_venv),
        ("virtualenv", make_with_virtualenv),
        ("venv", make_with_uv),
    ):
        prefix = tmp_path / str(len(pictures))  # a script holds its path: they are of one length
        make(prefix)
        install = [find_uv_bin(), "pip", "install", "--quiet", "--python", prefix / "bin/python"]
        subprocess.run([*install, "markdown-it-py==3.0.0", "PyYAML==6.0.2"], check=True)
        environment, findings = read_prefix(prefix)
        assert not findings
        captured = project.capture("model.py:predict", env=prefix).environment
        assert replace(environment, distributions=()) == replace(captured, distributions=())
        assert set(environment.distributions) == set(captured.distributions)
        assert environment.kind == kind
        pictures.append(replace(environment, kind="", distributions=()))
        pictures.append(sorted(environment.distributions, key=lambda d: d.name))
    assert [d.name for d in pictures[1]] == ["markdown-it-py", "mdurl", "pyyaml"]
    assert pictures[2:4] == pictures[:2] == pictures[4:]
