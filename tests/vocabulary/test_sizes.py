"""Sizes as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.findings import ImagesmithError
from imagesmith.sizes import in_words, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("600MB", 600_000_000), ("1.5 GiB", 3 << 29), ("12 kB", 12_000), ("7B", 7)),
        *(("2GB", 2 * 10**9), ("3MiB", 3 << 20), ("1KiB", 1024), ("0.1MB", 100_000)),
    ],
)
def test_a_size_is_a_number_and_a_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "12", "MB", "-1MB", "1mb", "1,5GB", "1e3MB", "1 M B", "٣MB"])
def test_what_is_no_size_is_a_usage_error(text):
    with pytest.raises(ImagesmithError) as refused:
        parse_size(text)
    assert [finding.code for finding in refused.value.findings] == ["usage.size"]


@pytest.mark.parametrize(
    ("count", "words"),
    [
        *((0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB")),
        *((999_950, "1.0 MB"), (45_200_000, "45.2 MB"), (5_000_000_000, "5.0 GB")),
        (1_234_000_000_000, "1,234.0 GB"),
    ],
)
def test_a_number_of_bytes_is_put_in_the_unit_that_fits(count, words):
    assert in_words(count) == words


@given(st.integers(0, 10**12 - 10**8))
def test_what_is_written_is_read_back_to_a_tenth(count):
    assert parse_size(in_words(count)) == pytest.approx(count, rel=0.06)
