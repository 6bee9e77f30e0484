"""`imagesmith lock --env`: environments of other platforms and files, at the command line."""

import json

import pytest

from fixtures.channel import linux_twins, macos_prefix, write_channel

pytestmark = [pytest.mark.index, pytest.mark.apt]


@pytest.fixture
def mac(tmp_path):
    return macos_prefix(tmp_path / "mac")


@pytest.fixture
def channel(tmp_path):
    return write_channel(tmp_path / "channel", linux_twins())


@pytest.fixture
def lock(imagesmith, tmp_path):
    """Give a function that locks into a folder and gives (process, report, the lock's folder)."""

    def run(*options, output="lock", **environment):
        folder = tmp_path / output
        done = imagesmith("lock", "--output", folder, *options, **environment)
        report = folder / "report.json"
        return done, json.loads(report.read_text()) if report.exists() else None, folder

    return run


def named(entries, **wanted):
    fits = (e for e in entries if all(e[key] == value for key, value in wanted.items()))
    return {entry["name"] for entry in fits}


def test_of_a_macs_twenty_packages_all_five_that_linux_lacks_are_in_one_report(
    lock, mac, channel, tmp_path
):
    done, report, folder = lock("--env", mac, "--channel", channel, "--html", tmp_path / "r.html")
    assert done.returncode == 5
    assert done.stdout == ""
    conda = [entry for entry in report["entries"] if entry["manager"] == "conda"]
    assert len(conda) == 20
    only_there = {"appnope", "libcxx", "llvm-openmp", "pyobjc-core", "python.app"}
    assert named(conda, status="platform only") == only_there
    errors = {f["subject"] for f in report["findings"] if f["severity"] == "error"}
    assert errors == {"appnope 0.1.4", "pyobjc-core 10.3.1"}
    for name in only_there:
        assert name in done.stderr
        assert name in (tmp_path / "r.html").read_text()
    assert not (folder / "pylock.toml").exists()


def test_what_may_be_missing_is_left_out_and_the_rest_is_locked(lock, mac, channel):
    without = ("--allow-missing", "appnope", "--allow-missing", "pyobjc-core")
    done, report, folder = lock("--env", mac, "--channel", channel, *without)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder}\n"
    kept = {e["name"] for e in report["entries"] if e["got"]}
    assert {"numpy", "scikit-learn", "python", "openssl"} <= kept
    assert {"conda-lock.yml", "conda-linux-64.lock", "pylock.toml", "requirements.txt"} < {
        path.name for path in folder.iterdir()
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dependencies: [\n", "not YAML"),
        ("dependencies:\n\t- numpy\n", "tab"),
        ("name: a\nname: b\ndependencies: [numpy]\n", "name"),
        ("dependencies: 3\n", "dependencies"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_told_with_its_line(lock, tmp_path, text, told):
    path = tmp_path / "environment.yml"
    path.write_text(text)
    done, report, _ = lock("--env", path)
    assert done.returncode == 2
    assert "usage.specification" in done.stderr
    assert f"{path}:" in done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert report is None


def test_one_thing_is_locked_at_a_time(lock):
    done, _, _ = lock()
    assert done.returncode == 2
    assert "usage.lock" in done.stderr
