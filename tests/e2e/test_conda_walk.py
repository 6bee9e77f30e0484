"""A conda environment, from its prefix to an image that answers, with no channel in reach."""

import json
import subprocess

import pytest
from uv import find_uv_bin

from fixtures.channel import stock
from fixtures.channel.peer import solve
from imagesmith.image import layout
from imagesmith.run.rootfs import RootfsRunner
from imagesmith.run.runner import Network

pytestmark = [pytest.mark.apt, pytest.mark.index, pytest.mark.root]

SPECS = ("python", "scikit-learn", "pyzmq", "cloudpickle", "prometheus-client")
MODEL = """
import patsy


def predict(inputs):
    return [str(patsy.dmatrix("x", {"x": list(x)}).shape) for x in inputs]
"""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Make an environment of real packages with conda's tools, as a user has one."""
    folder = tmp_path_factory.mktemp("conda")
    assert "" not in solve(stock(folder / "channel"), *SPECS, prefix=folder / "env")
    return folder / "env"


@pytest.fixture
def inside(store):
    """Give a function that runs Python code in a container of an image and gives what it prints."""

    def run(image, code):
        container = RootfsRunner(store).start(
            image, env={"CLIPPER_IP": "127.0.0.1"}, network=Network.NONE
        )
        try:
            done = container.execute(["/opt/env/bin/python", "-c", code], b"", timeout=60)
        finally:
            container.stop(grace=0.1)
        assert done.status == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_conda_environment_becomes_an_image_that_answers_with_condas_python(
    build, prefix, samples, inside
):
    done, place = build(
        "fixtures/iris/model.py:predict",
        *("--version", "1", "--input-type", "doubles", "--env", prefix),
        *("--samples", samples("[[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 5.6, 2.4]]")),
    )
    assert done.returncode == 0, done.stderr
    assert "4 answers, 4 as the function's own" in done.stderr
    (image,) = layout.images(place)
    code = "import sys, json, numpy; print(json.dumps([sys.prefix, sys.version, numpy.__file__]))"
    found, version, numpy = inside(image, code)
    theirs = subprocess.run(
        [prefix / "bin/python", "-c", "import sys; print(sys.version)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (found, f"{version}\n") == ("/opt/env", theirs.stdout)
    assert numpy.startswith("/opt/env/lib/python3.11/site-packages/")


def test_what_pip_brought_stands_beside_condas_and_brings_no_second_numpy(
    build, prefix, samples, inside, tmp_path
):
    python = prefix / "bin" / "python"
    argv = [find_uv_bin(), "pip", "install", "--quiet", "--python", python, "patsy==1.0.1"]
    subprocess.run(argv, check=True)
    (tmp_path / "model.py").write_text(MODEL)
    done, place = build(
        f"{tmp_path}/model.py:predict",
        *("--version", "1", "--input-type", "doubles", "--env", prefix),
        *("--samples", samples("[[1.0, 2.0], [3.0, 4.0, 5.0]]")),
    )
    assert done.returncode == 0, done.stderr
    (image,) = layout.images(place)
    code = (
        "import json; from importlib.metadata import distributions as every;"
        "print(json.dumps([[d.name, d.read_text('INSTALLER').strip()] for d in every()]))"
    )
    installed = inside(image, code)
    assert [who for name, who in installed if name == "numpy"] == ["conda"]
    assert [who for name, who in installed if name == "patsy"] == ["imagesmith"]
