"""conda's packages: what linux-64 has of them, what it cannot have together, and the lock."""

from __future__ import annotations

import subprocess
import sys

import pytest
from local_channel import PY311, guarded

from imagesmith.findings import ExitCode, ImagesmithError, Severity, exit_code
from imagesmith.resolve import (
    Wish,
)
from imagesmith.resolve.conda import lockfile
from imagesmith.resolve.files import contents, read, write, write_page, write_report
from imagesmith.resolve.report import Status
from imagesmith.store import Store


@pytest.fixture
def seed(channel, package):
    """The case of the user's first document: appnope, and scikit-learn against numpy by mkl."""
    channel.add("appnope", "0.1.0", subdir="osx-arm64")
    channel.add("mkl", "11.3.1")
    channel.add("mkl", "11.3.3")
    channel.add("numpy", "1.10.1", PY311, "mkl 11.3.1")
    channel.add("numpy", "1.10.4", PY311, "mkl 11.3.3")
    channel.add("numpy", "1.11.0", PY311, "mkl 11.3.3")
    channel.add("scikit-learn", "0.17.1", PY311, "mkl 11.3.1", "numpy 1.10*", build="np110")
    channel.add("scikit-learn", "0.18.0", PY311, "mkl 11.3.3", "numpy 1.10*", build="np110")
    return (
        package("python", "3.11.7", requested=None),
        package("appnope", "0.1.0"),
        package("mkl", "11.3.3"),
        package("numpy", "1.10.4", "mkl"),
        package("scikit-learn", "0.17.1", "numpy", "mkl"),
    )


def codes(resolved):
    return sorted(f.code for f in resolved.findings if f.severity is Severity.ERROR)


class TestTheCaseOfTheFirstDocument:
    def test_what_is_missing_and_what_conflicts_are_told_in_one_run(self, resolved, seed):
        found = resolved(*seed)
        assert codes(found) == ["missing.package", "unsatisfiable.conflict"]
        assert exit_code(found.findings) is ExitCode.UNSATISFIABLE
        assert found.lock is None

    def test_the_conflict_names_the_packages_on_both_sides(self, resolved, seed):
        (conflict,) = [f for f in resolved(*seed).findings if f.code == "unsatisfiable.conflict"]
        assert conflict.subject == "mkl 11.3.3, scikit-learn 0.17.1"
        assert "mkl 11.3.3 and scikit-learn 0.17.1 cannot be installed together" in conflict.message

    def test_a_relaxation_that_is_proposed_locks_when_it_is_pasted(self, resolved, seed):
        (conflict,) = [f for f in resolved(*seed).findings if f.code == "unsatisfiable.conflict"]
        proposed = conflict.remedy.partition(": ")[2].split("; or ")[0]
        name, _, version = proposed.removeprefix("--update ").partition("==")
        assert (name, version) == ("scikit-learn", "0.18.0")
        wish = Wish(updates={name: version}, allow_missing=frozenset({"appnope"}))
        locked = {p.name: p.version for p in resolved(*seed, wish=wish).lock.packages}
        assert (locked["scikit-learn"], locked["mkl"]) == ("0.18.0", "11.3.3")

    def test_what_nothing_needs_is_left_out_and_listed(self, resolved, seed, package):
        rest = (package("appnope", "0.1.0", requested=None), *(p for p in seed[2:4]))
        found = resolved(*rest)
        assert exit_code(found.findings) is ExitCode.DONE
        (appnope,) = [e for e in found.report.entries if e.name == "appnope"]
        assert (appnope.got, appnope.status) == (None, Status.PLATFORM_ONLY)
        assert appnope in found.report.dropped


def test_all_twenty_packages_of_a_mac_are_judged_in_one_report(resolved, channel, package):
    only_there = {"appnope", "libcxx", "pyobjc-core", "pyobjc-framework-cocoa", "python.app"}
    captured = [package(f"common{n}") for n in range(15)]
    captured += [
        package(name, requested=name if n < 2 else None)
        for n, name in enumerate(sorted(only_there))
    ]
    for one in captured:
        channel.add(one.name, "1.0", subdir="osx-arm64")
        if one.name not in only_there:
            channel.add(one.name, "1.0")
    found = resolved(*captured)
    status = {e.name: e.status for e in found.report.entries}
    assert {n for n, s in status.items() if s is Status.PLATFORM_ONLY} == only_there
    missing = [f.subject for f in found.findings if f.severity is Severity.ERROR]
    assert missing == ["appnope 1.0", "libcxx 1.0"]
    assert exit_code(found.findings) is ExitCode.MISSING


