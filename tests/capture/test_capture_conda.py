"""What conda has written of an environment: packages, channels, and what was asked for."""

import json
import os
import sys
from dataclasses import replace

import pytest
from conda_prefix import FORGE, CondaPrefix, package, read
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.capture.environment import Environment
from imagesmith.capture.prefix import read_prefix
from imagesmith.findings import Severity

MAIN = "https://repo.anaconda.com/pkgs/main"

pytestmark = pytest.mark.usefixtures("home")


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


def test_channels_that_a_condarc_names_come_in_its_order(mac, home):
    for number, channel in enumerate((MAIN, MAIN, "https://h.example/my/own")):
        mac.record(f"package-{number}", "1", channel_url=channel)
    (home / ".condarc").write_text(
        "channels:\n  - unused\n  - own\n  - conda-forge\n"
        "custom_channels:\n  own: https://me:secret@h.example/my\n"
    )
    assert read(mac).channels == ("https://h.example/my/own", FORGE, MAIN)


def test_the_prefix_own_condarc_goes_before_the_users(mac, home):
    mac.record("numpy", "1", channel_url=MAIN)
    mac.record("scipy", "1", channel_url="https://mirror.example/conda/lab")
    (home / ".condarc").write_text("channels: [conda-forge]\n")
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


def test_a_broken_condarc_is_told(mac, home):
    (home / ".condarc").write_text("channels:\n- a\n  - b: [")
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


def test_a_capture_of_a_conda_environment_has_its_packages(project, venv):
    made = CondaPrefix(venv.prefix, "linux-64", "{}.{}.0".format(*sys.version_info))
    made.install("numpy", "1.26.4", ["numpy/__init__.py"])
    made.history("# update specs: ['numpy=1.26']")
    project.write(model="def predict(inputs):\n    return inputs\n")
    captured = project.capture("model.py:predict", env=venv.prefix).environment
    assert captured == replace(read(made), python=captured.python, platform=captured.platform)
    assert captured.channels == (FORGE,)
    assert package(captured, "numpy").requested == "numpy 1.26.*"


def test_what_conda_changes_needs_a_new_capture(project, venv, home):
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
    (home / ".condarc").write_text("channels: [conda-forge]\n")
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


def test_a_module_that_conda_brings_without_metadata_is_condas_and_not_carried(project, venv):
    module = venv.site / "bare.py"
    module.write_text("def answer(x):\n    return str(x)\n")
    site = str(venv.site.relative_to(venv.prefix))
    made = CondaPrefix(venv.prefix, "linux-64")
    made.record("bare-package", "1.0", [f"{site}/bare.py"])
    project.write(
        model="import bare\n\n\ndef predict(xs):\n    return [bare.answer(x) for x in xs]\n"
    )
    captured = project.capture("model.py:predict", env=venv.prefix)
    assert captured.modules == ("bare",)
    assert not any("bare" in path for path in captured.files)
    assert project.heard.codes == []
