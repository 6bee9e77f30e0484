"""The HTML report: one page, everything in it, and nothing of it is taken for HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from imagesmith.findings import warning
from imagesmith.resolve.locking import Resolved
from imagesmith.resolve.page import page
from imagesmith.resolve.report import Entry, Report, Status

HOSTILE = "<script>alert(1)</script>"


def entry(name, status=Status.WHEEL, got="1.0", users=("the function",), remedy="", size=2_000_000):
    return Entry("pip", name, "1.0", got, status, users, remedy, size)


@pytest.fixture
def resolved():
    entries = (
        entry("alpha"),
        entry(HOSTILE, Status.MISSING, None, remedy="--allow-missing x"),
        entry("pytest", got=None, users=()),
    )
    finding = warning("missing.module", "handmade", "nobody brings it", "install it")
    return Resolved(None, Report(entries, ("zlib 1.3",)), (finding,))


def test_every_package_total_and_finding_is_in_it(resolved):
    text = page(resolved, "bundle").decode()
    shown = re.sub(r"<[^>]+>", "", text)
    for words in ("alpha", "pytest", "4.0 MB", "handmade", "install it", "zlib 1.3", "not locked"):
        assert words in shown


def test_what_is_wrong_and_needed_comes_first(resolved):
    text = page(resolved, "bundle").decode()
    assert text.index("alert(1)") < text.index("<strong>alpha</strong>")


def test_nothing_captured_is_taken_for_html(resolved):
    text = page(resolved, HOSTILE).decode()
    assert "<script" not in text


def test_it_needs_no_other_file(resolved):
    loaded = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            loaded.extend(value for key, value in attrs if key in ("src", "href", "action"))

    Reader().feed(page(resolved, "bundle").decode())
    assert loaded == []
    assert b"url(" not in page(resolved, "bundle")
