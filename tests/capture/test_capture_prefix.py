"""An environment read by its folder: of any platform, and without running anything of it."""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest
from conda_prefix import FORGE, CondaPrefix
from hypothesis import given, settings
from hypothesis import strategies as st
from uv import find_uv_bin

from imagesmith.capture.environment import Environment
from imagesmith.capture.prefix import read_prefix
from imagesmith.findings import ImagesmithError, Severity

MAIN = "https://repo.anaconda.com/pkgs/main"
PYTHON = sysconfig.get_python_version()


@pytest.fixture(autouse=True)
def no_condarc(monkeypatch, tmp_path):
    """Give every test a home of its own, without the condarc files of whoever runs it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CONDARC", raising=False)
    return home


@pytest.fixture
def mac(tmp_path):
    made = CondaPrefix(tmp_path / "mac", "osx-arm64")
    made.install("python", "3.11.7", ["README.txt"])
    return made


@pytest.fixture
def windows(tmp_path):
    made = CondaPrefix(tmp_path / "windows", "win-64")
    made.record("python", "3.11.7", ["python.exe", "Lib/os.py"])
    made.write("python.exe")
    return made


def read(made):
    """Read a prefix of which there is nothing to be said."""
    environment, findings = read_prefix(made.prefix)
    assert not findings
    return environment


def package(environment, name):
    return next(package for package in environment.packages if package.name == name)


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


def test_the_history_says_what_was_asked_for_and_its_last_word_counts(mac):
    for name in ("numpy", "pandas", "scipy", "six"):
        mac.record(name, "1.0")
    mac.history(
        "==> 2024-01-01 00:00:00 <==",
        "# cmd: conda create numpy=1 pandas",
        "+conda-forge/osx-arm64::numpy-1.0-0",
        '# update specs: ["numpy=1", "pandas", "conda-forge::scipy"]',
        "==> 2024-02-01 00:00:00 <==",
        "# remove specs: ['pandas']",
        "# update specs: ['numpy[version=\">=1,<2\"]', 'gone']",
    )
    environment = read(mac)
    asked = {name: package(environment, name).requested for name in ("numpy", "pandas", "scipy")}
    assert asked == {"numpy": "numpy >=1,<2", "pandas": None, "scipy": "scipy"}
    assert package(environment, "six").requested is None


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"requested_spec": "numpy=1.26"}, "numpy 1.26.*"),
        ({"requested_specs": ["conda-forge/osx-arm64::numpy==1.26=h123_0"]}, "numpy ==1.26"),
        ({"requested_spec": "https://u:secret@h.example/osx-arm64/numpy-1.26-0.conda"}, "numpy"),
        ({"requested_spec": "https://u:secret@h.example/t/secret/c::numpy"}, "numpy"),
        ({"requested_spec": "None"}, None),
        ({"requested_spec": ""}, None),
    ],
)
def test_where_the_history_is_silent_the_record_says_it(mac, fields, asked):
    mac.record("numpy", "1.26", **fields)
    mac.history("# update specs: ['python']")
    assert package(read(mac), "numpy").requested == asked


@pytest.mark.parametrize(
    ("fields", "channel"),
    [
        ({}, FORGE),
        ({"url": None, "channel": f"{FORGE}/osx-arm64"}, FORGE),
        ({"url": None, "channel": f"{FORGE}/"}, FORGE),
        ({"url": None, "channel": "conda-forge"}, FORGE),
        ({"url": None, "channel": "defaults"}, MAIN),
        ({"url": None, "channel": "pkgs/main/osx-arm64"}, MAIN),
        ({"url": None, "channel": "<unknown>"}, ""),
        ({"channel_url": "https://me:secret@h.example/conda"}, "https://h.example/conda"),
        ({"channel_url": "https://h.example/t/se-cret/conda"}, "https://h.example/conda"),
        ({"url": "https://h.example/c/osx-arm64/x.conda?sig=secret"}, "https://h.example/c"),
        ({"url": "file:///opt/t/x/osx-arm64/x.conda"}, "file:///opt/t/x"),
    ],
)
def test_a_channel_is_a_url_without_what_opens_it(mac, fields, channel):
    mac.record("numpy", "1.26", **fields)
    environment = read(mac)
    assert package(environment, "numpy").channel == channel
    assert "secret" not in json.dumps(environment.as_json())


def test_a_channel_that_could_hide_a_password_is_refused(mac):
    mac.record("numpy", "1.26", channel_url="https://me:sec/ret@h.example/conda")
    environment, findings = read_prefix(mac.prefix)
    assert [finding.code for finding in findings] == ["capture.broken-metadata"]
    assert "ret@" not in json.dumps([environment.as_json(), findings[0].as_dict()])


def test_the_channel_of_most_packages_comes_first(mac):
    other = "https://h.example/other"
    for number in range(3):
        mac.record(f"package-{number}", "1", channel_url=other)
    mac.record("package-4", "1", channel_url="https://h.example/another")
    assert read(mac).channels == (other, FORGE, "https://h.example/another")


def test_channels_that_a_condarc_names_come_in_its_order(mac, no_condarc):
    for number, channel in enumerate((MAIN, MAIN, "https://h.example/my/own")):
        mac.record(f"package-{number}", "1", channel_url=channel)
    (no_condarc / ".condarc").write_text(
        "channels:\n  - unused\n  - own\n  - conda-forge\n"
        "custom_channels:\n  own: https://me:secret@h.example/my\n"
    )
    assert read(mac).channels == ("https://h.example/my/own", FORGE, MAIN)


def test_the_prefix_own_condarc_goes_before_the_users(mac, no_condarc):
    mac.record("numpy", "1", channel_url=MAIN)
    mac.record("scipy", "1", channel_url="https://mirror.example/conda/lab")
    (no_condarc / ".condarc").write_text("channels: [conda-forge]\n")
    mac.write(
        ".condarc", "channels: [lab, defaults]\nchannel_alias: https://mirror.example/conda\n"
    )
    # The alias is that of all names, also of those in another file.
    assert read(mac).channels == ("https://mirror.example/conda/lab", MAIN, FORGE)


def test_a_condarc_can_say_what_the_defaults_are(mac, monkeypatch, tmp_path):
    mac.record("numpy", "1", channel_url="https://mirror.example/main")
    named = tmp_path / "named"
    named.write_text(
        "channels: [defaults]\ndefault_channels:\n- https://${USER_OF}@mirror.example/main\n"
    )
    monkeypatch.setenv("CONDARC", str(named))
    monkeypatch.setenv("USER_OF", "me:secret")
    assert read(mac).channels == ("https://mirror.example/main", FORGE)


def test_a_broken_condarc_is_told(mac, no_condarc):
    (no_condarc / ".condarc").write_text("channels:\n- a\n  - b: [")
    environment, findings = read_prefix(mac.prefix)
    assert [finding.code for finding in findings] == ["usage.condarc"]
    assert environment.channels == (FORGE,)


BROKEN = {
    "truncated": b'{"name": "x", "vers',
    "no-object": b"[1, 2]",
    "nothing": b"",
    "no-text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "no-name": b'{"version": "1", "build": "0", "subdir": "noarch"}',
    "wrong-type": b'{"name": 1, "version": "1", "build": "0", "subdir": "noarch"}',
    "control": b'{"name": "a\\u0000b", "version": "1", "build": "0", "subdir": "noarch"}',
    "surrogate": b'{"name": "a", "version": "1\\ud800", "build": "0", "subdir": "noarch"}',
    "wrong-files": b'{"name": "a", "version": "1", "build": "0", "subdir": "noarch", "files": [1]}',
}


def test_all_that_is_broken_is_told_and_the_rest_is_read(mac):
    for name, data in BROKEN.items():
        (mac.prefix / "conda-meta" / f"{name}.json").write_bytes(data)
    (mac.prefix / "conda-meta" / "link.json").symlink_to("nowhere")
    mac.install("numpy", "1.26.4", ["numpy/__init__.py"])
    (mac.prefix / mac.site / "half-1.0.dist-info").mkdir()
    mac.write(f"{mac.site}/odd-1.0.dist-info/METADATA", "Name: odd\x07\nVersion: 1.0\n")
    environment, findings = read_prefix(mac.prefix)
    assert [package.name for package in environment.packages] == ["numpy", "python"]
    assert {d.name for d in environment.distributions} == {"numpy", "python"}
    assert {finding.code for finding in findings} == {"capture.broken-metadata"}
    assert {finding.severity for finding in findings} == {Severity.WARNING}
    told = " ".join(finding.message for finding in findings)
    assert all(name in told for name in [*BROKEN, "link", "half-1.0", "odd-1.0"])
    assert all(finding.message.isprintable() for finding in findings)


def test_metadata_in_a_folder_whose_name_is_no_text_is_read_or_told(mac):
    Path(os.fsdecode(bytes(mac.prefix / mac.site) + b"/caf\xe9-1.0.dist-info")).mkdir()
    _, findings = read_prefix(mac.prefix)
    assert [finding.code for finding in findings] == ["capture.broken-metadata"]
    findings[0].message.encode()


def test_two_records_of_one_name_are_told_and_the_later_counts(mac):
    mac.record("numpy", "1.9")
    mac.record("numpy", "1.10")
    os.utime(mac.prefix / "conda-meta/numpy-1.9-h123_0.json", ns=(0, 0))
    environment, findings = read_prefix(mac.prefix)
    assert package(environment, "numpy").version == "1.10"
    assert [finding.code for finding in findings] == ["capture.several-versions"]


def test_a_spec_in_the_history_that_is_none_is_told(mac):
    mac.record("numpy", "1.0")
    mac.history("# update specs: ['numpy', 'not a [spec', 7]", "# update specs: [")
    environment, findings = read_prefix(mac.prefix)
    assert [finding.code for finding in findings] == ["capture.broken-metadata"]
    assert package(environment, "numpy").requested is None


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


def test_a_capture_of_a_conda_environment_has_its_packages(project, venv):
    made = CondaPrefix(venv.prefix, "linux-64", "{}.{}.0".format(*sys.version_info))
    made.install("numpy", "1.26.4", ["numpy/__init__.py"])
    made.history("# update specs: ['numpy=1.26']")
    project.write(model="def predict(inputs):\n    return inputs\n")
    captured = project.capture("model.py:predict", env=venv.prefix).environment
    assert captured == replace(read(made), python=captured.python, platform=captured.platform)
    assert captured.channels == (FORGE,)
    assert package(captured, "numpy").requested == "numpy 1.26.*"


def test_what_conda_changes_needs_a_new_capture(project, venv, no_condarc):
    made = CondaPrefix(venv.prefix, "linux-64")
    made.record("numpy", "1.26.4")
    project.write(model="def predict(inputs):\n    return inputs\n")

    def was_stored():
        project.capture("model.py:predict", env=venv.prefix)
        return project.heard.was_stored

    assert not was_stored()
    assert was_stored()
    made.record("libblas", "3.9")
    assert not was_stored()
    made.history("# update specs: ['numpy']")
    assert not was_stored()
    (no_condarc / ".condarc").write_text("channels: [conda-forge]\n")
    assert not was_stored()
    assert was_stored()


odd = st.text(st.characters(), max_size=20)  # lone surrogates, too
texts = (
    odd
    | odd.map(lambda text: f"Lib/site-packages/{text}.dist-info/METADATA")
    | st.sampled_from(["numpy", "1.0", "linux-64", FORGE])
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["paths", "size_in_bytes"]), inner, max_size=2)
    ),
    max_leaves=8,
)
asked = {"name": texts, "version": texts, "build": texts, "subdir": texts}
others = ["channel", "url", "depends", "files", "paths_data", "requested_spec", "requested_specs"]
records = st.fixed_dictionaries(asked, optional=dict.fromkeys(others, values)) | values


@settings(max_examples=200, deadline=None)
@given(record=records | st.binary(max_size=200), history=st.binary(max_size=100))
def test_no_record_and_no_history_makes_it_fail(tmp_path_factory, record, history):
    made = CondaPrefix(tmp_path_factory.mktemp("any"), "linux-64")
    made.record("python", "3.11.7")
    data = record if isinstance(record, bytes) else json.dumps(record).encode()
    (made.prefix / "conda-meta/any.json").write_bytes(data)
    (made.prefix / "conda-meta/history").write_bytes(b"# update specs: [" + history + b"]\n")
    environment, findings = read_prefix(made.prefix)
    assert Environment.from_json(environment.as_json()) == environment
    json.dumps(environment.as_json(), ensure_ascii=False).encode()
    for finding in findings:
        json.dumps(finding.as_dict(), ensure_ascii=False).encode()
