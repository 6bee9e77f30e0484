"""Names and versions are held to Clipper's own rule before anything else is done."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.names import check_input_type, check_name, check_strings, is_text
from imagesmith.runtime.wire import InputType


@pytest.mark.parametrize("name", ["a", "iris", "iris-2", "0", "a--b"])
def test_what_clipper_takes_is_taken(name):
    assert list(check_name(name, name)) == []


@pytest.mark.parametrize("name", ["", "Iris", "iris_2", "1.0", "-a", "a-", "a\n", "a:b", "ä"])
def test_what_clipper_refuses_is_refused_for_name_and_version(name):
    assert [f.code for f in check_name(name, name)] == ["usage.name", "usage.version"]


@given(st.text())
def test_the_rule_is_clippers_regular_expression(text):
    refused = bool(list(check_name(text, None)))
    assert refused is not bool(re.match(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z", text))


def test_the_remedy_of_a_bad_name_names_a_good_one():
    (finding,) = check_name("My_Model", None)
    assert "'my-model'" in finding.remedy


@pytest.mark.parametrize(
    ("alias", "kind"),
    [("d", InputType.DOUBLES), (" Ints ", InputType.INTEGERS), ("str", InputType.STRINGS)],
)
def test_all_aliases_of_input_types_are_known(alias, kind):
    assert check_input_type(alias) == (kind, [])


def test_strings_arrive_as_one_of_two_types():
    assert check_strings("str") == check_strings("bytes") == []
    assert [f.code for f in check_strings("text")] == ["usage.strings"]


def test_a_name_with_lone_surrogates_is_no_text():
    assert is_text("größe")
    assert not is_text("caf\udce9")


def test_an_unknown_input_type_is_a_finding():
    kind, findings = check_input_type("decimals")
    assert kind is None
    assert [f.code for f in findings] == ["usage.input-type"]
