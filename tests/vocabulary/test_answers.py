"""Answers agree as text, or as numbers through JSON; nothing else counts as the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.answers import same

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("setosa", "setosa"),
        ("0.1", "0.10000000001"),
        ("1", "1.0"),
        ('{"p": [0.3, 0.7]}', '{"p": [0.30000000001, 0.7]}'),
        ("NaN", "NaN"),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
    ],
)
def test_the_same(expected, got):
    assert same(expected, got, 1e-6)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("setosa", "virginica"),
        ("0.1", "0.1001"),
        ("1", "true"),
        ("null", "0"),
        ("[1, 2]", "[1]"),
        ('{"a": 1}', '{"b": 1}'),
        ('"1"', "1"),
        ("[1]", '{"0": 1}'),
        ("0", "1e-9"),
        ("1" + "0" * 400, "2.0"),
        ("[" * 100_000, "[" * 100_001),
    ],
)
def test_not_the_same(expected, got):
    assert not same(expected, got, 1e-6)


@given(JSON)
def test_every_answer_is_the_same_as_itself_written_otherwise(value):
    assert same(json.dumps(value), json.dumps(value, indent=2), 0.0)


@given(st.text(), st.text())
def test_no_text_makes_the_comparison_fail(expected, got):
    assert same(expected, got, 1e-6) in (True, False)
