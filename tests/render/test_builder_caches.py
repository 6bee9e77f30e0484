"""Whichever builder makes it, a context whose model alone has changed costs the model alone."""

import json
import os
import re
from dataclasses import replace
from uuid import uuid4

import pytest
from plans import add_wheel, lock_of, make_plan, no_byte_code
from test_docker_builds import NASTY, as_docker_has_it, as_promised, config_block

from imagesmith.image import oci
from imagesmith.image.plan import FilesLayer
from imagesmith.render import render
from imagesmith.store import Store

BUILDERS = [
    pytest.param("buildkit", marks=pytest.mark.engine),
    pytest.param("classic", marks=[pytest.mark.engine, pytest.mark.long]),
    pytest.param("podman", marks=[pytest.mark.podman, pytest.mark.long]),
    pytest.param("buildah", marks=[pytest.mark.podman, pytest.mark.buildah, pytest.mark.long]),
]
# podman's and buildah's own formats know no health check.
FORMAT = ("--format", "docker")


@pytest.fixture(params=BUILDERS)
def build(request):
    """Give a function that builds a folder and gives what the builder says."""
    tag = f"localhost/imagesmith-test:{uuid4().hex}"
    argv = ("build", "--network", "none", "--tag", tag)
    if request.param in ("buildkit", "classic"):
        engine = request.getfixturevalue("engine")
        kit, plain = ("1", ["--progress", "plain"]) if request.param == "buildkit" else ("0", [])
        yield lambda folder: engine.run(*argv, *plain, folder, env={"DOCKER_BUILDKIT": kit})
        engine.run("rmi", "--force", tag)
        return
    podman = request.getfixturevalue("podman")
    run = podman.run if request.param == "podman" else podman.buildah
    yield lambda folder: run(*argv, "--layers", *FORMAT, folder, timeout=600)
    podman.run("rmi", "--force", tag)


def added(done):
    """Give the tars that were added, and whether each was in the builder's cache."""
    lines = (done.stdout + done.stderr).splitlines()
    if any(re.match(r"#\d+ ", line) for line in lines):  # BuildKit's
        cached = {line.split()[0] for line in lines if line.endswith(" CACHED")}
        steps = [re.match(r"(#\d+) \[.*\] ADD (\S+) /", line) for line in lines]
        return {step[2]: step[1] in cached for step in steps if step}
    told, tar = {}, None
    for line in lines:
        if step := re.search(r"(?i)step \d+/\d+ ?:(.*)", line):
            found = re.search(r"ADD (\S+) /", step[1])
            tar = found and found[1]
            told.update({tar: False} if tar else {})
        elif tar and "Using cache" in line:
            told[tar] = True
    return told


@pytest.mark.apt
def test_all_below_a_changed_model_is_in_the_builders_cache(build, base, tmp_path):
    store = Store(tmp_path / "store")
    wheels = [add_wheel(store, tmp_path, name) for name in ("anvil", "feather")]
    plan = make_plan(base, wheels)
    said = []
    for _ in range(2):
        model = FilesLayer("model", texts={"model/func.pkl": os.urandom(1000)})
        changed = replace(plan, layers=(*plan.layers[:-1], model))
        render(changed, store, lock_of(wheels), no_byte_code, tmp_path / "context")
        said.append(added(build(tmp_path / "context")))
    tars = sorted(f"layers/{path.name}" for path in (tmp_path / "context" / "layers").iterdir())
    assert sorted(said[0]) == sorted(said[1]) == tars
    assert [tar for tar in tars if not said[1][tar]] == [tars[-1]]


@pytest.mark.podman
@pytest.mark.parametrize("builder", ["podman", pytest.param("buildah", marks=pytest.mark.buildah)])
def test_an_awkward_config_arrives_as_it_is_without_docker_too(podman, builder, tmp_path):
    config = oci.ImageConfig(
        env={"PATH": "/bin", **{f"V{n}": value for n, value in enumerate(NASTY.values())}},
        entrypoint=("a b", *NASTY.values()),
        cmd=("$c",),
        user="me:us",
        working_dir="/a b/é$c",
        labels=NASTY,
        exposed_ports=("7000/tcp", "53/udp"),
        healthcheck={"Test": ["CMD", "x $y", '"'], "Interval": 3_000_000_000, "Retries": 2},
    )
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\n{config_block(config)}")
    tag = f"localhost/imagesmith-test:{uuid4().hex}"
    run = podman.run if builder == "podman" else podman.buildah
    run("build", *FORMAT, "--tag", tag, tmp_path)
    (found,) = json.loads(podman.run("image", "inspect", tag).stdout)
    told = {**found["Config"], "Healthcheck": found["Healthcheck"]}
    told["Labels"].pop("io.buildah.version", None)
    assert as_promised(told) == as_docker_has_it(config)