@pytest.mark.parametrize(
    ("there", "status"),
    [
        ({"build": "0"}, Status.OTHER_BUILD),  # the captured one is of a Mac
        ({"build": "0", "subdir": "noarch"}, Status.OTHER_BUILD),
        ({"version": "2.0"}, Status.VERSION_MISSING),
        ({"subdir": "osx-arm64"}, Status.PLATFORM_ONLY),
        (None, Status.PLATFORM_ONLY),
    ],
)
def test_each_package_is_told_with_what_linux_64_has(resolved, channel, package, there, status):
    if there is not None:
        channel.add("alpha", **{"version": "1.0", **there})
    (entry,) = resolved(package("alpha", requested=None), package("numpy")).report.entries[:1]
    assert (entry.name, entry.status) == ("alpha", status)


def test_a_missing_version_is_told_with_the_nearest_ones(resolved, channel, package):
    for version in ("0.1", "1.4", "1.6", "3.0"):
        channel.add("alpha", version)
    (finding,) = resolved(package("alpha", "1.5")).findings
    assert (finding.code, finding.subject) == ("missing.version", "alpha 1.5")
    assert "which have 1.6, 1.4" in finding.message
    assert finding.remedy == "take another version: --update alpha==1.6"


def test_the_lock_has_the_captured_versions_where_they_fit(resolved, channel, package):
    channel.add("alpha", "1.0", "beta")
    channel.add("beta", "1.0")
    channel.add("beta", "2.0")
    found = resolved(package("alpha", "1.0", "beta"), package("beta", requested=None))
    assert {p.name: p.version for p in found.lock.packages}["beta"] == "1.0"


def test_what_only_others_brought_moves_where_linux_needs_it(resolved, channel, package):
    channel.add("alpha", "1.0", "beta >=2")
    channel.add("beta", "1.0")
    channel.add("beta", "2.0")
    found = resolved(package("alpha", "1.0", "beta"), package("beta", requested=None))
    assert {p.name: p.version for p in found.lock.packages}["beta"] == "2.0"


def test_an_object_of_another_version_than_the_locked_one_is_told(resolved, channel, package):
    channel.add("alpha", "1.0")
    found = resolved(package("alpha"), recorded={"alpha": "0.9", "elsewhere": "1"})
    (finding,) = found.findings
    assert (finding.code, finding.subject) == ("verify.skew", "alpha")
    assert "alpha 0.9 pickled" in finding.message
    assert resolved(package("alpha"), recorded={"alpha": "1.0"}).findings == ()


def test_pip_brings_no_second_of_what_conda_has(resolved, index, channel, package, distribution):
    index.wheel("gamma", "1.0", requires=["numpy", "delta"])
    index.wheel("delta", "1.0", requires=["numpy>=0.5"])
    numpy = package("numpy", distributions=("numpy",), requested=None)
    found = resolved(
        numpy,
        modules=("gamma",),
        distributions=[
            distribution("numpy", "1.0", installer="conda"),
            distribution("gamma", "1.0", ["numpy", "delta"]),
        ],
    )
    assert "numpy" in {p.name for p in found.lock.packages}
    wheels = {w.name for w in found.lock.wheels}
    assert {"gamma", "delta"} <= wheels
    assert "numpy" not in wheels


def test_pip_and_conda_that_cannot_go_together_are_told(resolved, index, package, distribution):
    index.wheel("gamma", "1.0", requires=["numpy>=2"])
    found = resolved(
        package("numpy", distributions=("numpy",)),
        modules=("gamma",),
        distributions=[distribution("numpy", "1.0"), distribution("gamma", "1.0", ["numpy"])],
    )
    (finding,) = [f for f in found.findings if f.severity is Severity.ERROR]
    assert finding.code == "unsatisfiable.conflict"
    assert "gamma 1.0" in finding.message


