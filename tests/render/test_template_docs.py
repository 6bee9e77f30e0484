"""docs/dockerfile.md is what a template's writer relies on: it says what there is, all of it."""

import re
from dataclasses import replace
from pathlib import Path

from imagesmith.render import dockerfile
from imagesmith.render.fill import own_source
from imagesmith.render.quoting import FILTERS

TEXT = (Path(__file__).parents[2] / "docs" / "dockerfile.md").read_text(encoding="utf-8")


def table(head):
    """Give the names in the first column of the table of this head."""
    (rows,) = re.findall(rf"^\| {head} \|.*\n\|---.*\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    first = [row.split("|")[1] for row in rows.splitlines()]
    return [name for cell in first for name in re.findall(r"`([^`]+)`", cell)]


def test_each_block_is_in_the_docs_and_in_their_order():
    assert table("block") == re.findall(r"{% block (\w+) %}", own_source())


def test_each_filter_is_in_the_docs():
    assert sorted(table("filter")) == sorted(FILTERS)


def test_each_name_is_in_the_docs(plan, template):
    groups = ("base", "layers", "config")
    each = "{% for name in GROUP %}GROUP.{{ name }} {% endfor %}"
    text = "{{ reference and check and '' }}" + "".join(each.replace("GROUP", g) for g in groups)
    told, group = [], ""
    for name in table("name"):
        group = name.partition(".")[0] or group
        told.append(name if name[0] != "." else f"{group}{name}")
    given = dockerfile(plan, template(text)).split()
    assert sorted(told) == sorted([*given, "reference", "check"])


def test_every_value_of_ours_goes_through_a_filter():
    """What is no filter's is a loop's or a macro's own text."""
    values = re.findall(r"{{ ?(.+?) ?-?}}", own_source())
    assert [v for v in values if "|" not in v and not v.startswith("add(")] == []


def test_the_docs_own_template_is_filled(plan, template):
    (example,) = re.findall(r"```jinja\n(.*?)```", TEXT, re.DOTALL)
    config = replace(plan.config, env={**plan.config.env, "CLIPPER_MODEL_NAME": "iris"})
    text = dockerfile(replace(plan, config=config), template(example))
    assert 'RUN ["/opt/env/bin/python", "-m", "compileall", "-q", "/opt/env/lib"]' in text
    assert 'LABEL org.opencontainers.image.vendor="Example Ltd"' in text
