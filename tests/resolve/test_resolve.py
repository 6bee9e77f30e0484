"""The stage: a capture becomes a lock, the same one each time, and unchanged input is no work."""

from __future__ import annotations

import subprocess
import sys

import pytest

from imagesmith.findings import ImagesmithError
from imagesmith.resolve.files import write
from imagesmith.resolve.uv import UvSolver
from imagesmith.store import Store


class CountingSolver(UvSolver):
    """uv, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def solve(self, question):
        self.asked += 1
        return super().solve(question)


@pytest.fixture
def sample(capture, distribution, index):
    """A capture that needs alpha, whose beta is captured in an old version."""
    index.wheel("alpha", "1.0", requires=["beta"])
    index.wheel("beta", "1.0")
    index.wheel("beta", "2.0")
    return capture(
        distribution("alpha", requires=["beta"]), distribution("beta"), modules=["alpha"]
    )


def test_a_capture_is_locked_with_the_versions_it_had(sample, index, lock_of):
    lock, findings = lock_of(sample, index.url)
    assert [(w.name, w.version) for w in lock.wheels] == [
        ("alpha", "1.0"),
        ("beta", "1.0"),
        ("cloudpickle", "3.1.2"),
        ("numpy", "2.0.0"),
        ("prometheus-client", "0.20.0"),
        ("pyzmq", "26.0.0"),
    ]
    assert findings == ()


def test_the_same_capture_gives_the_same_bytes_in_another_folder(
    sample, index, lock_of, tmp_path, monkeypatch
):
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        lock, _ = lock_of(sample, index.url, store=Store(tmp_path / name / "store"))
        write(lock, tmp_path / name / "lock")
        folder = sorted((tmp_path / name / "lock").iterdir())
        written.append([(path.name, path.read_bytes()) for path in folder])
    assert written[0] == written[1]


def test_unchanged_input_is_not_solved_again(sample, index, lock_of, hermetic):
    solver = CountingSolver()
    first, _ = lock_of(sample, index.url, solver=solver)
    index.wheel("beta", "1.0.1")
    hermetic.setattr(subprocess, "run", None)  # nothing may be started
    again, _ = lock_of(sample, index.url, solver=solver)
    assert again == first
    assert solver.asked == 1


def test_another_glibc_is_another_question(sample, index, lock_of):
    solver = CountingSolver()
    lock_of(sample, index.url, solver=solver)
    lock_of(sample, index.url, solver=solver, glibc="2.31")
    assert solver.asked == 2


def test_all_that_is_missing_is_told_at_once(capture, distribution, index, lock_of):
    index.wheel("elsewhere", "1.0", "cp311-cp311-win_amd64")
    index.sdist("source", "1.0")
    index.wheel("older", "0.9")
    names = ("nosuch", "elsewhere", "source", "older")
    captured = capture(*map(distribution, names), modules=names)
    with pytest.raises(ImagesmithError) as stopped:
        lock_of(captured, index.url)
    assert {(f.code, f.subject) for f in stopped.value.findings} == {
        ("missing.package", "nosuch"),
        ("missing.wheel", "elsewhere==1.0"),
        ("build.sdist", "source==1.0"),
        ("missing.version", "older==1.0"),
    }
    assert len(stopped.value.findings) == 4


def test_an_index_out_of_reach_is_told_once(sample, index, lock_of, hermetic):
    hermetic.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(ImagesmithError) as stopped:
        lock_of(sample, "http://127.0.0.1:1/simple")
    assert [f.code for f in stopped.value.findings] == ["reach.index"]


def test_a_login_page_is_no_index_and_that_alone_is_told(sample, index, lock_of):
    for project in ("alpha", "cloudpickle", "numpy", "pyzmq"):
        index.faults[project] = "html"
    with pytest.raises(ImagesmithError) as stopped:
        lock_of(sample, index.url)
    (finding,) = stopped.value.findings
    assert finding.code == "reach.index"
    assert "login page" in finding.message


def test_a_failure_is_not_remembered(sample, index, lock_of, hermetic):
    hermetic.setenv("UV_HTTP_RETRIES", "0")
    index.faults["alpha"] = "500"
    with pytest.raises(ImagesmithError):
        lock_of(sample, index.url)
    index.faults.clear()
    lock, _ = lock_of(sample, index.url)
    assert lock.wheels[0].name == "alpha"


@pytest.mark.parametrize("how", ["given", "configured", "extra"])
def test_a_credential_is_in_no_lock_record_or_argument(
    sample, index, lock_of, store, tmp_path, hermetic, how
):
    index.password = ("me", "s3cret")
    secret_url = index.url.replace("//", "//me:s3cret@")
    arguments = []
    start = subprocess.run

    def watched(argv, **options):
        arguments.extend(argv)
        return start(argv, **options)

    hermetic.setattr(subprocess, "run", watched)
    if how == "configured":
        hermetic.setenv("PIP_INDEX_URL", secret_url)
    elif how == "extra":
        hermetic.setenv("PIP_INDEX_URL", secret_url)
        hermetic.setenv("PIP_EXTRA_INDEX_URL", secret_url + "/")
    lock, _ = lock_of(sample, secret_url if how == "given" else None)
    write(lock, tmp_path / "lock")
    kept = [path for folder in (store.root, tmp_path / "lock") for path in folder.rglob("*")]
    read = [path.read_bytes() for path in kept if path.is_file()]
    assert len(read) == 3  # the record, pylock.toml, requirements.txt
    assert not any(b"s3cret" in data for data in read)
    assert arguments
    assert not any("s3cret" in argument for argument in arguments)


def test_a_credential_is_in_no_finding(sample, index, lock_of, hermetic):
    hermetic.setenv("UV_HTTP_RETRIES", "0")
    index.faults["alpha"] = "500"
    with pytest.raises(ImagesmithError) as stopped:
        lock_of(sample, index.url.replace("//", "//me:s3cret@"))
    assert "s3cret" not in str([f.as_dict() for f in stopped.value.findings])


def test_pip_installs_from_the_requirements_with_hashes(sample, index, lock_of, tmp_path):
    lock, _ = lock_of(sample, index.url)
    write(lock, tmp_path / "lock")
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--require-hashes", "--no-cache-dir",
            "--disable-pip-version-check", "--index-url", index.url,
            "--target", tmp_path / "site", "-r", tmp_path / "lock/requirements.txt",
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/beta.py").read_text() == "VERSION = '1.0'\n"


def test_pip_refuses_a_wheel_that_was_changed_after_locking(sample, index, lock_of, tmp_path):
    lock, _ = lock_of(sample, index.url)
    write(lock, tmp_path / "lock")
    index.wheel("beta", "1.0", requires=["alpha"])  # other bytes under the same name
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--require-hashes", "--no-cache-dir",
            "--disable-pip-version-check", "--index-url", index.url,
            "--target", tmp_path / "site", "-r", tmp_path / "lock/requirements.txt",
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "hash" in done.stderr.lower()


def test_uv_installs_from_the_pylock(sample, index, lock_of, tmp_path):
    from uv import find_uv_bin

    lock, _ = lock_of(sample, index.url)
    write(lock, tmp_path / "lock")
    done = subprocess.run(
        [
            find_uv_bin(), "pip", "install", "--no-config", "--target", tmp_path / "site",
            "--python", sys.executable, "--python-version", "3.11", "-r", "pylock.toml",
        ],
        cwd=tmp_path / "lock",
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/beta.py").is_file()


@pytest.mark.index
def test_scikit_learn_is_locked_for_real(capture, distribution, lock_of):
    sklearn = distribution("scikit-learn", "1.5.2", requires=["numpy"], modules=["sklearn"])
    captured = capture(sklearn, distribution("numpy", "1.26.4"), modules=["sklearn"])
    lock, _ = lock_of(captured, None)
    versions = {wheel.name: wheel.version for wheel in lock.wheels}
    assert versions["scikit-learn"] == "1.5.2"
    assert versions["numpy"] == "1.26.4"
    assert {"scipy", "joblib", "threadpoolctl", "pyzmq", "cloudpickle"} <= versions.keys()
    assert all(lock.target.rank(wheel.filename) is not None for wheel in lock.wheels)
    assert any("manylinux" in wheel.filename for wheel in lock.wheels)
