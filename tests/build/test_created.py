"""The time that an image bears comes from SOURCE_DATE_EPOCH alone, never from a clock."""

import pytest

from imagesmith import pipeline
from imagesmith.findings import ExitCode, ImagesmithError


@pytest.mark.parametrize(
    ("epoch", "time"),
    [
        (None, "1970-01-01T00:00:00Z"),
        ("", "1970-01-01T00:00:00Z"),
        ("1700000000", "2023-11-14T22:13:20Z"),
    ],
)
def test_it_is_the_epochs(monkeypatch, epoch, time):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    if epoch is not None:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert pipeline.created() == time


@pytest.mark.parametrize("epoch", ["today", "1e9", "9" * 30])
def test_what_is_no_time_is_a_usage_error(monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(ImagesmithError) as stopped:
        pipeline.created()
    assert stopped.value.exit_code is ExitCode.USAGE
