"""What went wrong when Clipper carried a conda environment: each defect is impossible here.

The numbers are those of Clipper's old path. Those of the capture are in tests/capture; two are the
container's: 18 (replicas install when they start) is kept by every test that runs an image without
a network, 19 (an ImportError of a call reinstalls) by the exit statuses in tests/runtime.
"""

import sys

import pytest
from local_channel import PY311

from imagesmith.findings import ExitCode, ImagesmithError, exit_code
from imagesmith.resolve.report import Status


def test_9_what_the_function_does_not_need_cannot_stop_it(capture, distribution, index, lock_of):
    """The whole environment was solved for: a package that nothing used blocked the deployment."""
    index.wheel("alpha", "1.0")
    captured = capture(
        distribution("alpha"), distribution("nosuch"), modules=["alpha"], cloudpickle="3.1.2"
    )
    lock, _ = lock_of(captured, index.url)
    names = {wheel.name for wheel in lock.wheels}
    assert "alpha" in names
    assert "nosuch" not in names


def test_10_a_build_of_another_platform_is_no_missing_package(resolved, channel, package):
    """Build strings of the user's platform were asked for, so that much seemed to be missing."""
    channel.add("alpha", "1.0", PY311, build="py311h0")
    answer = resolved(package("alpha", build="py311h_of_a_mac"))
    assert exit_code(answer.findings) is ExitCode.DONE
    (entry,) = (e for e in answer.report.entries if e.name == "alpha")
    assert (entry.status, entry.got) == (Status.OTHER_BUILD, "1.0")


def test_10_what_only_another_platform_has_is_told_where_it_is_needed(resolved, channel, package):
    """It was left out with a warning that nobody saw."""
    channel.add("appnope", "0.1.0", subdir="osx-arm64")
    answer = resolved(package("appnope", "0.1.0"))
    assert answer.lock is None
    assert exit_code(answer.findings) is ExitCode.MISSING
    assert [f.subject for f in answer.findings if f.code.startswith("missing.")] == [
        "appnope 0.1.0"
    ]


@pytest.mark.parametrize(
    "origin",
    [
        {"direct_url": "git+file:///nowhere/at-all@0123456789012345678901234567890123456789"},
        {"direct_url": "file:///nowhere/alpha-1.0-py3-none-any.whl"},
        {"editable": True, "direct_url": "file:///nowhere/alpha"},
        {},
    ],
)
def test_11_what_pip_had_from_elsewhere_is_tried_before_there_is_a_lock(
    capture, distribution, index, lock_of, origin
):
    """Such a line was copied as it was, and broke where the container started, unseen."""
    captured = capture(distribution("alpha", **origin), modules=["alpha"])
    with pytest.raises(ImagesmithError) as stopped:
        lock_of(captured, index.url)
    assert any("alpha" in finding.subject for finding in stopped.value.findings)


def test_16_no_conda_is_asked_whatever_is_on_path(
    resolved, channel, package, tmp_path, monkeypatch
):
    """conda's internals were imported: with each new conda, nothing could be deployed."""
    for name in ("conda", "mamba", "micromamba"):
        command = tmp_path / name
        command.write_text(f"#!{sys.executable}\nopen({str(tmp_path / 'asked')!r}, 'w')\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    channel.add("alpha", "1.0", PY311)
    answer = resolved(package("alpha"))
    assert "alpha" in {locked.name for locked in answer.lock.packages}
    assert not (tmp_path / "asked").exists()


def test_20_what_the_runtime_needs_is_in_the_same_solve(resolved, channel, package):
    """The user's packages were put over those that the container itself ran on."""
    channel.add("pyzmq", "25.0", PY311)
    channel.add("alpha", "1.0", PY311, "pyzmq <26")
    lock = resolved(package("alpha")).lock
    packages = {locked.name: locked.version for locked in lock.packages}
    wheels = {wheel.name for wheel in lock.wheels}
    assert packages["alpha"] == "1.0"
    assert packages["pyzmq"] in ("1.0", "25.0")
    assert wheels == {"numpy", "prometheus-client"}  # and no second pyzmq
