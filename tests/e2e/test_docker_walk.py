"""The walk over an engine: built, tried and published there, with a template of the user's own."""

import json

import pytest
from engines import own_engine

from imagesmith.image import layout

pytestmark = [pytest.mark.engine, pytest.mark.apt, pytest.mark.index]

ECHO = ("fixtures/functions/echo.py:predict", "--version", "1", "--input-type", "strings")
OWN = """{% extends "Dockerfile.j2" %}
{% block model %}
{{ super() }}
USER 0:0
RUN echo mine > /opt/mine
{% endblock %}
"""


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "own.j2"
    path.write_text(OWN)
    return path


def test_a_template_with_a_run_line_is_built_verified_and_published_by_a_remote_engine(
    imagesmith, template, samples
):
    with own_engine(by_tcp=True) as remote:
        done = imagesmith(
            *("build", *ECHO, "--name", "m", "--template", template, "--output", "docker"),
            *("--samples", samples('["a", "b"]')),
            DOCKER_HOST=remote.host,
        )
        assert done.returncode == 0, done.stderr
        assert "RUN echo mine" in done.stderr
        assert "4 answers, 4 as the function's own" in done.stderr
        assert remote.run("ps", "--all", "--quiet").stdout == ""
        there = remote.run("run", "--rm", "--entrypoint", "cat", "m:1", "/opt/mine")
        assert there.stdout == "mine\n"


def test_without_an_output_the_engine_in_reach_has_it_and_verify_asks_there(imagesmith, samples):
    with own_engine() as engine:
        done = imagesmith("build", *ECHO, "--name", "kept", DOCKER_HOST=engine.host)
        assert done.returncode == 0, done.stderr
        there = json.loads(engine.run("inspect", "kept:1").stdout)[0]
        assert there["Config"]["Labels"]["io.imagesmith.model"] == "kept"
        began = engine.run("info", "--format", "{{.SystemTime}}").stdout.strip()
        question = ("--samples", samples('["a", "b"]'), "--no-compare")
        asked = imagesmith("verify", done.stdout.strip(), *question, DOCKER_HOST=engine.host)
        assert (asked.returncode, asked.stdout) == (0, done.stdout), asked.stderr
        ended = engine.run("info", "--format", "{{.SystemTime}}").stdout.strip()
        during = ("--since", began, "--until", ended, "--filter", "event=start")
        assert len(engine.run("events", *during).stdout.splitlines()) == 1
        assert engine.run("ps", "--all", "--quiet").stdout == ""


def test_the_digest_printed_is_that_of_what_an_engine_built(build, engine, template):
    done, place = build(*ECHO, "--template", template, DOCKER_HOST=engine.host)
    assert done.returncode == 0, done.stderr
    (image,) = layout.images(place)
    assert done.stdout == f"{image.pinned}\n"
    assert any("echo mine" in layer.comment for layer in image.layers)


def test_both_builders_give_images_that_start_the_same(build, engine):
    images = []
    for builder in ("layers", "docker"):
        done, place = build(*ECHO, "--builder", builder, output=builder, DOCKER_HOST=engine.host)
        assert done.returncode == 0, done.stderr
        images.extend(layout.images(place))
    assert images[0].config == images[1].config


def test_the_layers_builder_does_not_leave_a_users_lines_out(build, template):
    done, place = build(*ECHO, "--builder", "layers", "--template", template, "--json")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["code"]) == (2, "usage.builder")
    assert not place.exists()


def test_a_template_that_changes_nothing_needs_no_engine(build, tmp_path):
    template = tmp_path / "own.j2"
    template.write_text('{% extends "Dockerfile.j2" %}\n')
    done, _ = build(*ECHO, "--template", template, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.returncode == 0, done.stderr


def test_a_template_that_is_not_there_is_said_before_anything_is_captured(build, tmp_path):
    done, place = build("no/such/file.py:f", "--template", tmp_path / "none.j2", "--json")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["code"]) == (6, "build.template-missing")
    assert not place.exists()


@pytest.mark.parametrize(
    ("builder", "code", "status"), [("podman", "usage.builder", 2), ("docker", "reach.engine", 10)]
)
def test_a_builder_that_cannot_be_had_is_said_first(build, tmp_path, builder, code, status):
    done, place = build(
        "no/such/file.py:f",
        *("--builder", builder, "--json"),
        DOCKER_HOST=f"unix://{tmp_path}/none.sock",
    )
    (finding,) = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["code"]) == (status, code)
    assert not place.exists()
