"""`imagesmith lock --env`: environments of other platforms and files, at the command line."""

import json

import pytest

from fixtures.channel import (
    Installed,
    Package,
    linux_twins,
    macos_prefix,
    make_prefix,
    write_channel,
)

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


class TestTheCaseOfTheFirstDocument:
    """appnope beside scikit-learn against numpy, by mkl: what Clipper's own page shows."""

    @pytest.fixture
    def mac(self, tmp_path):
        py = "python >=3.11,<3.12.0a0"
        packages = (
            Package("python", "3.11.7", subdir="osx-arm64"),
            Package("appnope", "0.1.0", depends=("python",), subdir="osx-arm64"),
            Package("mkl", "11.3.3", subdir="osx-arm64"),
            Package("numpy", "1.10.4", depends=(py, "mkl"), subdir="osx-arm64"),
            Package("scikit-learn", "0.17.1", depends=(py, "numpy"), subdir="osx-arm64"),
        )
        asked = [Installed(p, requested=p.name) for p in packages]
        return make_prefix(tmp_path / "mac", "osx-arm64", asked)

    @pytest.fixture
    def channel(self, tmp_path):
        py = "python >=3.11,<3.12.0a0"
        return write_channel(
            tmp_path / "channel",
            [
                Package("python", "3.11.7"),
                Package("appnope", "0.1.0", subdir="osx-arm64"),
                Package("mkl", "11.3.1"),
                Package("mkl", "11.3.3"),
                Package("numpy", "1.10.1", "np_1", depends=(py, "mkl 11.3.1")),
                Package("numpy", "1.10.4", "np_2", depends=(py, "mkl 11.3.3")),
                Package("scikit-learn", "0.17.1", depends=(py, "numpy 1.10.*", "mkl 11.3.1")),
                Package("scikit-learn", "0.18.0", depends=(py, "numpy 1.10.*", "mkl 11.3.3")),
            ],
        )

    def test_both_are_told_in_one_run_and_what_is_proposed_locks(self, lock, mac, channel):
        done, report, _ = lock("--env", mac, "--channel", channel)
        assert done.returncode == 4
        told = {f["code"]: f for f in report["findings"]}
        assert told["missing.package"]["subject"] == "appnope 0.1.0"
        conflict = told["unsatisfiable.conflict"]
        assert "scikit-learn 0.17.1" in conflict["subject"]
        assert {"mkl", "numpy"} & set(conflict["subject"].replace(",", "").split())
        proposed = conflict["remedy"].partition(": ")[2].split("; or ")[0].split()
        assert proposed[0] == "--update"
        pasted = ("--env", mac, "--channel", channel, *proposed, "--allow-missing", "appnope")
        done, report, _ = lock(*pasted)
        assert done.returncode == 0, done.stderr
        (appnope,) = [e for e in report["entries"] if e["name"] == "appnope"]
        assert appnope["got"] is None
