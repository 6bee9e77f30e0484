"""A value reaches the image as it is, whatever is in it, or is refused."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.render.quoting import comment, exec_form, healthcheck, pairs, quote, word

VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.just("\t"))
NAMES = VALUES.filter(lambda name: name and "=" not in name)


def words(line):
    """Split a line as a builder does: at blanks outside of quotes; a backslash keeps the next."""
    word = r'(?:"(?:\\.|[^"\\])*"|[^\s"])+'
    assert re.fullmatch(rf"\s*(?:{word}\s*)*", line), "a quote is not closed"
    return re.findall(word, line)


def unquoted(text):
    """Take quotes and backslashes out of a word, and refuse what would be a variable."""
    bare = re.sub(r"\\.", "", text)
    assert "$" not in bare
    return re.sub(r'\\(["$\\])|"', lambda found: found[1] or "", text)


@given(VALUES)
def test_a_quoted_value_is_one_word_that_reads_back(value):
    (found,) = words(quote(value))
    assert unquoted(found) == value


@given(st.dictionaries(NAMES, VALUES, min_size=1))
def test_names_and_values_read_back(mapping):
    lines = pairs(mapping).split("\n")
    assert all(line.endswith(" \\") for line in lines[:-1])
    found = [word for line in lines for word in words(line.removesuffix(" \\"))]
    read = {}
    for one in found:
        name, value = re.fullmatch(r'("(?:\\.|[^"\\])*"|[^="]+)=(.*)', one, re.DOTALL).groups()
        read[unquoted(name)] = unquoted(value)
    assert read == mapping


@given(st.lists(VALUES))
def test_a_command_is_a_json_list_on_one_line(arguments):
    text = exec_form(arguments)
    assert json.loads(text) == arguments
    assert "\n" not in text


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "\0", "\x7f", "\ud800", "x" * 70_000])
def test_what_a_dockerfile_cannot_hold_is_refused(bad):
    for write in (quote, comment, lambda text: exec_form([text]), lambda text: pairs({"a": text})):
        with pytest.raises(ValueError, match="Dockerfile"):
            write(bad)


@pytest.mark.parametrize("bad", ["", "a=b", "a\nb"])
def test_a_name_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="cannot"):
        pairs({bad: "x"})


@pytest.mark.parametrize("bad", ["", "a b", "$x", 'a"', "a\\b", "a\nFROM x", "é"])
def test_a_word_without_quotes_holds_nothing_special(bad):
    with pytest.raises(ValueError, match="without quotes"):
        word(bad)


@given(st.lists(st.text("ab-_.", min_size=1, max_size=200), max_size=50))
def test_every_line_of_a_comment_is_one(names):
    text = comment(" ".join(names))
    assert all(line.startswith("# ") for line in text.splitlines())
    assert " ".join(line[2:] for line in text.splitlines()).split() == names


def test_a_health_check_has_its_times():
    check = {"Test": ["CMD", "test", "x y"], "Interval": 3_000_000_000, "Timeout": 1_500_000_000}
    assert healthcheck(check) == '--interval=3s --timeout=1500000000ns CMD ["test", "x y"]'
