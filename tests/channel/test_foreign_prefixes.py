"""Prefixes of other platforms read as conda's own do, and hold nothing that could run."""

import json
from importlib.metadata import distributions

from fixtures.channel import (
    Installed,
    Package,
    linux_twins,
    macos_prefix,
    make_prefix,
    write_channel,
)
from fixtures.channel.peer import solve
from fixtures.channel.prefixes import FORGE, MAC_ONLY


def records(prefix):
    found = [json.loads(path.read_text()) for path in (prefix / "conda-meta").glob("*.json")]
    return {record["name"]: record for record in found}


def test_the_mac_has_twenty_packages_of_which_five_are_only_there(tmp_path):
    found = records(macos_prefix(tmp_path / "env"))
    linux = {package.name for package in linux_twins()}
    assert len(found) == 20
    assert found.keys() - linux == MAC_ONLY
    assert len(MAC_ONLY) == 5
    assert {record["subdir"] for record in found.values()} == {"osx-arm64", "noarch"}


def test_its_linux_twins_solve_together(tmp_path):
    twins = linux_twins()
    url = write_channel(tmp_path, twins)
    assert len(solve(url, *(f"{twin.name}={twin.version}" for twin in twins))) == 15


def test_a_record_says_what_conda_s_says(tmp_path):
    record = records(macos_prefix(tmp_path / "env"))["scikit-learn"]
    assert record["url"] == f"{FORGE}/osx-arm64/scikit-learn-1.5.1-py311_0.conda"
    assert record["requested_spec"] == "scikit-learn"
    assert "numpy" in record["depends"]
    assert {path["_path"] for path in record["paths_data"]["paths"]} == set(record["files"])
    for path in record["files"]:
        assert (tmp_path / "env" / path).is_file()


def test_py_rattler_reads_the_records(tmp_path):
    from rattler import PrefixRecord

    for path in (macos_prefix(tmp_path / "env") / "conda-meta").glob("*.json"):
        assert PrefixRecord.from_path(path).name.normalized


def test_its_distributions_are_read_from_its_site_packages(tmp_path):
    site = macos_prefix(tmp_path / "env") / "lib/python3.11/site-packages"
    found = {d.metadata["Name"]: d for d in distributions(path=[str(site)])}
    assert found["scikit-learn"].read_text("top_level.txt") == "sklearn\n"
    assert found["scikit-learn"].requires == ["numpy", "joblib", "threadpoolctl"]
    assert len(found) == 9


def test_what_was_asked_for_is_in_the_history(tmp_path):
    history = (macos_prefix(tmp_path / "env") / "conda-meta/history").read_text()
    asked = ["python=3.11", "appnope", "numpy", "pyobjc-core", "scikit-learn", "cloudpickle"]
    assert f"# update specs: {asked!r}\n" in history
    assert f"+{FORGE}/noarch::joblib-1.4.2-py_0\n" in history


def test_a_windows_prefix_has_windows_folders(tmp_path):
    pywin = Package("pywin32", "306", "py311_0", subdir="win-64")
    prefix = make_prefix(
        tmp_path / "env", "win-64", [Installed(pywin, distribution="pywin32", modules=("win32",))]
    )
    assert (prefix / "Lib/site-packages/pywin32-306.dist-info/METADATA").is_file()
    assert (prefix / "Lib/site-packages/win32/__init__.py").is_file()


def test_nothing_in_it_can_run(tmp_path):
    files = [path for path in macos_prefix(tmp_path / "env").rglob("*") if path.is_file()]
    assert not any(path.stat().st_mode & 0o111 for path in files)