class TestTheLock:
    @pytest.fixture
    def lock(self, resolved, channel, package):
        channel.add("alpha", "1.0", PY311, "beta >=1,<2", "__glibc >=2.17")
        channel.add("beta", "1.5", subdir="noarch", build="pyh_0")
        return resolved(package("alpha")).lock

    def test_conda_lock_reads_it_and_makes_the_same_explicit_lock(self, lock, tmp_path):
        write(lock, tmp_path / "lock")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "conda_lock",
                "render",
                "--kind",
                "explicit",
                "--platform",
                "linux-64",
                "conda-lock.yml",
                "--filename-template",
                "{platform}.txt",
            ],
            cwd=tmp_path / "lock",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        theirs = (tmp_path / "lock" / "linux-64.txt").read_text()
        ours = (tmp_path / "lock" / "conda-linux-64.lock").read_text()
        assert _lines(ours) == _lines(theirs)
        assert len(_lines(ours)) == 3

    def test_it_is_read_back_as_it_was_written(self, lock, tmp_path):
        write(lock, tmp_path / "lock")
        assert read(tmp_path / "lock") == lock

    def test_it_is_the_same_from_two_runs_and_two_platforms(
        self, lock, resolved, package, tmp_path
    ):
        windows = package("alpha", subdir="win-64", build="other")
        again = resolved(windows, store=Store(tmp_path / "another"))
        assert contents(again.lock) == contents(lock)

    def test_a_package_without_a_sha256_is_not_locked(self, resolved, channel, package):
        channel.add("alpha", "1.0")
        channel.damage(lambda text: text.replace('"sha256"', '"other"'))
        with pytest.raises(ImagesmithError) as stopped:
            resolved(package("alpha"))
        told = {(finding.code, finding.subject) for finding in stopped.value.findings}
        assert ("missing.hash", "alpha 1.0") in told
        assert {code for code, _ in told} == {"missing.hash"}

    @pytest.mark.parametrize(
        "damaged", [b"\xff", b"package: 1", b"[]", b"a: b: c", b"package: [{name: a}]"]
    )
    def test_what_is_no_lock_is_said(self, damaged):
        with pytest.raises(ImagesmithError) as stopped:
            lockfile.parse(damaged)
        assert [f.code for f in stopped.value.findings] == ["usage.lock"]


def _lines(explicit):
    return [line for line in explicit.splitlines() if not line.startswith(("#", "@"))]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/channel", "file:///no/such/channel"])
def test_a_channel_out_of_reach_is_told(resolved, package, url):
    with pytest.raises(ImagesmithError) as stopped:
        resolved(package("alpha"), channels=(url,))
    (finding,) = stopped.value.findings
    assert (finding.code, finding.subject) == ("reach.channel", url)


def test_a_channel_with_a_truncated_index_is_told(resolved, channel, package):
    channel.damage(lambda text: text[: len(text) // 2])
    with pytest.raises(ImagesmithError) as stopped:
        resolved(package("alpha"))
    assert [f.code for f in stopped.value.findings] == ["reach.channel"]


def test_what_is_no_channel_is_told_without_its_secrets(resolved, package):
    with pytest.raises(ImagesmithError) as stopped:
        resolved(package("alpha"), channels=("https://me:pa/ss@host/channel", "a b"))
    assert [f.code for f in stopped.value.findings] == ["usage.channel", "usage.channel"]
    assert "pa/ss" not in str([f.as_dict() for f in stopped.value.findings])


class TestACredentialOfAChannel:
    @pytest.fixture(params=["token", "password", "condarc"])
    def named(self, request, channel, hermetic, tmp_path):
        """Name a guarded channel with its secret, or leave that to the user's condarc."""
        with guarded(channel, "s3cret") as (host, asked):
            public = f"http://{host}/channel"
            secret = f"http://{host}/t/s3cret/channel"
            if request.param == "password":
                secret = f"http://me:s3cret@{host}/channel"
            if request.param == "condarc":
                condarc = tmp_path / "home" / ".condarc"
                condarc.parent.mkdir()
                condarc.write_text(f"channels: ['{secret}']")
            yield (public if request.param == "condarc" else secret), public, asked

    def test_opens_it_and_is_in_no_lock_report_record_or_argument(
        self, resolved, named, channel, package, store, tmp_path, monkeypatch
    ):
        url, public, asked = named
        arguments = []
        start = subprocess.run

        def watched(argv, **options):
            arguments.extend(map(str, argv))
            return start(argv, **options)

        monkeypatch.setattr(subprocess, "run", watched)
        channel.add("alpha", "1.0")
        found = resolved(package("alpha"), channels=(url,))
        write(found.lock, tmp_path / "lock")
        write_report(found, tmp_path / "lock")
        write_page(found, "title", tmp_path / "lock" / "report.html")
        assert all(p.url.startswith(public + "/") for p in found.lock.packages)
        assert asked
        kept = [path for folder in (store.root, tmp_path / "lock") for path in folder.rglob("*")]
        held = [path for path in kept if path.is_file() and b"s3cret" in path.read_bytes()]
        assert held == []
        assert not any("s3cret" in argument for argument in arguments)

    def test_is_in_no_finding(self, resolved, named, package):
        url, public, _ = named
        with pytest.raises(ImagesmithError) as stopped:
            resolved(package("alpha"), channels=(url + "-not-there",))
        (finding,) = stopped.value.findings
        assert finding.code == "reach.channel"
        assert "s3cret" not in str(finding.as_dict())
        assert public in finding.subject
