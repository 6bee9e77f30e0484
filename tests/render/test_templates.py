"""A user's template: what it may override, and what it is told when it cannot be filled."""

from dataclasses import replace

import pytest

from imagesmith.findings import ExitCode, ImagesmithError
from imagesmith.image import oci
from imagesmith.render import dockerfile

EXTENDS = '{% extends "Dockerfile.j2" %}\n'
BLOCKS = ["base", "check", "system", "environment", "lock", "runtime", "model", "config"]


def refused(plan, template):
    with pytest.raises(ImagesmithError) as found:
        dockerfile(plan, template)
    (finding,) = found.value.findings
    assert found.value.exit_code is ExitCode.BUILD
    assert finding.subject == str(template)
    return finding


def test_a_template_that_overrides_nothing_changes_nothing(plan, template):
    assert dockerfile(plan, template(EXTENDS)) == dockerfile(plan)


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_can_be_added_to(plan, template, block):
    text = EXTENDS + f'{{% block {block} %}}\n{{{{ super() }}}}\nRUN ["x"]\n{{% endblock %}}\n'
    ours = dockerfile(plan).split("\n")
    theirs = dockerfile(plan, template(text)).split("\n")
    assert [line for line in theirs if line] == [
        line for line in insert(ours, block, 'RUN ["x"]') if line
    ]


def insert(lines, block, line):
    """Put a line where a block ends: before what only the next one has."""
    ends = {
        "base": "# Nothing is built from a context that is not whole.",
        "check": "# libtool1 1.0",
        "system": "# environment of Python 3.11",
        "environment": "# lock",
        "lock": "# runtime",
        "runtime": "# model",
        "model": 'ENV PATH="/opt/env/bin:/usr/bin" \\',
    }
    at = lines.index(ends[block]) if block in ends else len(lines)
    return [*lines[:at], line, *lines[at:]]


def test_a_block_can_be_left_out(plan, template):
    text = dockerfile(plan, template(EXTENDS + "{% block check %}{% endblock %}"))
    assert text.count("FROM") == 1


def test_a_template_may_use_the_plan_and_the_filters(plan, template):
    text = EXTENDS + "{% block model %}LABEL {{ {'of': config.env.A} | pairs }}{% endblock %}"
    assert 'LABEL of="1"' in dockerfile(plan, template(text))


def test_a_template_of_the_same_name_extends_ours(plan, template):
    assert dockerfile(plan, template(EXTENDS, "Dockerfile.j2")) == dockerfile(plan)


def test_a_template_that_extends_nothing_is_the_dockerfile(plan, template):
    assert dockerfile(plan, template("FROM scratch\n")) == "FROM scratch\n"


def test_a_block_within_a_block_of_ours_may_have_any_name(plan, template):
    text = EXTENDS + "{% block model %}{% block mine %}# mine{% endblock %}{% endblock %}"
    assert "# mine" in dockerfile(plan, template(text))


@pytest.mark.parametrize(
    ("line", "code", "words", "remedy"),
    [
        ("{% block modle %}{% endblock %}", "template-block", "'modle'", "'model'"),
        ("{% block model %}{{ konfig }}{% endblock %}", "template-name", "'konfig'", "'config'"),
        ("{% block model %}{{ config.usr }}{% endblock %}", "template-name", "'usr'", "'user'"),
        ("{% block model %}{{ 1 | qoute }}{% endblock %}", "template-name", "'qoute'", "'quote'"),
        ("{% block model %}", "template-syntax", "endblock", "mend"),
        ("{% block model %}{{ 1 + }}{% endblock %}", "template-syntax", "", "mend"),
        ('{% block model %}{% include "x" %}{% endblock %}', "template-name", "'x'", "Dockerfile"),
        ("{% block model %}{{ ''.__class__.mro() }}{% endblock %}", "template", "unsafe", "mend"),
        ("{% block model %}{{ 1 / 0 }}{% endblock %}", "template", "division", "mend"),
        ("{% block model %}{{ 'a\\nb' | quote }}{% endblock %}", "template", "cannot hold", "mend"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(plan, template, line, code, words, remedy):
    finding = refused(plan, template(f"{EXTENDS}\n{line}\n"))
    assert finding.code == f"build.{code}"
    assert words in finding.message
    assert remedy in finding.remedy
    assert "mine.j2, line 3" in finding.message or code == "template-syntax"
    assert "mine.j2, line " in finding.message


FOR_EVER = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% if 0 %}{% endif %}"
    "{% endfor %}{% endfor %}"
)


@pytest.mark.parametrize(
    "text",
    [
        '{% extends "mine.j2" %}',
        '{% include "mine.j2" %}',
        '{% extends "mine" ~ ".j2" %}',
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for a in range(10 ** 9) %}{% endfor %}",
        "{{ 'x' * 10 ** 10 }}",
        "{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}",
        "{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}",
        FOR_EVER,
    ],
    ids=range(9),
)
def test_a_template_without_an_end_is_ended(plan, template, text):
    finding = refused(plan, template(text))
    assert finding.code == "build.template-endless"


def test_a_template_that_is_not_there_or_no_text(plan, template, tmp_path):
    assert refused(plan, tmp_path / "none.j2").code == "build.template-missing"
    assert refused(plan, tmp_path).code == "build.template-missing"
    binary = template("")
    binary.write_bytes(b"\xff\xfe")
    assert "UTF-8" in refused(plan, binary).message


def test_a_value_of_the_plan_that_no_dockerfile_can_hold(plan):
    config = oci.ImageConfig(labels={"notes": "two\nlines"})
    with pytest.raises(ImagesmithError, match="two") as found:
        dockerfile(replace(plan, config=config))
    assert found.value.findings[0].code == "build.value"


def test_a_base_in_a_registry_is_named_by_its_digest(plan):
    text = dockerfile(plan, base_reference=f"registry.example/base@sha256:{'0' * 64}")
    assert f"FROM registry.example/base@sha256:{'0' * 64} AS base" in text
    assert "FROM scratch" not in text
    assert "base.tar" not in text
