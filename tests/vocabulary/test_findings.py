"""The exit status is that of the first family with an error, in the documented order."""

import pytest

from imagesmith.findings import (
    ExitCode,
    Finding,
    ImagesmithError,
    Severity,
    error,
    exit_code,
    stop_on_errors,
    warning,
)


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        (["capture.x"], ExitCode.CAPTURE),
        (["publish.x", "verify.x"], ExitCode.VERIFY),
        (["missing.x", "unsatisfiable.x"], ExitCode.UNSATISFIABLE),
        (["register.x", "build.x", "reach.x"], ExitCode.UNREACHABLE),
        (["capture.x", "usage.x"], ExitCode.USAGE),
        ([], ExitCode.DONE),
    ],
)
def test_the_first_family_that_applies_decides(codes, status):
    assert exit_code([error(code, "s", "m", "r") for code in codes]) is status


def test_warnings_stop_nothing():
    stop_on_errors([warning("verify.x", "s", "m", "r")])


def test_an_error_carries_all_its_siblings():
    findings = [error("capture.a", "s", "m", "r"), warning("verify.b", "s", "m", "r")]
    with pytest.raises(ImagesmithError) as stopped:
        stop_on_errors(findings)
    assert stopped.value.findings == tuple(findings)
    assert stopped.value.exit_code is ExitCode.CAPTURE


def test_an_error_without_an_error_is_a_fault():
    with pytest.raises(ValueError, match="needs a finding"):
        ImagesmithError(warning("verify.b", "s", "m", "r"))


def test_a_code_of_no_family_is_a_fault():
    with pytest.raises(ValueError, match="family"):
        Finding("weather.rain", Severity.NOTE, "s", "m", "r")
