"""The context on a real engine: plain ``docker build`` makes the very image, without a network."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from plans import facts_of_image, facts_of_saved
from test_quoting import NAMES, VALUES

from imagesmith.build.layers import LayersBuilder
from imagesmith.capture.bundle import read
from imagesmith.image import layout, oci
from imagesmith.pipeline import BuildWish, Workshop, pack, plan_for, render_bundle, verify_image
from imagesmith.progress import Silent
from imagesmith.publish.layout import LayoutPublisher
from imagesmith.render.fill import fill, own_source
from imagesmith.render.quoting import exec_form, pairs, quote
from imagesmith.run.rootfs import RootfsRunner

COMMAND = Path(sys.executable).with_name("imagesmith")
FUNCTION = "fixtures/functions/echo.py:sums"

pytestmark = pytest.mark.engine
from_a_bundle = [pytest.mark.apt, pytest.mark.index]

QUESTION = {
    "input_type": "doubles",
    "batches": [[[1.0, 2.0], [3.0, 4.0]]],
    "imports": [],
    "port": 7000,
    "timeout": 60,
}


@pytest.fixture(params=["buildkit", pytest.param("classic", marks=pytest.mark.long)])
def docker_build(request, engine):
    """Give a function that builds a folder with either builder, and gives the image's name."""
    kit = {"DOCKER_BUILDKIT": "1" if request.param == "buildkit" else "0"}
    made = []

    def build(folder, check=True, **more):
        tag = f"imagesmith-test:{uuid4().hex}"
        argv = ("build", "--network", "none", "--tag", tag, folder)
        done = engine.run(*argv, env=kit, check=check, **more)
        if done.returncode:
            return done
        made.append(tag)
        return tag

    yield build
    for tag in made:
        engine.run("rmi", "--force", tag)


@pytest.fixture(scope="module")
def capture(store, base, tmp_path_factory):
    bundle = tmp_path_factory.mktemp("captured") / "bundle"
    command = [COMMAND, "capture", FUNCTION, "--name", "sums", "--version", "1", "-o", bundle]
    env = {**os.environ, "IMAGESMITH_CACHE": str(store.root)}
    subprocess.run(command, env=env, check=True, capture_output=True)
    return read(bundle)


@pytest.fixture(scope="module")
def shop(store):
    return Workshop(store, RootfsRunner(store), Silent())


