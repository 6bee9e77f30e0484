"""A library that the base lacks: refused with the package named, and served once that is there."""

import subprocess
import sys

import pytest
from engines import own_engine
from uv import find_uv_bin

from imagesmith.image import layout, oci

pytestmark = [pytest.mark.root, pytest.mark.apt, pytest.mark.index, pytest.mark.long]

HAS_GOMP = subprocess.run(
    [sys.executable, "-c", "import ctypes; ctypes.CDLL('libgomp.so.1')"],
    capture_output=True,
    check=False,
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Give an environment with lightgbm."""
    if HAS_GOMP.returncode:
        pytest.skip("this host has no libgomp1, so that lightgbm cannot be captured on it")
    prefix = tmp_path_factory.mktemp("lightgbm") / "env"
    uv = [find_uv_bin()]
    subprocess.run([*uv, "venv", "-q", "-p", sys.executable, prefix], check=True)
    python = prefix / "bin/python"
    subprocess.run([*uv, "pip", "install", "-q", "-p", python, "lightgbm"], check=True)
    return prefix


@pytest.fixture
def boosted(build, environment, samples):
    """Give a function that builds a lightgbm model."""

    def run(*options):
        target = ("fixtures/boosted/model.py:predict", "--env", environment)
        return build(*target, "--samples", samples("[[1.0, 2.0], [70.0, 71.0]]"), *options)

    return run


def test_lightgbm_without_libgomp_is_refused_and_the_package_named(boosted):
    done, place = boosted()
    assert done.returncode == 6, done.stderr
    assert "libgomp.so.1 is in neither the base nor the environment" in done.stderr
    assert "lib_lightgbm.so" in done.stderr
    assert "do:  --apt libgomp1" in done.stderr
    assert not place.exists()


def test_with_apt_it_serves_and_the_image_says_what_it_has(boosted, base):
    done, place = boosted("--apt", "libgomp1")
    assert done.returncode == 0, done.stderr
    assert "4 answers, 4 as the function's own" in done.stderr
    (image,) = layout.images(place)
    assert image.config.labels[oci.LABEL_SYSTEM].startswith("libgomp1=")
    assert image.layers[0] == base.layers[0]
    assert image.layers[1].comment.startswith("libgomp1 ")
    again, _ = boosted("--apt", "libgomp1")
    assert again.stdout == done.stdout
    assert "none of them new" in again.stderr


def test_allowed_to_be_missing_it_is_verifying_that_names_the_package(boosted):
    done, _ = boosted("--allow-missing", "libgomp.so.1")
    assert done.returncode == 7, done.stderr
    assert "do:  libgomp.so.1 is missing: --apt libgomp1" in done.stderr


@pytest.mark.engine
def test_an_engine_builds_the_same_files_of_a_system_package(imagesmith, base):
    with own_engine() as engine:
        done = imagesmith(
            *("build", "fixtures/functions/echo.py:sums", "--name", "m", "--version", "1"),
            *("--apt", "libgomp1", "--builder", "docker", "--output", "docker"),
            DOCKER_HOST=engine.host,
        )
        assert done.returncode == 0, done.stderr
        code = "import ctypes; print(ctypes.CDLL('libgomp.so.1').omp_get_max_threads() > 0)"
        ran = engine.run("run", "--rm", "--entrypoint", "python", "m:1", "-c", code)
        assert ran.stdout == "True\n"
