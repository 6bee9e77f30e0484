"""What a build costs a registry: one question where nothing changed, else what changed."""

import json
import shutil

import pytest
from faulty_proxy import faulty_proxy

from imagesmith.image import layout

pytestmark = [pytest.mark.root, pytest.mark.apt, pytest.mark.index, pytest.mark.registry]

REST = 64 << 10  # bytes, beyond the model's layer: config, manifest


@pytest.fixture
def proxy(registry):
    with faulty_proxy(registry.address) as proxy:
        yield proxy


@pytest.fixture
def push(imagesmith, base, proxy, tmp_path):
    """Give a function that builds a model into a layout and pushes it, and gives its digest."""
    (tmp_path / "docker").mkdir()

    def run(model):
        reference = f"{proxy.address}/tests/{tmp_path.name}:1"
        done = imagesmith(
            *("build", f"{model}:predict", "--name", "m", "--version", "1", "--no-verify"),
            *("--output", f"oci:{tmp_path}/out", "--push", reference, "--json"),
            DOCKER_CONFIG=str(tmp_path / "docker"),
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["digest"]

    return run


def test_an_unchanged_image_costs_one_question_and_a_changed_model_its_layer(push, proxy, tmp_path):
    model = tmp_path / "model.py"
    shutil.copyfile("fixtures/functions/echo.py", model)
    first = push(model)
    proxy.requests.clear()
    assert push(model) == first
    assert proxy.requests == ["HEAD manifests"]

    proxy.received = 0
    model.write_text(model.read_text().replace("repr", "ascii"))
    digest = push(model)
    assert digest != first
    images = {image.manifest.digest: image for image in layout.images(tmp_path / "out")}
    own = images[digest].layers[-1].blob.size
    assert own < proxy.received <= own + REST