@pytest.fixture(scope="module")
def context(capture, shop, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered") / "context"
    render_bundle(capture, BuildWish(), folder, shop)
    return folder


def answers(engine, image):
    """Start an image without a network, ask it from inside, and give what it answers."""
    name = f"imagesmith-test-{uuid4().hex}"
    engine.run(
        *("run", "--detach", "--name", name, "--network", "none", "--read-only"),
        *("--env", "CLIPPER_IP=127.0.0.1", image),
    )
    try:
        probe = ("/opt/env/bin/python", "-m", "imagesmith.runtime.probe")
        done = engine.run("exec", "--interactive", name, *probe, input=json.dumps(QUESTION))
        return json.loads(done.stdout)["answers"]
    finally:
        engine.run("rm", "--force", name)


def inspected(engine, image):
    (found,) = json.loads(engine.run("image", "inspect", image).stdout)
    return found["Config"]


class TestABundle:
    """A function's context."""

    pytestmark = from_a_bundle

    def test_its_container_answers(self, engine, docker_build, context):
        assert answers(engine, docker_build(context)) == [["3.0", "7.0"]]

    def test_it_is_the_image_that_the_embedded_builder_makes(
        self, engine, docker_build, context, capture, shop
    ):
        """The same paths, types, modes, owners, links and contents, and the same config."""
        plan, _ = plan_for(capture, BuildWish(), shop)
        ours = LayersBuilder(shop.store, Silent()).build(plan)
        name = docker_build(context)
        saved = engine.run("save", name, text=False).stdout
        assert facts_of_saved(saved) == facts_of_image(ours)
        assert as_docker_has_it(ours.config) == as_promised(inspected(engine, name))

    @pytest.mark.long
    def test_its_pack_is_a_context_of_the_same_image(
        self, engine, docker_build, capture, shop, tmp_path
    ):
        ours = pack(capture, BuildWish(), tmp_path / "pack", shop)
        with (tmp_path / "pack").open("rb") as file:
            name = docker_build("-", stdin=file)
        saved = engine.run("save", name, text=False).stdout
        assert facts_of_saved(saved) == facts_of_image(ours)
        assert as_docker_has_it(ours.config) == as_promised(inspected(engine, name))

    @pytest.mark.long
    @pytest.mark.buildah
    @pytest.mark.root
    def test_what_buildah_makes_of_it_answers_too(self, context, shop, tmp_path):
        buildah = ["buildah", "--root", tmp_path / "root", "--runroot", tmp_path / "run"]
        to_build = ("bud", "--isolation", "oci", "--network", "none", "--tag", "sums:1", context)
        for arguments in (to_build, ("push", "sums:1", f"oci:{tmp_path}/image:sums:1")):
            done = subprocess.run(
                [*buildah, *map(str, arguments)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        (image,) = layout.images(tmp_path / "image")
        questions = tmp_path / "samples.json"
        questions.write_text("[[1.0, 2.0]]")
        assert verify_image(image, questions, shop, rtol=0, compare=False).answered == 2

    @pytest.mark.long
    @pytest.mark.podman
    @pytest.mark.parametrize(
        "builder", ["podman", pytest.param("buildah", marks=pytest.mark.buildah)]
    )
    def test_podman_and_buildah_make_the_very_image_too(
        self, podman, builder, context, capture, shop
    ):
        plan, _ = plan_for(capture, BuildWish(), shop)
        ours = LayersBuilder(shop.store, Silent()).build(plan)
        build = podman.run if builder == "podman" else podman.buildah
        tag = f"localhost/imagesmith-test:{uuid4().hex}"
        build(
            "build", "--format", "docker", "--network", "none", "--tag", tag, context, timeout=600
        )
        saved = podman.run("save", "--format", "docker-archive", tag, text=False).stdout
        assert facts_of_saved(saved) == facts_of_image(ours)
        (found,) = json.loads(podman.run("image", "inspect", tag).stdout)
        told = {**found["Config"], "Healthcheck": found["Healthcheck"]}
        told["Labels"].pop("io.buildah.version", None)
        assert as_promised(told) == as_docker_has_it(ours.config)
        assert answers(podman, tag) == [["3.0", "7.0"]]

    def test_a_spoilt_layer_ends_the_build_with_its_name(self, docker_build, context, tmp_path):
        spoilt = shutil.copytree(context, tmp_path / "spoilt")
        (model,) = spoilt.glob("layers/*-model.tar")
        model.write_bytes((spoilt / "layers" / "01-python.tar").read_bytes())
        done = docker_build(spoilt, check=False)
        assert done.returncode != 0
        assert f"layers/{model.name} is not the file that SHA256SUMS names" in (
            done.stdout + done.stderr
        )

    def test_a_users_template_runs_what_it_says(
        self, engine, docker_build, capture, shop, tmp_path
    ):
        template = tmp_path / "mine.j2"
        template.write_text(
            '{% extends "Dockerfile.j2" %}\n'
            "{% block environment %}\n{{ super() }}\n"
            "RUN [\"/opt/env/bin/python\", \"-c\", \"open('/opt/mine', 'w').write('mine')\"]\n"
            "{% endblock %}\n"
            "{% block config %}\n{{ super() }}\n"
            "LABEL {{ {'mine': 'a $b'} | pairs }}\n"
            "{% endblock %}\n"
        )
        render_bundle(capture, BuildWish(template=template), tmp_path / "context", shop)
        name = docker_build(tmp_path / "context")
        shown = engine.run(
            "run", "--rm", "--network", "none", "--entrypoint", "cat", name, "/opt/mine"
        )
        assert shown.stdout == "mine"
        assert inspected(engine, name)["Labels"]["mine"] == "a $b"
        assert answers(engine, name) == [["3.0", "7.0"]]

    @pytest.mark.registry
    @pytest.mark.skopeo
    def test_a_base_by_its_digest_is_pulled_from_its_registry(
        self, engine, registry, docker_build, capture, base, shop, tmp_path
    ):
        LayoutPublisher(tmp_path / "base").publish(base)
        name = f"{registry.address}/closure-base"
        copy = ("skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false")
        source, target = f"oci:{tmp_path}/base:{base.reference}", f"docker://{name}:3.11"
        subprocess.run([*copy, source, target], check=True)
        pinned = f"{name}@{base.manifest.digest}"
        render_bundle(capture, BuildWish(base=pinned), tmp_path / "context", shop)
        assert f"FROM {pinned} AS base" in (tmp_path / "context" / "Dockerfile").read_text()
        assert not list(tmp_path.glob("context/layers/*-base.tar"))
        assert answers(engine, docker_build(tmp_path / "context")) == [["3.0", "7.0"]]


def as_docker_has_it(config):
    """Give a plan's config as the engine tells it, the fields that both builders promise."""
    return as_promised(
        {**config.as_dict(), "ExposedPorts": {port: {} for port in config.exposed_ports}}
    )


def as_promised(config):
    fields = (
        *("Env", "Entrypoint", "Cmd", "User", "WorkingDir", "Labels"),
        *("Healthcheck", "ExposedPorts"),
    )
    return {name: config.get(name) or None for name in fields}


LABELS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=30)
NASTY = {
    "quotes": "a \"b\" 'c' `d`",
    "ends with a backslash\\": "C:\\",
    "variables": "$HOME ${PATH:-x} \\$x $$ %PATH%",
    "comment": "# no comment",
    "#": "#",
    "heredoc": "<<EOF",
    "json": '["a", {"b": "\\n"}]',
    "tabs and blanks ": " \t  x  ",
    "empty": "",
    "wide": "é😀\u2028\u00a0\u0301",
    "equals": "=a=b=",
    "onbuild": "AS base --from=x",
}


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@example(NASTY)
@given(LABELS)
def test_any_label_and_variable_arrives_as_it_is(engine, docker_build, tmp_path, mapping):
    """The environment goes to the engine by name; those that are no names for it are left out."""
    folder = tmp_path / uuid4().hex
    folder.mkdir()
    env = {f"V{number}": value for number, value in enumerate(mapping.values())}
    arguments = list(mapping.values())
    (folder / "Dockerfile").write_text(
        f"FROM scratch\nENV {pairs(env)}\nLABEL {pairs(mapping)}\nUSER {quote('1:1')}\n"
        f"ENTRYPOINT {exec_form(arguments)}\n"
    )
    found = inspected(engine, docker_build(folder))
    assert found["Labels"] == mapping
    assert [one for one in found["Env"] if one[0] == "V"] == [f"{k}={v}" for k, v in env.items()]
    assert found["Entrypoint"] == arguments
    assert found["User"] == "1:1"


def test_the_config_of_any_plan_arrives_as_it_is(engine, docker_build, tmp_path):
    """What the plans of today do not use: ports, a command, folders with blanks."""
    config = oci.ImageConfig(
        env={"PATH": "/bin"},  # which the engine would set
        entrypoint=("x",),
        cmd=("a b", "$c"),
        user="me:us",
        working_dir="/a b/$c",
        labels={"a": "b"},
        exposed_ports=("7000/tcp", "53/udp"),
        healthcheck={"Test": ["CMD", "x y"], "Interval": 1_500_000_000, "StartPeriod": 10**9},
    )
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\n{config_block(config)}")
    found = as_promised(inspected(engine, docker_build(tmp_path)))
    assert found == as_docker_has_it(config)


def config_block(config):
    """Fill the block ``config`` of imagesmith's template alone."""
    source = own_source()
    begin, end = source.index("{% block config %}"), source.rindex("{% endblock %}")
    return fill("config", source[begin:end] + "{% endblock %}", {"config": asdict(config)})
